"""Save a preview picture of a PDF."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.files import write_picture
from calibration.sheet.pdf_reader import page_count, rasterise

_DPI, _DPI_OF_MANY = 100, 50
_MOST_PAGES = 12
_GAP_PX = 12
_GROUND = 150
_MOST_PX = 2400  # longest side of the whole picture


def save_preview(pdf: Path) -> Path:
    """Save the first pages of ``pdf``, at most twelve, side by side as ``NAME-preview.png`` beside it; return its path."""
    count = min(_MOST_PAGES, page_count(pdf))
    pages = [rasterise(pdf, _DPI if count <= 4 else _DPI_OF_MANY, page) for page in range(count)]
    columns = math.ceil(math.sqrt(len(pages))) if len(pages) > 4 else len(pages)
    rows = math.ceil(len(pages) / columns)
    height, width = (max(page.shape[side] for page in pages) + _GAP_PX for side in (0, 1))
    sheet = np.full((rows * height + _GAP_PX, columns * width + _GAP_PX, 3), _GROUND, dtype=np.uint8)
    for number, page in enumerate(pages):
        top, left = (number // columns) * height + _GAP_PX, (number % columns) * width + _GAP_PX
        sheet[top : top + page.shape[0], left : left + page.shape[1]] = page
    out = pdf.with_name(f"{pdf.stem}-preview.png")
    write_picture(out, shrunk(sheet, _MOST_PX))
    return out


def shrunk(picture: NDArray[np.uint8], most_px: int) -> NDArray[np.uint8]:
    """Shrink a picture (H, W, 3) until its longer side has at most ``most_px`` pixels."""
    factor = most_px / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)
