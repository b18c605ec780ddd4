"""Which frames of a session are kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import frame_row

from captures.session.recorder import KeepRule, Recorder
from captures.sources.frame import Frame

PICTURE = np.zeros((48, 64, 3), np.uint8)


def kept(folder: Path, rows: list[dict[str, Any]]) -> list[int]:
    """Record frames with these values and return the numbers of those that are kept as key frames."""
    with Recorder(folder, 5.0, KeepRule()) as recorder:
        for number, values in enumerate(rows, start=1):
            row = frame_row(number, "patch", values.pop("clip", 0), "red thing", **values)
            analysis = SimpleNamespace(frame=Frame(PICTURE, row.time_s, number), rows=[row])
            recorder.add(analysis, PICTURE)  # type: ignore[arg-type]
    return sorted(int(path.stem) for path in (folder / "raw").iterdir())


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        ([{"time_s": t / 4} for t in range(9)], [1, 5, 9]),
        ([{"time_s": t / 4, "clip": t // 2} for t in range(4)], [1, 3]),
        # An approach: the markers can be read from the sixth frame on, and once more after they were lost.
        (
            [{"time_s": t / 10, "distance_m": 1.2 if t in (5, 6, 8, 9) else None} for t in range(12)],
            [1, 6],
        ),
        ([{"time_s": t / 2, "distance_m": 1.0 if t % 4 == 3 else None} for t in range(8)], [1, 3, 4, 6, 8]),
    ],
)
def test_key_frames(rows: list[dict[str, Any]], numbers: list[int], tmp_path: Path) -> None:
    assert kept(tmp_path, rows) == numbers
