"""Measure lengths and colours of a rasterised sheet.

Edges are located to a fraction of a pixel: the value of a pixel that blends two flat areas gives the position of the edge
in it, so the first moment of the profile is the position of the edge.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.sheet.layout import Rect, SheetLayout

_CONTRAST = 24  # 8-bit steps; weaker edges are not measured
_WINDOW_PX = 6
_LINES = 12  # most cell rows or columns along which edges are measured
_LONG_TICKS_MM = (2.6, 3.0)  # distances from a ruler's line that only the ticks of 10 mm reach
_CLEAR_MM = 1.0  # around a seam, whose dashed line is not an edge of the patch
_BOARD_RIM = 0.06  # of a square: outside its marker


@dataclass(frozen=True)
class RasterPage:
    """One page of a sheet.

    Attributes:
        raster: (H, W, 3) RGB uint8.
        layout: of the sheet.
        shift_mm: from coordinates of the sheet to those of the page.
        part, printed: the parts of the sheet that are visible and printed here, as in ``calibration.sheet.layout.Tile``.
    """

    raster: NDArray[np.uint8]
    layout: SheetLayout
    shift_mm: tuple[float, float]
    part: Rect
    printed: Rect

    @classmethod
    def of(cls, raster: NDArray[np.uint8], layout: SheetLayout, number: int) -> "RasterPage":
        """Build the page ``number`` of a sheet: 0 for a sheet of one page, from 1 for the tiles of a poster."""
        if not layout.tiles:
            whole = Rect(0, 0, *layout.page_mm)
            return cls(raster, layout, (0.0, 0.0), whole, whole)
        tile = layout.tiles[number - 1]
        shift = (tile.at_mm[0] - tile.printed.x_mm, tile.at_mm[1] - tile.printed.y_mm)
        return cls(raster, layout, shift, tile.part, tile.printed)


def worst_step(page: RasterPage, cells: NDArray[np.uint8]) -> int:
    """Return the largest difference of a pixel in the middle half of a cell from that cell's colour, in 8-bit steps."""
    layout, per_mm = page.layout, _per_mm(page.raster, page.layout)
    worst = 0
    for row, column in np.ndindex(layout.grid):
        part = layout.cell_rect(row, column).common(page.part)
        if part is None or min(part.width_mm, part.height_mm) < 0.5 or not _flat(layout, part):
            continue
        inner = part.shifted(*page.shift_mm).grown(-0.25 * min(part.width_mm, part.height_mm))
        left, right = int(inner.x_mm * per_mm[0]), int(inner.right_mm * per_mm[0])
        top, bottom = int(inner.y_mm * per_mm[1]), int(inner.bottom_mm * per_mm[1])
        pixels = page.raster[top : bottom + 1, left : right + 1].astype(np.int16)
        if not pixels.size:
            raise InputError(f"the layout of the {layout.kind} sheet has cells beyond its page; print it again")
        worst = max(worst, int(np.abs(pixels - cells[row, column].astype(np.int16)).max()))
    return worst


