"""Sessions made by hand for reports, and how a page of one is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from support import frame_row

from captures.sources.frame import Event
from captures.storage import SessionStore


def made_up(
    folder: Path, hits: int, clips: int = 10, told: Mapping[str, Mapping[str, float]] | None = None, **more
) -> Path:
    """A session of which so many clips succeed with the patch; ``told``: the camera's settings with each sheet."""
    with SessionStore(folder / "session.db") as store:
        number = 0
        for clip in range(clips):
            for condition, top in (("grey", "red thing"), ("patch", "blue thing" if clip < hits else "red thing")):
                for _ in range(3):
                    number += 1
                    where: dict[str, Any] = {
                        "distance_m": 0.5 + 0.1 * clip,
                        "yaw_deg": 5.0 * clip,
                        "px_per_cell": 3.0 + clip,
                        "light": "lamp",
                    }
                    if told is not None:
                        where["camera"] = json.dumps(told[condition])
                    store.add([frame_row(number, condition, clip, top, **where)])
        store.add([], [Event(1.0, "mark", "<script>alert(1)</script>")])
    record = {"target": "blue thing", "begun": "2026-01-01", "label": "<b>red</b>"} | more
    (folder / "session.json").write_text(json.dumps(record))
    return folder


def read(page: Page, report: Path) -> None:
    """Go to a report and open its chapters."""
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details.chapter').forEach(chapter => { chapter.open = true; })")
