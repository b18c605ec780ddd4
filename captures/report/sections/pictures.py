"""The sheet and frames of a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.pictures import read_picture
from calibration.sheet.pdf_reader import rasterise
from captures.report.blocks import Block, Gallery, Picture
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHEET_DPI, packed
from captures.results.recorded_session import RecordedSession

_MOST_FRAMES = 12
_FRAME_WIDTH_PX = 480


class Pictures(ReportSection):
    """The sheet and key frames."""

    name: ClassVar[str] = "pictures"
    summary: ClassVar[str] = "the sheet and key frames"
    heading: ClassVar[str] = "Sheet and frames"
    rank: ClassVar[int] = 50

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _pictures(material.session)


def _pictures(session: RecordedSession) -> Iterator[Block]:
    if session.sheet is not None:
        yield Picture(packed(rasterise(session.sheet, SHEET_DPI), ".png"), "the sheet that was shown", 0.35)
    frames = list(_frames(session.folder))
    if frames:
        yield Gallery(frames)


def key_frames(session: Path) -> dict[tuple[int, str], Path]:
    """List a session's key frames in order, by number and kind of sheet."""
    named = ((*file.stem.partition("-"), file) for file in sorted((session / "frames").glob("*.jpg")))
    return {(int(number), condition): file for number, _, condition, file in named}


def read_key_frame(file: Path) -> NDArray[np.uint8] | None:
    """Read a key frame at the width that a report shows, (H, W, 3) RGB uint8; None if it is not whole."""
    try:
        picture = read_picture(file)
    except InputError:  # it was being written when the session was killed
        return None
    height = round(picture.shape[0] * _FRAME_WIDTH_PX / picture.shape[1])
    return np.asarray(cv2.resize(picture, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)


def _frames(session: Path) -> Iterator[Picture]:
    """Key frames from the whole session, equally many of each kind of sheet."""
    by_condition: dict[str, list[tuple[int, Path]]] = {}
    for (number, condition), file in key_frames(session).items():
        by_condition.setdefault(condition, []).append((number, file))
    each = max(1, _MOST_FRAMES // max(1, len(by_condition)))
    chosen = [
        (number, condition, file)
        for condition, files in by_condition.items()
        for number, file in files[:: -(-len(files) // each)]
    ]
    for number, condition, file in sorted(chosen):
        picture = read_key_frame(file)
        if picture is not None:
            yield Picture(packed(picture, ".jpg"), f"frame {number}: {condition}")