def stretches(page: RasterPage, cells: NDArray[np.uint8], axis: int) -> list[float]:
    """Measure the ratio of measured to planned length along x (axis 0) or y (1), on several lines of cells.

    Returns:
        One ratio per line; empty if no edges are visible.
    """
    layout = page.layout
    colours = (cells if axis == 0 else cells.transpose(1, 0, 2)).astype(np.int16)
    raster = page.raster if axis == 0 else page.raster.transpose(1, 0, 2)
    per_mm, per_mm_line = _per_mm(page.raster, layout)[:: 1 if axis == 0 else -1]
    offset, offset_line = page.shift_mm[:: 1 if axis == 0 else -1]
    start, start_line = (layout.patch.x_mm, layout.patch.y_mm)[:: 1 if axis == 0 else -1]
    low_line, high_line = _span(page.part, 1 - axis)
    aside = _BOARD_RIM if layout.kind == "board" else 0.5
    middles = [start_line + (i + aside) * layout.cell_mm for i in range(len(colours))]
    lines = [i for i, at in enumerate(middles) if low_line <= at <= high_line]
    ratios = []
    for i in lines[:: max(1, len(lines) // _LINES)]:
        line = raster[round((middles[i] + offset_line) * per_mm_line)]
        edges = []
        for place, before, after in _borders(page, axis, start, colours[i], middles[i]):
            edge = _edge_px(line, (place + offset) * per_mm, before, after)
            if edge is not None:
                edges.append((place, edge / per_mm - offset))
        if len(edges) >= 2:
            ratios.append((edges[-1][1] - edges[0][1]) / (edges[-1][0] - edges[0][0]))
    return ratios


def ruler_mm(raster: NDArray[np.uint8], layout: SheetLayout, axis: int) -> float:
    """Measure the distance in mm between the outermost ticks of the ruler along x (axis 0) or y (1); 0 without ticks."""
    per_mm, per_mm_line = _per_mm(raster, layout)[:: 1 if axis == 0 else -1]
    picture = raster if axis == 0 else raster.transpose(1, 0, 2)
    near, far = _LONG_TICKS_MM
    if axis == 0:
        place, band = layout.ruler_x, (layout.ruler_x.y_mm + near, layout.ruler_x.y_mm + far)
    else:
        place, band = layout.ruler_y, (layout.ruler_y.right_mm - far, layout.ruler_y.right_mm - near)
    dark = 255.0 - picture[int(band[0] * per_mm_line) : int(band[1] * per_mm_line)].mean(axis=(0, 2))
    ends = []
    if not np.isfinite(dark).all():  # no pixel of the page is on the ruler
        return 0.0
    for end in _span(place, axis):
        middle = round(end * per_mm)
        around = np.arange(max(0, middle - 3 * _WINDOW_PX), min(len(dark), middle + 3 * _WINDOW_PX + 1))
        weight = dark[around]
        if weight.sum() < 1:
            return 0.0
        ends.append(float((weight * (around + 0.5)).sum() / weight.sum()))
    return (ends[1] - ends[0]) / per_mm


def _borders(
    page: RasterPage, axis: int, start: float, colours: NDArray[np.int16], line_at: float
) -> list[tuple[float, NDArray[np.int16], NDArray[np.int16]]]:
    """List the colour changes along a line of cells: position in mm on the sheet, colour before and after.

    The ends are those of the print: the patch with its bleed, or the edge of a tile. What is at a seam is left out.
    """
    layout, cell = page.layout, page.layout.cell_mm
    paper = np.full(3, 255, dtype=np.int16)
    low_print, high_print = _span(page.printed, axis)
    low = max(low_print, start - layout.bleed_mm)
    high = min(high_print, start + len(colours) * cell + layout.bleed_mm)
    _, seam = _span(page.part, axis)

    def is_clear(at: float) -> bool:
        return abs(at - seam) > _CLEAR_MM

    inner = [
        (start + i * cell, colours[i - 1], colours[i])
        for i in range(1, len(colours))
        if low + _CLEAR_MM / 2 < start + i * cell < high - _CLEAR_MM / 2 and is_clear(start + i * cell)
    ]
    if layout.carrier_rect is not None:  # the patch is surrounded by the sign
        return inner
    if layout.cut_shape == "circle":  # only straight borders inside the outline can be measured
        center = layout.cut.corners_mm.mean(axis=0)
        radius = min(layout.cut.width_mm, layout.cut.height_mm) / 2 - _CLEAR_MM
        return [b for b in inner if np.hypot(b[0] - center[axis], line_at - center[1 - axis]) < radius]

    def cell_at(at: float) -> NDArray[np.int16]:
        return colours[min(len(colours) - 1, max(0, int((at - start) / cell)))]

    if high <= low:
        return []
    first, last = (low, paper, cell_at(low + 0.1)), (high, cell_at(high - 0.1), paper)
    return [border for border in (first, *inner, last) if is_clear(border[0])]


def _edge_px(
    line: NDArray[np.uint8], near_px: float, before: NDArray[np.int16], after: NDArray[np.int16]
) -> float | None:
    """Find where a line of pixels (W, 3) changes from one flat colour to another; None if they are too similar."""
    channel = int(np.abs(after - before).argmax())
    step = float(after[channel] - before[channel])
    left = round(near_px) - _WINDOW_PX
    profile = line[max(0, left) : left + 2 * _WINDOW_PX, channel].astype(float)
    if abs(step) < _CONTRAST or len(profile) < 2 * _WINDOW_PX:
        return None
    return left + float(((after[channel] - profile) / step).sum())


def _flat(layout: SheetLayout, part: Rect) -> bool:
    """Tell whether a part of a cell has one colour: a board's white squares hold markers, and a circle cuts through cells."""
    if layout.kind == "board":
        return False
    if layout.cut_shape != "circle":
        return True
    middle = layout.cut.corners_mm.mean(axis=0)
    reach = np.linalg.norm(part.corners_mm - middle, axis=1).max()
    return bool(reach < min(layout.cut.width_mm, layout.cut.height_mm) / 2 - _CLEAR_MM)


def _span(rect: Rect, axis: int) -> tuple[float, float]:
    return (rect.x_mm, rect.right_mm) if axis == 0 else (rect.y_mm, rect.bottom_mm)


def _per_mm(raster: NDArray[np.uint8], layout: SheetLayout) -> tuple[float, float]:
    """Return the pixels per millimetre, across and down; they differ because a page is rounded to whole pixels."""
    return raster.shape[1] / layout.paper_mm[0], raster.shape[0] / layout.paper_mm[1]
