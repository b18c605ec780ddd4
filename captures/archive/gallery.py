"""A page of all runs and sessions: thumbnails, numbers and tags, sorted and filtered in the browser."""

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError
from calibration.common.pictures import open_picture
from calibration.common.success import MEASURES
from calibration.common.text import size_words
from captures.archive.entries import Entry
from captures.report.html import write_page
from captures.report.wording import folder_name
from physpatch.stats.intervals import Rate

_SIDE_PX = 240


def write_gallery(entries: Sequence[Entry], path: Path) -> Path:
    """Write one self-contained HTML file, atomically; return it.

    Args:
        entries: see ``list_entries``.
        path: of the page; links to reports are relative to its folder.
    """
    cards = [_card(entry, path.parent) for entry in entries]
    tags = sorted({tag for entry in entries for tag in (*entry.tags, entry.kind)})
    write_page(path, "archive/gallery.html.jinja", script="archive/gallery.js", cards=cards, tags=tags)
    return path


def short_rate(rate: Rate | None) -> str:
    """Format a rate for a table, such as ``41 % (30–53)``; a dash without one."""
    if rate is None or rate.rate is None:
        return "–"
    ends = "" if rate.ci95 is None else f" ({100 * rate.ci95[0]:.0f}–{100 * rate.ci95[1]:.0f})"
    return f"{100 * rate.rate:.0f} %{ends}"


def _card(entry: Entry, base: Path) -> dict[str, Any]:
    """Return what the page shows of an entry, and sorts by."""
    digital, camera, control = (rate.rate if rate else None for rate in (entry.digital, entry.camera, entry.control))
    aim = f"“{entry.target}” first" if entry.measure == "target" else MEASURES.get(entry.measure, "")
    return {
        "entry": entry,
        "name": folder_name(entry.folder),
        "aim": aim,
        "rates": [
            (label, short_rate(rate))
            for label, rate in (("digital", entry.digital), ("on camera", entry.camera), ("grey", entry.control))
            if rate is not None
        ],
        "size": size_words(entry.size_bytes),
        "changed": entry.changed.astimezone().strftime("%Y-%m-%d %H:%M"),
        "picture": _thumbnail(entry.picture),
        "pixelated": entry.kind == "run",
        "report": None if entry.report is None else Path(os.path.relpath(entry.report, base)).as_posix(),
        "tags": " ".join((*entry.tags, entry.kind)),
        "sorted": {
            "changed": entry.changed.timestamp(),
            "digital": -1.0 if digital is None else digital,
            "camera": -1.0 if camera is None else camera,
            "control": -1.0 if control is None else control,
            "size": entry.size_bytes,
        },
    }


def _thumbnail(picture: Path | None) -> str | None:
    """Return a data URL of at most ``_SIDE_PX`` a side; None if there is no readable picture."""
    if picture is None:
        return None
    try:
        small = open_picture(picture)
    except InputError:
        return None
    packed = io.BytesIO()
    if max(small.size) <= _SIDE_PX:  # cells, a few pixels each
        small.save(packed, "PNG")
        kind = "png"
    else:
        small.thumbnail((_SIDE_PX, _SIDE_PX))
        small.save(packed, "JPEG", quality=82)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(packed.getvalue()).decode()}"
