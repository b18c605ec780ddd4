"""Patches on paper: vector cells to scale, corner markers, label, rulers, and what a person with a printer needs to know."""

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from calibration.sheet.charuco_target import BOARD_GRID, CHART_GRID, board_cells, chart_cells
from calibration.sheet.layout import SheetLayout
from calibration.sheet.planning import largest_on_page_mm, plan_on_sign, plan_sheet
from calibration.sheet.road_signs import sign
from physpatch.records.patch_file import Patch
from printouts.document import new_document
from printouts.drawing import GREY, draw_ruler, draw_sheet, draw_sign, draw_text, page_in_mm, ruler_words
from printouts.poster_pdf import draw_poster

_TITLES = {"patch": "physpatch patch", "chart": "physpatch colour chart", "board": "physpatch lens board"}


def print_sheets(
    patch: Patch,
    size_mm: float,
    out: Path,
    *,
    paper: str = "a4",
    controls: Sequence[str] = (),
    cut: str = "sheet",
    bleed_mm: float | None = None,
) -> tuple[SheetLayout, ...]:
    """Write a PDF with the patch and its controls, all with the same geometry.

    Args:
        patch: what to print.
        size_mm: the longer side of the patch; larger than the paper it becomes a poster.
        out: the PDF; it carries the layouts in its metadata, so that a session needs no other file.
        paper: a name from ``calibration.sheet.paper_sizes.PAGES_MM`` or a custom ``300x500mm``.
        controls: kinds of control, such as ``("grey", "random")``; each has marker ids of its own.
        cut: ``sheet``, or ``square`` or ``circle`` for a cut-out without its markers.
        bleed_mm: of a cut-out.

    Returns:
        The layouts of the sheets.

    Raises:
        InputError: the patch's cells would be too small, or it fits no sensible number of pages.
    """
    plan = plan_sheet(size_mm, patch.grid, paper, cut=cut, bleed_mm=bleed_mm)
    shown = [(patch, "patch"), *((patch.control(kind), kind) for kind in controls)]
    return _write([(plan.showing(kind, p.id, p.cells), p) for p, kind in shown], f"physpatch sheet {patch.id}", out)


def print_on_sign(
    patch: Patch,
    carrier: str,
    size_mm: float,
    out: Path,
    *,
    share: float = 0.2,
    at: tuple[float, float] = (0.5, 0.5),
    paper: str = "a4",
    controls: Sequence[str] = (),
) -> tuple[SheetLayout, ...]:
    """Write a PDF with a sign that carries the patch, and one for each control, all with the same geometry.

    Args:
        patch, out, paper, controls: as for :func:`print_sheets`.
        carrier: the sign's name.
        size_mm: its width.
        share, at: how much of its area the patch is, and where its middle lies.

    Raises:
        InputError: no such sign, a patch that does not fit it, or a sign that does not fit the page.
    """
    plan = plan_on_sign(size_mm, patch.grid, sign(carrier), share, at, paper)
    shown = [(patch, "patch"), *((patch.control(kind), kind) for kind in controls)]
    return _write([(plan.showing(kind, p.id, p.cells), p) for p, kind in shown], f"physpatch sheet {patch.id}", out)


def print_sign(name: str, size_mm: float, out: Path, *, paper: str = "a4") -> None:
    """Write a PDF of one page with a sign alone, to be cut out along its outline: nothing on it marks it for the program.

    Raises:
        InputError: no such sign, or too large for the page.
    """
    drawn = sign(name)
    page = plan_sheet(size_mm, (1, 1), paper, poster=False)
    with new_document(out, f"physpatch sign: {drawn.name}", ()) as canvas, page_in_mm(canvas, page.paper_mm):
        draw_sign(canvas, drawn, page.patch)
        _draw_frame(canvas, page, f"physpatch sign: {drawn.name} - {size_mm:g} mm wide")


def print_targets(
    out: Path, *, paper: str = "a4", size_mm: float | None = None, seed: int = 0
) -> tuple[SheetLayout, ...]:
    """Write the calibration sheets: page 1 a ChArUco board for the lens, page 2 a colour chart.

    Args:
        out: the PDF.
        paper: as for :func:`print_sheets`.
        size_mm: the longer side of board and chart; default the largest that fits a page.
        seed: shuffles the chart's cells.

    Raises:
        InputError: they do not fit the paper.
    """
    sheets = []
    for kind, grid, cells in (("board", BOARD_GRID, board_cells()), ("chart", CHART_GRID, chart_cells(seed))):
        shown = Patch(cells, None, {"calibration": kind, "seed": seed})
        plan = plan_sheet(size_mm or largest_on_page_mm(grid, paper), grid, paper, poster=False)
        sheets.append((plan.showing(kind, shown.id, cells), shown))
    return _write(sheets, "physpatch calibration sheets", out)


def _write(sheets: Sequence[tuple[SheetLayout, Patch]], title: str, out: Path) -> tuple[SheetLayout, ...]:
    layouts = tuple(layout for layout, _ in sheets)
    with new_document(out, title, layouts) as canvas:
        for layout, patch in sheets:
            if layout.tiles:
                draw_poster(canvas, layout, patch, _title(layout, patch))
            else:
                _draw_page(canvas, layout, patch)
    return layouts


def _draw_page(canvas: Canvas, layout: SheetLayout, patch: Patch) -> None:
    with page_in_mm(canvas, layout.paper_mm):
        _set_boxes(canvas, layout)
        draw_sheet(canvas, layout, patch.cells)
        _draw_frame(canvas, layout, _title(layout, patch))


def _draw_frame(canvas: Canvas, layout: SheetLayout, title: str) -> None:
    """Rulers, and the words at the top."""
    draw_ruler(canvas, layout.ruler_x, upright=False)
    draw_ruler(canvas, layout.ruler_y, upright=True)
    middle, room = layout.page_mm[0] / 2, layout.page_mm[0] - 16
    draw_text(canvas, middle, 9.5, title, size_mm=3.2, room_mm=room)
    words = f"Print at 100 % (actual size, no fit to page). {ruler_words(layout)}"
    draw_text(canvas, middle, 14.0, words, size_mm=2.6, grey=GREY, room_mm=room)


def _set_boxes(canvas: Canvas, layout: SheetLayout) -> None:
    """Tell a print shop where the sheet is cut and how far its colours run over."""
    bleed = layout.cut.grown(layout.bleed_mm)
    height = layout.page_mm[1]
    for name, box in (("trim", layout.cut), ("bleed", bleed)):
        points = (box.x_mm * mm, (height - box.bottom_mm) * mm, box.right_mm * mm, (height - box.y_mm) * mm)
        canvas.setCropBox(points, name=name)


def _title(layout: SheetLayout, patch: Patch) -> str:
    kind = _TITLES.get(layout.kind, f"physpatch control: {layout.kind}")
    target = f", aims at {patch.target['name']}" if patch.target else ""
    rows, columns = layout.grid
    cut = "" if layout.cut_shape == "sheet" else f", {layout.cut_shape} cut-out with {layout.bleed_mm:g} mm bleed"
    size = f"{layout.patch.width_mm:.4g} x {layout.patch.height_mm:.4g} mm"
    if layout.carrier_rect is not None:
        where = "on" if layout.carrier_rect.overlaps(layout.patch) else "beside"
        size += f" {where} a {layout.carrier} sign of {layout.carrier_rect.width_mm:g} mm"
    return f"{kind} {patch.id}{target} - {size}, {rows} x {columns} cells{cut}"
