"""Write PDFs of patches, controls, signs and calibration targets, to scale."""

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from calibration.common.errors import InputError
from calibration.sheet.charuco_target import BOARD_GRID, CHART_GRID, SMALLEST_BOARD_MM, board_cells, chart_cells
from calibration.sheet.layout import SheetLayout
from calibration.sheet.planning import largest_on_page_mm, plan_on_sign, plan_sheet
from calibration.sheet.road_signs import sign
from physpatch.records.patch_file import Patch
from printouts.document import new_document
from printouts.drawing import (
    GREY,
    draw_ruler,
    draw_sheet,
    draw_sign,
    draw_text,
    has_letters,
    measured_words,
    page_in_mm,
    ruler_words,
    size_words,
)
from printouts.poster_pdf import draw_poster

_LARGE_MM = 5.2  # height of letters that are read before printing
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
        patch: the patch to print.
        size_mm: longer side of the patch; a patch larger than the paper becomes a poster.
        out: the PDF; its metadata stores the layouts, so that a session needs no other file.
        paper: a name in ``calibration.sheet.paper_sizes.PAGES_MM`` or a size such as ``300x500mm``.
        controls: kinds of control, such as ``("grey", "random")``; each kind has its own marker ids.
        cut: ``sheet``, or ``square`` or ``circle`` for a cut-out without its markers.
        bleed_mm: bleed of a cut-out.

    Returns:
        The layouts of the sheets.

    Raises:
        InputError: if the cells would be too small, or the patch needs too many pages.
    """
    layout = plan_sheet(size_mm, patch.grid, paper, cut=cut, bleed_mm=bleed_mm)
    return _write(_with_controls(layout, patch, controls), f"physpatch sheet {patch.id}", out)


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
    drawing: Patch | None = None,
) -> tuple[SheetLayout, ...]:
    """Write a PDF with a sign that carries the patch, and one sheet per control, all with the same geometry.

    Args:
        patch, out, paper, controls: as for :func:`print_sheets`.
        carrier: name of the sign.
        size_mm: width of the sign.
        share, at: size and place of the patch; see :func:`calibration.sheet.road_signs.together`.
        drawing: a drawing of another sign, which is a further control in the patch's place.

    Returns:
        The layouts of the sheets.

    Raises:
        InputError: if there is no such sign, or the patch does not fit the sign or the sign the page.
    """
    layout = plan_on_sign(size_mm, patch.grid, sign(carrier), share, at, paper)
    sheets = _with_controls(layout, patch, controls)
    if drawing is not None:
        sheets.append(_sheet(layout, "drawing", drawing))
    return _write(sheets, f"physpatch sheet {patch.id}", out)


def print_sign(name: str, size_mm: float, out: Path, *, paper: str = "a4") -> None:
    """Write a one-page PDF with a bare sign to cut out along its outline; it has no markers and no label.

    Raises:
        InputError: if there is no such sign, or it is too large for the page.
    """
    drawn = sign(name)
    page = plan_sheet(size_mm, (1, 1), paper, poster=False)
    with new_document(out, f"physpatch sign: {drawn.name}", ()) as canvas, page_in_mm(canvas, page.paper_mm):
        draw_sign(canvas, drawn, page.patch)
        _draw_frame(canvas, page, f"{size_mm:g} mm wide", f"physpatch sign: {drawn.name}", "print again at 100 %")


def print_targets(
    out: Path, *, paper: str = "a4", size_mm: float | None = None, seed: int = 0
) -> tuple[SheetLayout, ...]:
    """Write the calibration sheets: a ChArUco board for the lens on page 1, a colour chart on page 2.

    Args:
        out: the PDF.
        paper: as for :func:`print_sheets`.
        size_mm: longer side of board and chart; by default as large as fits the page.
        seed: for the order of the chart's cells.

    Returns:
        The layouts of the sheets.

    Raises:
        InputError: if they do not fit the page, the board's markers are too small to be printed, or the seed is negative.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative; expected 0 or more")
    sheets = []
    for kind, grid, cells in (("board", BOARD_GRID, board_cells()), ("chart", CHART_GRID, chart_cells(seed))):
        target = Patch(cells, None, {"calibration": kind, "seed": seed})
        largest = largest_on_page_mm(grid, paper)
        if largest < SMALLEST_BOARD_MM:
            raise InputError(f"{paper.upper()} is too small for the calibration sheets; choose a larger --paper")
        if size_mm is not None and size_mm < SMALLEST_BOARD_MM:
            raise InputError(
                f"a board of {size_mm:g} mm has markers that printers blur; expected at least {SMALLEST_BOARD_MM:g} mm, or no "
                "--size for the largest that fits"
            )
        layout = plan_sheet(size_mm or largest, grid, paper, poster=False)
        sheets.append(_sheet(layout, kind, target))
    return _write(sheets, "physpatch calibration sheets", out)


