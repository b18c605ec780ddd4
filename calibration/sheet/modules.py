"""What is printed around a patch: the modules of the markers and of the QR code, and a picture of both."""

import cv2
import numpy as np
import segno
from numpy.typing import NDArray

from calibration.sheet.layout import MARKER_MODULES, Rect, SheetLayout, marker_dictionary

_FINE = 8  # samples along each side of a texel


def marker_bits(marker_id: int) -> NDArray[np.bool_]:
    """Return the modules of a marker, (6, 6), including its black border; True is white."""
    return marker_dictionary().generateImageMarker(marker_id, MARKER_MODULES) > 0


def label_text(layout: SheetLayout) -> str:
    """Return the text of a sheet's QR code: only capitals and digits, which keeps the modules large."""
    size = f"{layout.patch.width_mm:.5g}X{layout.patch.height_mm:.5g}MM"
    return f"PHYSPATCH {layout.patch_id} {layout.kind} {size}".upper()


def label_bits(layout: SheetLayout) -> NDArray[np.bool_]:
    """Return the modules of a sheet's QR code, (n, n); True is white."""
    code = segno.make(label_text(layout), error="l", micro=False, boost_error=False)
    return ~np.array([list(row) for row in code.matrix], dtype=bool)


def draw_surroundings(
    layout: SheetLayout, origin_mm: tuple[float, float], texel_mm: float, texels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a square part of a sheet without its patch, at a coarse resolution, as training shows it.

    Args:
        layout: of the sheet.
        origin_mm: the top left corner of the part, on the sheet.
        texel_mm: side of a texel.
        texels: texels along each side of the part.

    Returns:
        The share of bare paper in each texel and the share of it inside the cut line, (texels, texels) each, in [0, 1].
    """
    fine = (texels * _FINE, texels * _FINE)
    paper, inside = np.ones(fine, np.float32), np.zeros(fine, np.float32)
    fine_mm = texel_mm / _FINE

    def samples(rect: Rect) -> tuple[slice, slice]:
        """Return the rows and columns inside a rectangle."""
        left, right = (max(0, round((x - origin_mm[0]) / fine_mm)) for x in (rect.x_mm, rect.right_mm))
        top, bottom = (max(0, round((y - origin_mm[1]) / fine_mm)) for y in (rect.y_mm, rect.bottom_mm))
        return slice(top, bottom), slice(left, right)

    inside[samples(layout.cut)] = 1
    markers = [(marker.rect, marker_bits(marker.id)) for marker in layout.markers]
    for rect, white in (*markers, (layout.label, label_bits(layout))):
        at = samples(rect)
        height, width = paper[at].shape
        if height and width:
            paper[at] = cv2.resize(white.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    paper, inside = (cv2.resize(part, (texels, texels), interpolation=cv2.INTER_AREA) for part in (paper, inside))
    return paper, inside
