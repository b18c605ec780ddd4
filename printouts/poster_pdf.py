"""Draw a poster, a sheet larger than the page: an assembly map and tiles with marks for assembly."""

from reportlab.pdfgen.canvas import Canvas

from calibration.sheet.layout import Rect, SheetLayout, Tile
from calibration.sheet.paper_sizes import MARGIN_MM
from calibration.sheet.tiling import OVERLAP_MM
from physpatch.records.patch_file import Patch
from printouts.drawing import (
    GREY,
    draw_line,
    draw_ruler,
    draw_sheet,
    draw_text,
    moved,
    page_in_mm,
    ruler_words,
    size_words,
)

_CROSS_MM = 5.0  # length of an arm of a registration cross
_MAP_TOP_MM = 46.0
_STEPS = (
    "Start with A1. Cut each page along its left and top edges, from cross to cross, except at the edges of the poster.",
    "Align the cut edge with the dashed line of its neighbour so that the crosses meet, then glue it onto the overlap.",
)


def draw_poster(canvas: Canvas, layout: SheetLayout, patch: Patch, title: str, cure: str) -> None:
    """Draw the assembly map and all tiles of one sheet, a page each; ``cure`` is that of :func:`ruler_words`."""
    with page_in_mm(canvas, layout.paper_mm):
        _draw_map(canvas, layout, patch, title, cure)
    for tile in layout.tiles:
        with page_in_mm(canvas, layout.paper_mm):
            _draw_tile(canvas, layout, patch, tile)


def _draw_map(canvas: Canvas, layout: SheetLayout, patch: Patch, title: str, cure: str) -> None:
    width, _ = layout.paper_mm
    room = width - 2 * MARGIN_MM - 8
    large = f"Print every page at 100 %: {size_words(layout)}"
    draw_text(canvas, width / 2, 12, large, size_mm=5.2, room_mm=room, bold=True)
    whole = f"poster of {len(layout.tiles)} pages, {layout.page_mm[0]:.0f} x {layout.page_mm[1]:.0f} mm when assembled"
    draw_text(canvas, width / 2, 17, title, size_mm=2.6, room_mm=room)
    draw_text(canvas, width / 2, 21, whole, size_mm=2.6, room_mm=room)
    for number, step in enumerate((ruler_words(layout, cure), *_STEPS)):
        draw_text(canvas, width / 2, 26 + 5 * number, step, size_mm=2.6, grey=GREY, room_mm=room)
    draw_ruler(canvas, layout.ruler_x, upright=False)
    draw_ruler(canvas, layout.ruler_y, upright=True)
    area = Rect(
        layout.ruler_y.right_mm + 6,
        _MAP_TOP_MM,
        width - 2 * (layout.ruler_y.right_mm + 6),
        layout.ruler_x.y_mm - 6 - _MAP_TOP_MM,
    )
    scale = min(area.width_mm / layout.page_mm[0], area.height_mm / layout.page_mm[1])
    x = area.x_mm + (area.width_mm - scale * layout.page_mm[0]) / 2
    y = area.y_mm + (area.height_mm - scale * layout.page_mm[1]) / 2
    with moved(canvas, x, y, scale):
        draw_sheet(canvas, layout, patch.cells)
    for tile in layout.tiles:
        place = tile.part.scaled(scale, scale).shifted(x, y)
        for edge in _edges(place):
            draw_line(canvas, edge, halo=True)
        size = min(6.0, 0.4 * min(place.width_mm, place.height_mm))
        middle_x, middle_y = place.x_mm + place.width_mm / 2, place.y_mm + place.height_mm / 2
        _pill(canvas, middle_x, middle_y + 0.35 * size, tile.name, size)