def _with_controls(layout: SheetLayout, patch: Patch, controls: Sequence[str]) -> list[tuple[SheetLayout, Patch]]:
    printed = [("patch", patch), *((kind, patch.control(kind)) for kind in controls)]
    return [_sheet(layout, kind, shown_patch) for kind, shown_patch in printed]


def _sheet(layout: SheetLayout, kind: str, patch: Patch) -> tuple[SheetLayout, Patch]:
    return layout.showing(kind, patch.id, patch.cells), patch


def _write(sheets: Sequence[tuple[SheetLayout, Patch]], title: str, out: Path) -> tuple[SheetLayout, ...]:
    layouts = tuple(layout for layout, _ in sheets)
    with new_document(out, title, layouts) as canvas:
        for layout, patch in sheets:
            if layout.tiles:
                draw_poster(canvas, layout, patch, _title(layout, patch), measured_words(out.name))
            else:
                _draw_page(canvas, layout, patch, measured_words(out.name))
    return layouts


def _draw_page(canvas: Canvas, layout: SheetLayout, patch: Patch, cure: str) -> None:
    with page_in_mm(canvas, layout.paper_mm):
        _set_boxes(canvas, layout)
        draw_sheet(canvas, layout, patch.cells)
        _draw_frame(canvas, layout, size_words(layout), _title(layout, patch), cure)


def _draw_frame(canvas: Canvas, layout: SheetLayout, size: str, title: str, cure: str) -> None:
    """Draw rulers with the cure if they are off, and the text at the top: in large letters what must not go wrong."""
    draw_ruler(canvas, layout.ruler_x, upright=False)
    draw_ruler(canvas, layout.ruler_y, upright=True)
    middle, room = layout.page_mm[0] / 2, layout.page_mm[0] - 16
    draw_text(canvas, middle, 10.2, f"Print at 100 %: {size}", size_mm=_LARGE_MM, room_mm=room, bold=True)
    draw_text(canvas, middle, 13.4, title, size_mm=2.4, room_mm=room)
    draw_text(canvas, middle, 16.1, ruler_words(layout, cure), size_mm=2.2, grey=GREY, room_mm=room)


def _set_boxes(canvas: Canvas, layout: SheetLayout) -> None:
    """Set the PDF's trim box and bleed box, for print shops."""
    bleed = layout.cut.grown(layout.bleed_mm)
    height = layout.page_mm[1]
    for name, box in (("trim", layout.cut), ("bleed", bleed)):
        points = (box.x_mm * mm, (height - box.bottom_mm) * mm, box.right_mm * mm, (height - box.y_mm) * mm)
        canvas.setCropBox(points, name=name)


def _title(layout: SheetLayout, patch: Patch) -> str:
    drawn_sign = f" of the {patch.provenance['sign']} sign" if layout.kind == "drawing" else ""
    kind = _TITLES.get(layout.kind, f"physpatch control: {layout.kind}{drawn_sign}")
    name = str(patch.target["name"]) if patch.target else ""
    target = f", target {name}" if name and has_letters(name) else ""
    rows, columns = layout.grid
    cut = "" if layout.cut_shape == "sheet" else f", {layout.cut_shape} cut-out with {layout.bleed_mm:g} mm bleed"
    return f"{kind} {patch.id}{target} - {size_words(layout)}, {rows} x {columns} cells{cut}"
