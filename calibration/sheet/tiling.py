"""Cut a poster into pages with an overlap for glue: never across a marker, on cell borders unless that wastes pages."""

import math
from collections.abc import Sequence
from itertools import pairwise

from calibration.sheet.layout import Rect, SheetLayout, Tile
from calibration.sheet.paper_sizes import MARGIN_MM

OVERLAP_MM = 10.0
MARK_BAND_MM = 8.0  # blank paper on the left and top for registration crosses and the page name
_MOST_PAGES = 400
LEAST_PART_MM = 30.0  # of a cell through which a seam runs to save pages


def cut_into_tiles(layout: SheetLayout, paper_mm: tuple[float, float]) -> tuple[Tile, ...]:
    """Cut the sheet ``layout``, whose page is the whole poster, into pages of ``paper_mm`` (width, height).

    Uses as few pages as possible, of sizes as even as possible. Seams run through cells only if that saves pages. Returns no
    tiles if the poster cannot be cut this way or would need more than 400 pages.
    """
    columns = _seams(layout, 0, paper_mm[0])
    rows = _seams(layout, 1, paper_mm[1])
    if not columns or not rows or (len(columns) - 1) * (len(rows) - 1) > _MOST_PAGES:
        return ()
    tiles = []
    for r, (top, bottom) in enumerate(pairwise(rows)):
        for c, (left, right) in enumerate(pairwise(columns)):
            part = Rect(left, top, right - left, bottom - top)
            printed = Rect(
                left,
                top,
                part.width_mm + (OVERLAP_MM if right < columns[-1] else 0.0),
                part.height_mm + (OVERLAP_MM if bottom < rows[-1] else 0.0),
            )
            tiles.append(Tile(f"{_letters(r)}{c + 1}", part, printed, (MARGIN_MM + MARK_BAND_MM,) * 2))
    return tuple(tiles)


def _letters(number: int) -> str:
    """Name a row of tiles: A … Z, AA, AB …"""
    name = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def _seams(layout: SheetLayout, axis: int, paper_mm: float) -> list[float]:
    """Find the cut positions along one axis, including the two edges of the poster; empty if it cannot be cut.

    Cells are cut into as few parts as save the most pages, or into more where seams would run through markers.
    """
    room = paper_mm - 2 * MARGIN_MM - 2 * MARK_BAND_MM
    if room - OVERLAP_MM <= 0:
        return []
    pieces = max(1, math.ceil(layout.cell_mm / (room - OVERLAP_MM)))
    fewest = math.ceil((layout.page_mm[axis] - OVERLAP_MM) / (room - OVERLAP_MM))
    best = _cut(layout, axis, room, pieces)
    while (not best or len(best) - 1 > fewest) and layout.cell_mm / (pieces + 1) >= LEAST_PART_MM:
        pieces += 1
        candidate = _cut(layout, axis, room, pieces)
        if candidate and (not best or len(candidate) < len(best)):
            best = candidate
    return best


def _cut(layout: SheetLayout, axis: int, room: float, pieces: int) -> list[float]:
    """Find the cut positions along one axis for cells that may be cut into so many pieces; empty if there are none."""
    total, cell = layout.page_mm[axis], layout.cell_mm
    start = (layout.patch.x_mm, layout.patch.y_mm)[axis]
    count = layout.grid[1 - axis] * pieces
    borders = [start + i * cell / pieces for i in range(count + 1)]
    kept_whole = [m.rect.grown(m.rect.width_mm / 6) for m in layout.markers] + [layout.label]
    spans = [(r.x_mm, r.right_mm) if axis == 0 else (r.y_mm, r.bottom_mm) for r in kept_whole]
    free = [at for at in borders if not any(low + 1e-6 < at < high - 1e-6 for low, high in spans)]
    return _fewest([0.0, *(at for at in free if 1e-6 < at < total - 1e-6), total], room)


def _fewest(places: Sequence[float], room: float) -> list[float]:
    """Find a path from the first to the last place whose steps fit a page, with the fewest and most even steps."""
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)]  # per place: steps so far, sum of their squares, previous place
    for i in range(1, len(places)):
        reach = room if i == len(places) - 1 else room - OVERLAP_MM  # the last page needs no overlap
        options = [
            (best[j][0] + 1, best[j][1] + (places[i] - places[j]) ** 2, j)
            for j in range(i)
            if best[j][0] < _MOST_PAGES and places[i] - places[j] <= reach + 1e-9
        ]
        best.append(min(options, default=(_MOST_PAGES + 1, 0.0, 0)))
    if best[-1][0] > _MOST_PAGES:
        return []
    chain = [len(places) - 1]
    while chain[-1]:
        chain.append(best[chain[-1]][2])
    return [places[i] for i in reversed(chain)]