def _draw_tile(canvas: Canvas, layout: SheetLayout, patch: Patch, tile: Tile) -> None:
    x, y = tile.at_mm[0] - tile.printed.x_mm, tile.at_mm[1] - tile.printed.y_mm
    with moved(canvas, x, y):
        draw_sheet(canvas, layout, patch.cells, tile.printed)
    part, printed = tile.part.shifted(x, y), tile.printed.shifted(x, y)
    _draw_overlaps(canvas, layout, tile, part, printed)
    _draw_crosses(canvas, layout, tile, part)
    size = f"{layout.patch.width_mm:g} x {layout.patch.height_mm:g} mm"
    words = f"{tile.name}   physpatch {layout.kind} {layout.patch_id}, {size}"
    draw_text(canvas, part.x_mm + 8, MARGIN_MM + 2.6, words, size_mm=2.6, align="left", room_mm=part.width_mm - 16)


def _draw_overlaps(canvas: Canvas, layout: SheetLayout, tile: Tile, part: Rect, printed: Rect) -> None:
    """Draw dashed seam lines in the overlap, where the neighbouring page covers them, and the names of the neighbours."""
    number = layout.tiles.index(tile)
    columns = sum(t.part.y_mm == tile.part.y_mm for t in layout.tiles)
    canvas.saveState()
    canvas.setDash(2, 1.5)
    if printed.right_mm > part.right_mm:
        draw_line(canvas, Rect(part.right_mm + 0.5, part.y_mm, 0, part.height_mm), halo=True)
        middle = part.right_mm + OVERLAP_MM / 2 + 0.5
        _pill(canvas, middle, part.y_mm + part.height_mm / 2, layout.tiles[number + 1].name, 3.2)
    if printed.bottom_mm > part.bottom_mm:
        draw_line(canvas, Rect(part.x_mm, part.bottom_mm + 0.5, part.width_mm, 0), halo=True)
        middle = part.bottom_mm + OVERLAP_MM / 2 + 1.6
        _pill(canvas, part.x_mm + part.width_mm / 2, middle, layout.tiles[number + columns].name, 3.2)
    canvas.restoreState()


def _draw_crosses(canvas: Canvas, layout: SheetLayout, tile: Tile, part: Rect) -> None:
    """Draw a cross at every inner corner of the tile, with its arms outside the visible part."""
    left, top = tile.part.x_mm > 0, tile.part.y_mm > 0
    right = tile.part.right_mm < layout.page_mm[0] - 1e-6
    bottom = tile.part.bottom_mm < layout.page_mm[1] - 1e-6
    for x, outward_x, seam_x in ((part.x_mm, -1, left), (part.right_mm, 1, right)):
        for y, outward_y, seam_y in ((part.y_mm, -1, top), (part.bottom_mm, 1, bottom)):
            if seam_y:
                draw_line(canvas, _arm(x, y, outward_x * _CROSS_MM, 0), halo=True)
            if seam_x:
                draw_line(canvas, _arm(x, y, 0, outward_y * _CROSS_MM), halo=True)


def _arm(x: float, y: float, dx: float, dy: float) -> Rect:
    """Return an outward line that starts 0.5 mm from the corner."""
    off_x, off_y = (0.5 if dx > 0 else -0.5 if dx else 0.0), (0.5 if dy > 0 else -0.5 if dy else 0.0)
    return Rect(x + off_x, y + off_y, dx - off_x, dy - off_y)


def _edges(place: Rect) -> tuple[Rect, ...]:
    x, y, w, h = place.x_mm, place.y_mm, place.width_mm, place.height_mm
    return (Rect(x, y, w, 0), Rect(x, y + h, w, 0), Rect(x, y, 0, h), Rect(x + w, y, 0, h))


def _pill(canvas: Canvas, x_mm: float, y_mm: float, words: str, size_mm: float) -> None:
    """Draw text on a white background, readable on any colour."""
    width = canvas.stringWidth(words, "Helvetica", size_mm) + 0.8 * size_mm
    canvas.setFillGray(1)
    canvas.roundRect(x_mm - width / 2, y_mm - 1.05 * size_mm, width, 1.4 * size_mm, 0.3 * size_mm, stroke=0, fill=1)
    draw_text(canvas, x_mm, y_mm, words, size_mm=size_mm)
