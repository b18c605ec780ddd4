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
_SAME_SIZE = 0.01  # relative


@dataclass(frozen=True)
class SheetLabel:
    """The content of a QR code: patch id, kind of sheet, planned width and height of the patch."""

    patch_id: str
    kind: str
    width_mm: float
    height_mm: float

    def other_size(self, layout: SheetLayout) -> str:
        """Say that the sheet was printed at another size than ``layout`` plans, in words; "" if it is the same within 1 %.

        Measured rulers tell how a printer scales the sheet of a PDF; they do not make it a sheet of another PDF.
        """
        across, down = layout.patch.width_mm / layout.scale[0], layout.patch.height_mm / layout.scale[1]
        if max(abs(self.width_mm / across - 1), abs(self.height_mm / down - 1)) <= _SAME_SIZE:
            return ""
        printed = f"{self.width_mm:g} x {self.height_mm:g} mm"
        return f"this sheet was printed at {printed}, not at {across:.4g} x {down:.4g} mm as in the PDF"


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
