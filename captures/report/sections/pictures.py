"""The sheet and frames of a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2

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


def _frames(session: Path) -> Iterator[Picture]:
    """Key frames from the whole session, equally many of each kind of sheet."""
    by_condition: dict[str, list[Path]] = {}
    for file in sorted((session / "frames").glob("*.jpg")):
        by_condition.setdefault(file.stem.partition("-")[2], []).append(file)
    each = max(1, _MOST_FRAMES // max(1, len(by_condition)))
    for file in sorted(file for files in by_condition.values() for file in files[:: -(-len(files) // each)]):
        try:
            picture = read_picture(file)
        except InputError:  # a key frame that was being written when the session was killed
            continue
        height = round(picture.shape[0] * _FRAME_WIDTH_PX / picture.shape[1])
        small = cv2.resize(picture, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
        number, _, condition = file.stem.partition("-")
        yield Picture(packed(small, ".jpg"), f"frame {int(number)}: {condition}")
