"""The QR code on a sheet: which patch it shows, as what, and how large it was meant to be."""

import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.sheet_pose import SheetPose
from calibration.sheet.layout import Rect, SheetLayout

_TEXT = re.compile(r"PHYSPATCH ([0-9A-F]{12}) ([A-Z]+) (\d+(?:\.\d+)?)X(\d+(?:\.\d+)?)MM")
_READ_PX = 300  # on a side: 8 a module
_QUIET_SHARE = 0.2  # of the label's width, blank around it, for the reader


@dataclass(frozen=True)
class SheetLabel:
    """What a sheet says of itself: patch id, sheet kind, width and height of the patch as planned."""

    patch_id: str
    kind: str
    width_mm: float
    height_mm: float


def label_text(layout: SheetLayout) -> str:
    """What the QR code of a sheet says; capitals and digits alone, which keeps its modules large."""
    size = f"{layout.patch.width_mm:.5g}X{layout.patch.height_mm:.5g}MM"
    return f"PHYSPATCH {layout.patch_id} {layout.kind} {size}".upper()


def parse_label(text: str) -> SheetLabel | None:
    """The inverse of :func:`label_text`; None for the text of some other QR code."""
    match = _TEXT.fullmatch(text)
    return SheetLabel(match[1].lower(), match[2].lower(), float(match[3]), float(match[4])) if match else None


def label_area(layout: SheetLayout) -> Rect:
    """The code with the blank paper that a reader needs around it."""
    return layout.label.grown(_QUIET_SHARE * layout.label.width_mm)


def read_label(picture: NDArray[np.uint8]) -> SheetLabel | None:
    """Read a code seen straight on, (H, W, 3) RGB uint8 of :func:`label_area`; None where there is none to read."""
    side = cv2.resize(picture, (_READ_PX, _READ_PX), interpolation=cv2.INTER_CUBIC)
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(cv2.cvtColor(side, cv2.COLOR_RGB2GRAY))
    return parse_label(text)


def label_of(frame: NDArray[np.uint8], pose: SheetPose) -> SheetLabel | None:
    """Read the code of a sheet found in ``frame`` (H, W, 3 RGB uint8); None where it is too small or hidden."""
    area = label_area(pose.layout)
    return read_label(pose.rectify(frame, area, _READ_PX / area.width_mm))
