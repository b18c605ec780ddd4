"""The QR code on a sheet: patch id, kind of sheet and planned size."""

import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.sheet_pose import SheetPose
from calibration.sheet.layout import Rect, SheetLayout

_TEXT = re.compile(r"PHYSPATCH ([0-9A-F]{12}) ([A-Z]+) (\d+(?:\.\d+)?)X(\d+(?:\.\d+)?)MM")
_READ_PX = 300  # per side: 8 per module
_QUIET_SHARE = 0.2  # quiet zone, as a share of the label's width


@dataclass(frozen=True)
class SheetLabel:
    """The content of a QR code: patch id, kind of sheet, planned width and height of the patch."""

    patch_id: str
    kind: str
    width_mm: float
    height_mm: float


def parse_label(text: str) -> SheetLabel | None:
    """Parse the output of :func:`calibration.sheet.modules.label_text`; return None for any other text."""
    match = _TEXT.fullmatch(text)
    return SheetLabel(match[1].lower(), match[2].lower(), float(match[3]), float(match[4])) if match else None


def label_area(layout: SheetLayout) -> Rect:
    """Return the rectangle of the QR code and its quiet zone."""
    return layout.label.grown(_QUIET_SHARE * layout.label.width_mm)


def read_label(picture: NDArray[np.uint8]) -> SheetLabel | None:
    """Read a QR code from a rectified image of :func:`label_area`, (H, W, 3) RGB uint8; return None if it is unreadable."""
    if picture.size == 0:  # its place in the layout is beyond the page
        return None
    side = cv2.resize(picture, (_READ_PX, _READ_PX), interpolation=cv2.INTER_CUBIC)
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(cv2.cvtColor(side, cv2.COLOR_RGB2GRAY))
    return parse_label(text)


def label_of(frame: NDArray[np.uint8], pose: SheetPose) -> SheetLabel | None:
    """Read the QR code of a located sheet in ``frame``, (H, W, 3) RGB uint8; return None if it is too small or hidden."""
    area = label_area(pose.layout)
    return read_label(pose.rectify(frame, area, _READ_PX / area.width_mm))
