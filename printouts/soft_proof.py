"""Show a PDF as a printing condition would print it, and tell which cells change colour."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.colour.printing_condition import IN_GAMUT_DE, PrintingCondition
from calibration.common.files import write_picture
from calibration.sheet.layout import SheetLayout, first_pages
from calibration.sheet.pdf_reader import carried_layouts, rasterise_sheet
from physpatch.records.patch_file import Patch
from printouts.preview import shrunk
from printouts.verification import shown_cells

_DPI = 100
_MOST_PX = 1200  # longest side of each of the two pictures
_GAP_PX = 12
_MARK_RGB = (255, 0, 255)  # a colour that no press prints
_LISTED = 5


@dataclass(frozen=True, eq=False)
class SoftProof:
    """What printing makes of a sheet's cells.

    Attributes:
        condition: the name of the printing condition and its rendering intent.
        shifts: (rows, columns) CIEDE2000 between the cells and their print, the paper being white.
        picture: the sheet on a screen and in print, side by side; cells out of gamut are marked in print.
    """

    condition: str
    shifts: NDArray[np.float64]
    picture: Path

    @property
    def out_of_gamut(self) -> NDArray[np.bool_]:
        """Return which cells (rows, columns) are printed in another colour."""
        outside: NDArray[np.bool_] = self.shifts > IN_GAMUT_DE
        return outside

    def sentence(self) -> str:
        """Summarise the proof for the command line."""
        count, total = int(self.out_of_gamut.sum()), self.shifts.size
        words = (
            f"{self.condition}: {count} of {total} cells print in another colour (CIEDE2000 above {IN_GAMUT_DE:g}); "
            f"median {np.median(self.shifts):.1f}, largest {self.shifts.max():.1f}"
        )
        if not count:
            return words
        worst = np.argsort(self.shifts, axis=None)[::-1][: min(_LISTED, count)]
        rows, columns = np.unravel_index(worst, self.shifts.shape)
        places = ", ".join(f"row {row + 1} column {column + 1}" for row, column in zip(rows, columns, strict=True))
        return f"{words}: {places}{' …' if count > _LISTED else ''}"


def save_soft_proof(pdf: Path, condition: PrintingCondition, patch: Patch | None = None) -> SoftProof:
    """Save a picture of the first sheet of ``pdf`` beside its print under ``condition``, as ``NAME-CONDITION-INTENT.png``.

    Args:
        pdf: of ``physpatch print``.
        condition: of the print.
        patch: the patch that it shows; None takes the colours stored in the PDF.

    Raises:
        InputError: if the PDF is not a sheet of ``physpatch print``, or its colours are neither stored nor those of ``patch``.
    """
    layouts = carried_layouts(pdf)
    layout, first_page = layouts[0], next(iter(first_pages(layouts)))
    screen = shrunk(rasterise_sheet(pdf, layout, first_page, _DPI), _MOST_PX)
    shifts = condition.shift(shown_cells(pdf, layout, patch) / 255)
    printed = (condition.soft_proof(screen / 255, relative=False) * 255).round().astype(np.uint8)
    for row, column in np.argwhere(shifts > IN_GAMUT_DE):
        _mark(printed, layout, int(row), int(column))
    gap = np.full((screen.shape[0], _GAP_PX, 3), 255, dtype=np.uint8)
    picture = pdf.with_name(f"{pdf.stem}-{condition.name}-{condition.intent}.png")
    write_picture(picture, np.concatenate([screen, gap, printed], axis=1))
    return SoftProof(f"{condition.name} ({condition.intent})", shifts, picture)


def _mark(picture: NDArray[np.uint8], layout: SheetLayout, row: int, column: int) -> None:
    """Draw a small ring in the middle of a cell."""
    px_per_mm = picture.shape[1] / layout.page_mm[0]
    rows, columns = layout.grid
    side = layout.patch.width_mm / columns * px_per_mm
    x = (layout.patch.x_mm + (column + 0.5) * layout.patch.width_mm / columns) * px_per_mm
    y = (layout.patch.y_mm + (row + 0.5) * layout.patch.height_mm / rows) * px_per_mm
    cv2.circle(picture, (round(x), round(y)), max(1, round(side / 6)), _MARK_RGB, 1, cv2.LINE_AA)
