"""The patch sheet: vector cells to scale, corner markers, rulers, and what a person with a printer needs to know."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from calibration.files import atomic_path
from calibration.sheet import ARUCO_DICTIONARY, MARKER_MODULES, Rect, SheetLayout, layouts_to_json, plan_sheet
from physpatch.artifact import Patch

_OVERLAP_MM = 0.05  # each cell reaches under the next one, or renderers leave hairlines between them
_TICKS_MM = {10: 3.2, 5: 2.4, 1: 1.6}
_GREY = 0.45


def print_sheets(
    patch: Patch, size_mm: float, out: Path, *, paper: str = "a4", controls: Sequence[str] = ()
) -> tuple[SheetLayout, ...]:
    """Write a PDF with the patch on page 1 and one page for each control, all with the same geometry.

    Args:
        patch: what to print.
        size_mm: the longer side of the patch.
        out: the PDF; it carries the layouts in its metadata, so that a session needs no other file.
        paper: a name from ``calibration.sheet.PAGES_MM``.
        controls: kinds of control, such as ``("grey", "random")``; each has marker ids of its own.

    Returns:
        The layouts of the pages.

    Raises:
        InputError: the patch does not fit the page, or its cells would be too small.
    """
    layout = plan_sheet(size_mm, patch.grid, paper, patch_id=patch.id)
    pages = [(layout, patch)]
    for kind in controls:
        control = patch.control(kind)
        pages.append((replace(layout.as_kind(kind), patch_id=control.id), control))
    layouts = tuple(layout for layout, _ in pages)
    with atomic_path(out) as temporary:
        canvas = Canvas(str(temporary), pagesize=(layout.page_mm[0] * mm, layout.page_mm[1] * mm), invariant=True)
        canvas.setTitle(f"physpatch sheet {patch.id}")
        canvas.setCreator("physpatch")
        canvas.setKeywords(layouts_to_json(layouts))
        canvas.setViewerPreference(
            "PrintScaling", "None"
        )  # a hint that not every printer dialogue heeds: hence the rulers
        for page, shown in pages:
            _draw_page(canvas, page, shown)
            canvas.showPage()
        canvas.save()
    return layouts


def marker_bits(marker_id: int) -> NDArray[np.bool_]:
    """The (6, 6) modules of a marker, black rim included; True is white."""
    dictionary = cv2.aruco.getPredefinedDictionary(ARUCO_DICTIONARY)
    return cv2.aruco.generateImageMarker(dictionary, marker_id, MARKER_MODULES) > 0


def _draw_page(canvas: Canvas, layout: SheetLayout, patch: Patch) -> None:
    # Points from the bottom left become millimetres from the top left, the coordinates of SheetLayout.
    canvas.translate(0, layout.page_mm[1] * mm)
    canvas.scale(mm, -mm)
    _draw_cells(canvas, layout.patch, patch)
    for marker in layout.markers:
        _draw_marker(canvas, marker.rect, marker_bits(marker.id))
    _draw_cut_line(canvas, layout.cut)
    _draw_ruler(canvas, layout.ruler_x, upright=False)
    _draw_ruler(canvas, layout.ruler_y, upright=True)
    _draw_words(canvas, layout, patch)


def _draw_cells(canvas: Canvas, place: Rect, patch: Patch) -> None:
    rows, columns = patch.grid
    cell = place.width_mm / columns
    for row in range(rows):
        for column in range(columns):
            # 8-bit steps must survive being written as decimals: c / 255 with reportlab's six digits does.
            red, green, blue = (int(c) / 255 for c in patch.cells[row, column])
            canvas.setFillColorRGB(red, green, blue)
            width = cell + (_OVERLAP_MM if column < columns - 1 else 0)
            height = cell + (_OVERLAP_MM if row < rows - 1 else 0)
            canvas.rect(place.x_mm + column * cell, place.y_mm + row * cell, width, height, stroke=0, fill=1)


def _draw_marker(canvas: Canvas, place: Rect, bits: NDArray[np.bool_]) -> None:
    module = place.width_mm / MARKER_MODULES
    canvas.setFillGray(0)
    canvas.rect(place.x_mm, place.y_mm, place.width_mm, place.height_mm, stroke=0, fill=1)
    white = canvas.beginPath()  # one path, so that no hairline stands between its squares
    for row, column in np.argwhere(bits):
        white.rect(place.x_mm + column * module, place.y_mm + row * module, module, module)
    canvas.setFillGray(1)
    canvas.drawPath(white, stroke=0, fill=1)


def _draw_cut_line(canvas: Canvas, cut: Rect) -> None:
    canvas.setStrokeGray(_GREY + 0.25)
    canvas.setLineWidth(0.15)
    canvas.setDash(2, 1.5)
    canvas.rect(cut.x_mm, cut.y_mm, cut.width_mm, cut.height_mm, stroke=1, fill=0)
    canvas.setDash()


def _draw_ruler(canvas: Canvas, place: Rect, *, upright: bool) -> None:
    """100 mm in ticks of 1 mm; the line lies on the side of the rectangle that faces the patch."""
    canvas.setStrokeGray(0)
    canvas.setLineWidth(0.15)
    length = round(place.height_mm if upright else place.width_mm)
    for at in range(length + 1):
        tick = next(height for step, height in _TICKS_MM.items() if at % step == 0)
        if upright:
            edge = place.x_mm + place.width_mm
            canvas.line(edge - tick, place.y_mm + at, edge, place.y_mm + at)
        else:
            canvas.line(place.x_mm + at, place.y_mm, place.x_mm + at, place.y_mm + tick)
    if upright:
        edge = place.x_mm + place.width_mm
        canvas.line(edge, place.y_mm, edge, place.y_mm + length)
        _text(canvas, place.x_mm + 2.6, place.y_mm + length / 2, f"{length} mm", size_mm=2.6, upright=True)
    else:
        canvas.line(place.x_mm, place.y_mm, place.x_mm + length, place.y_mm)
        _text(canvas, place.x_mm + length / 2, place.y_mm + 6.6, f"{length} mm", size_mm=2.6)


def _draw_words(canvas: Canvas, layout: SheetLayout, patch: Patch) -> None:
    place, (rows, columns) = layout.patch, patch.grid
    kind = "patch" if layout.kind == "patch" else f"control: {layout.kind}"
    target = f", aims at {patch.target['name']}" if patch.target else ""
    size = f"{place.width_mm:g} x {place.height_mm:g} mm"
    middle = layout.page_mm[0] / 2
    _text(canvas, middle, 9.5, f"physpatch {kind} {patch.id}{target} - {size}, {rows} x {columns} cells", size_mm=3.2)
    _text(
        canvas,
        middle,
        14.0,
        "Print at 100 % (actual size, no fit to page). Both rulers must measure 100 mm; if not, note what they measure.",
        size_mm=2.6,
        grey=_GREY,
    )


def _text(
    canvas: Canvas, x_mm: float, y_mm: float, words: str, *, size_mm: float, grey: float = 0.0, upright: bool = False
) -> None:
    """Centred words with their base line at ``y_mm``; the page's mirrored axis is mirrored back for them."""
    canvas.saveState()
    canvas.translate(x_mm, y_mm)
    canvas.scale(1, -1)
    if upright:
        canvas.rotate(90)
    canvas.setFillGray(grey)
    room = canvas._pagesize[0] / mm - 16
    width = canvas.stringWidth(words, "Helvetica", size_mm)
    canvas.setFont("Helvetica", size_mm * min(1.0, room / width))
    canvas.drawCentredString(0, 0, words)
    canvas.restoreState()
