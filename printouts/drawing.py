"""Draw on a reportlab canvas in the coordinates of ``calibration.sheet.layout``: millimetres from the top left."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import FILL_NON_ZERO, Canvas
from reportlab.pdfgen.pathobject import PDFPathObject

from calibration.sheet.charuco_target import charuco_board
from calibration.sheet.layout import Rect, SheetLayout
from calibration.sheet.modules import label_bits, marker_bits
from calibration.sheet.road_signs import Sign, sign

GREY = 0.45
HAIR_MM = 0.15
# Each cell and module extends under the next one, because renderers that smooth edges leave hairlines otherwise.
_CELL_OVERLAP_MM = 1.0  # half a cell at most
_MODULE_OVERLAP_MM = 0.05
_LONGEST_NAME = 40  # of a PDF, for which the line of its command has room
_TICKS_MM = {10: 3.2, 5: 2.4, 1: 1.6}


@contextmanager
def page_in_mm(canvas: Canvas, page_mm: tuple[float, float]) -> Iterator[None]:
    """Add a page of ``page_mm`` (width, height) and draw the block on it, in millimetres from its top left corner."""
    canvas.setPageSize((page_mm[0] * mm, page_mm[1] * mm))
    canvas.saveState()
    canvas.translate(0, page_mm[1] * mm)
    canvas.scale(mm, -mm)
    yield
    canvas.restoreState()
    canvas.showPage()


@contextmanager
def moved(canvas: Canvas, x_mm: float, y_mm: float, scale: float = 1.0) -> Iterator[None]:
    """Draw the block with another origin and scale."""
    canvas.saveState()
    canvas.translate(x_mm, y_mm)
    canvas.scale(scale, scale)
    yield
    canvas.restoreState()


def draw_sheet(canvas: Canvas, layout: SheetLayout, cells: NDArray[np.uint8], window: Rect | None = None) -> None:
    """Draw a sheet without its text and rulers.

    Args:
        canvas: in the coordinates of the sheet.
        layout: of the sheet.
        cells: (rows, columns, 3) sRGB uint8.
        window: the part of the sheet to draw; None draws all of it.
    """
    canvas.saveState()
    if window is not None:
        _clip(canvas, window)
    if layout.carrier_rect is not None:
        draw_sign(canvas, sign(layout.carrier), layout.carrier_rect)
    _draw_cells(canvas, layout, cells, window)
    for marker in layout.markers:
        if window is None or marker.rect.overlaps(window):
            draw_modules(canvas, marker.rect, ~marker_bits(marker.id))
    if layout.kind == "board":
        _draw_board_markers(canvas, layout)
    if window is None or layout.label.overlaps(window):
        draw_modules(canvas, layout.label, ~label_bits(layout))
    _draw_cut(canvas, layout)
    canvas.restoreState()


def draw_sign(canvas: Canvas, drawn: Sign, place: Rect) -> None:
    """Draw a sign in ``place``, as wide as the rectangle."""
    for shape in drawn.shapes:
        red, green, blue = (c / 255 for c in shape.colour)
        canvas.setFillColorRGB(red, green, blue)
        for points in shape.polygons:  # separate paths, because in one path opposite orientations would cut holes
            at = points * place.width_mm + (place.x_mm, place.y_mm)
            path = canvas.beginPath()
            path.moveTo(*at[0])
            for point in at[1:]:
                path.lineTo(*point)
            path.close()
            canvas.drawPath(path, stroke=0, fill=1, fillMode=FILL_NON_ZERO)


def draw_modules(canvas: Canvas, place: Rect, black: NDArray[np.bool_]) -> None:
    """Draw square modules (n, n) on white; True is black.

    Neighbours in a row form one rectangle and all rectangles one path, which avoids hairlines.
    """
    module = place.width_mm / len(black)
    path = canvas.beginPath()
    for row, line in enumerate(black):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
        for start, end in edges.reshape(-1, 2):
            below = _MODULE_OVERLAP_MM if row < len(black) - 1 and black[row + 1, start:end].all() else 0.0
            path.rect(place.x_mm + start * module, place.y_mm + row * module, (end - start) * module, module + below)
    canvas.setFillGray(0)
    canvas.drawPath(path, stroke=0, fill=1, fillMode=FILL_NON_ZERO)  # keeps the overlaps black


def draw_ruler(canvas: Canvas, place: Rect, *, upright: bool) -> None:
    """Draw a ruler with ticks of 1 mm; its line is on the side of ``place`` that faces the patch."""
    canvas.setStrokeGray(0)
    canvas.setLineWidth(HAIR_MM)
    length = round(place.height_mm if upright else place.width_mm)
    for at in range(length + 1):
        tick = next(height for step, height in _TICKS_MM.items() if at % step == 0)
        if upright:
            canvas.line(place.right_mm - tick, place.y_mm + at, place.right_mm, place.y_mm + at)
        else:
            canvas.line(place.x_mm + at, place.y_mm, place.x_mm + at, place.y_mm + tick)
    if upright:
        canvas.line(place.right_mm, place.y_mm, place.right_mm, place.y_mm + length)
        draw_text(canvas, place.x_mm + 2.6, place.y_mm + length / 2, f"{length} mm", size_mm=2.6, upright=True)
    else:
        canvas.line(place.x_mm, place.y_mm, place.x_mm + length, place.y_mm)
        draw_text(canvas, place.x_mm + length / 2, place.y_mm + 6.6, f"{length} mm", size_mm=2.6)


def size_words(layout: SheetLayout) -> str:
    """Return the size of the patch, and of the sign that carries it, in words for people."""
    size = f"{layout.patch.width_mm:.4g} x {layout.patch.height_mm:.4g} mm"
    if layout.carrier_rect is None:
        return size
    where = "on" if layout.carrier_rect.overlaps(layout.patch) else "beside"
    return f"{size} {where} a {layout.carrier} sign of {layout.carrier_rect.width_mm:g} mm"


def ruler_words(layout: SheetLayout, cure: str) -> str:
    """Return the instruction for the rulers that is printed on a sheet; ``cure`` says what to do if their lengths are wrong."""
    across, down = f"{layout.ruler_x.width_mm:g} mm", f"{layout.ruler_y.height_mm:g} mm"
    lengths = f"Both rulers must measure {across}"
    must = lengths if across == down else f"The rulers must measure {across} across and {down} down"
    return f"Actual size, not fit to page. {must}; if not, {cure}"


def measured_words(name: str) -> str:
    """Return how to enter the lengths of the rulers of a PDF; a name that is long or has no letters here is left to fill in."""
    named = shlex.quote(name) if len(name) <= _LONGEST_NAME and has_letters(name) else "FILE.pdf"
    return f"enter their lengths: physpatch print --measured WxH --out {named}"


def has_letters(words: str) -> bool:
    """Tell whether the fonts of a sheet have all letters of a text; for others, black boxes would be printed."""
    try:
        words.encode("cp1252")  # the encoding of a PDF's standard fonts
    except UnicodeEncodeError:
        return False
    return True


def draw_text(
    canvas: Canvas,
    x_mm: float,
    y_mm: float,
    words: str,
    *,
    size_mm: float,
    grey: float = 0.0,
    upright: bool = False,
    room_mm: float | None = None,
    align: str = "centre",
    bold: bool = False,
) -> None:
    """Draw text with its baseline at ``y_mm``, in a smaller size if it would be wider than ``room_mm``."""
    font = "Helvetica-Bold" if bold else "Helvetica"
    canvas.saveState()
    canvas.translate(x_mm, y_mm)
    canvas.scale(1, -1)  # undo the page's mirrored y axis
    if upright:
        canvas.rotate(90)
    canvas.setFillGray(grey)
    width = canvas.stringWidth(words, font, size_mm)
    canvas.setFont(font, size_mm * (1.0 if room_mm is None else min(1.0, room_mm / width)))
    {"centre": canvas.drawCentredString, "left": canvas.drawString}[align](0, 0, words)
    canvas.restoreState()


def draw_line(canvas: Canvas, line: Rect, *, halo: bool = False) -> None:
    """Draw a thin black line, given as a rectangle of zero width or height; a white halo makes it visible on dark colours."""
    for grey, width in ((1.0, 0.9), (0.0, HAIR_MM)) if halo else ((0.0, HAIR_MM),):
        canvas.setStrokeGray(grey)
        canvas.setLineWidth(width)
        canvas.line(line.x_mm, line.y_mm, line.right_mm, line.bottom_mm)


def _exact(canvas: Canvas, rect: Rect) -> PDFPathObject:
    """Build a rectangle with a second one inside, as one path: PDFium, and so Chrome, rounds a single one to whole pixels."""
    path = canvas.beginPath()
    x, y, width, height = rect.x_mm, rect.y_mm, rect.width_mm, rect.height_mm
    path.rect(x, y, width, height)
    path.rect(x + width / 4, y + height / 4, width / 2, height / 2)
    return path


def _clip(canvas: Canvas, window: Rect) -> None:
    path = canvas.beginPath()
    path.rect(window.x_mm, window.y_mm, window.width_mm, window.height_mm)
    canvas.clipPath(path, stroke=0, fill=0)


def _draw_cells(canvas: Canvas, layout: SheetLayout, cells: NDArray[np.uint8], window: Rect | None) -> None:
    """Draw flat colours to the edge of the patch; the outer cells of a cut-out extend into the bleed."""
    place, cell, bleed = layout.patch, layout.cell_mm, layout.bleed_mm
    rows, columns = layout.grid
    canvas.saveState()
    if layout.cut_shape == "circle":
        radius = min(place.width_mm, place.height_mm) / 2 + bleed
        path = canvas.beginPath()
        path.circle(place.x_mm + place.width_mm / 2, place.y_mm + place.height_mm / 2, radius)
        canvas.clipPath(path, stroke=0, fill=0)
    under = min(cell / 2, _CELL_OVERLAP_MM)
    for row in range(rows):
        for column in range(columns):
            own = layout.cell_rect(row, column)
            if window is not None and not own.grown(bleed).overlaps(window):
                continue
            left, top = own.x_mm - (bleed if column == 0 else 0), own.y_mm - (bleed if row == 0 else 0)
            right = own.right_mm + (under if column < columns - 1 else bleed)
            bottom = own.bottom_mm + (under if row < rows - 1 else bleed)
            # c / 255 with reportlab's six digits converts back to the same 8-bit value.
            red, green, blue = (int(c) / 255 for c in cells[row, column])
            canvas.setFillColorRGB(red, green, blue)
            canvas.drawPath(
                _exact(canvas, Rect(left, top, right - left, bottom - top)), stroke=0, fill=1, fillMode=FILL_NON_ZERO
            )
    canvas.restoreState()


def _draw_board_markers(canvas: Canvas, layout: SheetLayout) -> None:
    board = charuco_board(layout)
    for marker_id, corners in zip(np.ravel(board.getIds()), np.array(board.getObjPoints()), strict=True):
        x, y = corners[:, :2].min(axis=0)
        side = float(np.ptp(corners[:, 0]))
        place = Rect(layout.patch.x_mm + float(x), layout.patch.y_mm + float(y), side, side)
        draw_modules(canvas, place, ~marker_bits(int(marker_id)))


def _draw_cut(canvas: Canvas, layout: SheetLayout) -> None:
    """Draw a dashed line on white paper, a hairline for a circle, or only crop marks, outside the cut, for a square cut-out."""
    cut = layout.cut
    canvas.saveState()
    canvas.setStrokeGray(GREY + 0.25)
    canvas.setLineWidth(HAIR_MM / 2)
    if layout.cut_shape == "circle":
        radius = min(cut.width_mm, cut.height_mm) / 2
        canvas.circle(cut.x_mm + cut.width_mm / 2, cut.y_mm + cut.height_mm / 2, radius, stroke=1, fill=0)
    else:
        for mark in layout.crop_marks:
            draw_line(canvas, mark)
    if layout.cut_shape == "sheet":
        canvas.setStrokeGray(GREY + 0.25)
        canvas.setDash(2, 1.5)
        canvas.rect(cut.x_mm, cut.y_mm, cut.width_mm, cut.height_mm, stroke=1, fill=0)
    canvas.restoreState()
