"""Lay out sheets: one page with the patch, markers, label and rulers, or a poster of several pages."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from calibration.common.errors import InputError
from calibration.sheet.layout import Marker, Rect, SheetLayout, marker_ids
from calibration.sheet.paper_sizes import MARGIN_MM, page_size_mm
from calibration.sheet.road_signs import Sign, together
from calibration.sheet.tiling import cut_into_tiles

_RULERS_MM = (100.0, 50.0)  # the second for paper that is too small for the first
BLEED_MM = 2.0
_LARGEST_BLEED_MM = 10.0
SMALLEST_CELL_MM = 1.0
_RULER_BAND_MM = 8.0
_HEADER_MM = 10.5  # two lines of words
_EDGE_MM = 5.0  # least white paper between print and cut line
_MARKER_MM = (8.0, 20.0)
_POSTER_MARKER_MM = (20.0, 200.0)
# Markers below 4 % cannot be resolved in a frame that the poster fills.
_POSTER_MARKER_SHARES = (0.12, 0.1, 0.08, 0.06, 0.05, 0.04)
_LARGEST_MM = 20_000.0
_CROP_REACH_MM = 4.0  # room for crop marks between the bleed of a cut-out and its markers


def plan_sheet(
    size_mm: float,
    grid: tuple[int, int],
    paper: str = "a4",
    *,
    cut: str = "sheet",
    bleed_mm: float | None = None,
    poster: bool = True,
) -> SheetLayout:
    """Lay out a patch whose longer side is ``size_mm``: on one page, portrait or landscape, or else as a poster.

    Args:
        size_mm: longer side of the patch.
        grid: rows and columns of the patch.
        paper: a name in ``calibration.sheet.paper_sizes.PAGES_MM`` or a size such as ``300x500mm``.
        cut: ``sheet`` to cut around the markers; ``square`` or ``circle`` to cut out the patch alone.
        bleed_mm: how far the colours of a cut-out extend over the cut; default ``BLEED_MM``.
        poster: whether several pages may be used.

    Returns:
        The layout of a sheet of kind ``patch`` without colours; ``SheetLayout.showing`` adds them.

    Raises:
        InputError: if cells are below 1 mm, the bleed is negative, too large or has no cut-out, or the patch is too large for
            the page or for 400 pages; or a length is no number.
    """
    rows, columns = grid
    for name, length in (("patch", size_mm), ("bleed", bleed_mm or 0.0)):
        if not 0 <= length < math.inf:
            raise InputError(f"a {name} of {length} mm cannot be printed; expected a length of 0 mm or more")
    cell_mm = size_mm / max(rows, columns)
    if cell_mm < SMALLEST_CELL_MM:
        raise InputError(
            f"a patch of {size_mm:g} mm with {rows}x{columns} cells has cells of {cell_mm:.2f} mm; print at least "
            f"{max(rows, columns) * SMALLEST_CELL_MM:g} mm, because printers blur smaller cells"
        )
    if size_mm > _LARGEST_MM:
        raise InputError(f"a patch of {size_mm / 1000:g} m is too large to print; expected at most 20 m")
    if bleed_mm is not None and cut == "sheet":
        raise InputError("--bleed needs --cut square or --cut circle; a sheet is cut through white paper")
    if bleed_mm is not None and bleed_mm > _LARGEST_BLEED_MM:
        raise InputError(f"a bleed of {bleed_mm:g} mm is too large; expected at most {_LARGEST_BLEED_MM:g} mm")
    bleed = 0.0 if cut == "sheet" else BLEED_MM if bleed_mm is None else bleed_mm
    width, height = page_size_mm(paper)
    pages = ((width, height), (height, width))
    for page_mm in pages:
        layout = _on_one_page(page_mm, cell_mm, grid, cut, bleed)
        if layout is not None:
            return layout
    posters = [layout for page_mm in pages for layout in _on_many_pages(page_mm, cell_mm, grid, cut, bleed) if poster]
    if posters:
        return min(posters, key=lambda layout: (layout.pages, -layout.markers[0].rect.width_mm))
    largest = largest_on_page_mm(grid, paper, cut, bleed)
    if not largest:
        raise InputError(
            f"{paper.upper()} is too small for any patch with its markers and rulers; choose a larger --paper"
        )
    raise InputError(
        f"{size_mm:g} mm does not fit on {paper.upper()} with markers and rulers; the largest size is {largest} mm"
        f"{', or a poster of at most 400 pages' if poster else ''}: choose a smaller --size or a larger --paper"
    )


def plan_on_sign(
    size_mm: float,
    grid: tuple[int, int],
    carrier: Sign,
    share: float,
    at: tuple[float, float] = (0.5, 0.5),
    paper: str = "a4",
) -> SheetLayout:
    """Lay out a sign with a patch on it or beside it on one page, with the markers around both.

    Args:
        size_mm: width of the sign.
        grid: rows and columns of the patch.
        carrier: the sign.
        share, at: see :func:`calibration.sheet.road_signs.together`.
        paper: as for :func:`plan_sheet`.

    Returns:
        The layout, as from :func:`plan_sheet`.

    Raises:
        InputError: if cells are below 1 mm, the patch extends over the edge of the sign, or the sign is too large for the
            page.
    """
    arrangement = together(carrier, grid, share, at)
    side_mm = size_mm * arrangement.side
    left, top, width, height = (length * side_mm for length in arrangement.patch)
    cell_mm = width / grid[1]
    if cell_mm < SMALLEST_CELL_MM:
        least = math.ceil(size_mm * SMALLEST_CELL_MM / cell_mm)
        raise InputError(
            f"cells of {cell_mm:.2f} mm are too small; print the sign at least {least} mm wide, because printers blur smaller "
            "cells"
        )
    try:
        around = plan_sheet(side_mm, (1, 1), paper, poster=False)
    except InputError as error:
        if arrangement.side == 1:
            raise
        largest = int(largest_on_page_mm((1, 1), paper) / arrangement.side)
        raise InputError(
            f"a {carrier.name} sign of {size_mm:g} mm and a patch beside it do not fit on {paper.upper()}; the largest size "
            f"is {largest} mm: choose a smaller --size or a larger --paper"
        ) from error
    x, y = around.patch.x_mm, around.patch.y_mm
    own = Rect(x + arrangement.sign[0] * side_mm, y + arrangement.sign[1] * side_mm, size_mm, size_mm)
    place = Rect(x + left, y + top, width, height)
    return replace(around, grid=grid, patch=place, carrier=carrier.name, carrier_rect=own)


def largest_on_page_mm(grid: tuple[int, int], paper: str, cut: str = "sheet", bleed_mm: float = 0.0) -> int:
    """Return the largest longer side, in whole mm, of a patch of ``grid`` on one page of ``paper``; 0 if none fits."""
    width, height = page_size_mm(paper)
    longest = max(grid)
    sizes = range(longest, int(max(width, height)) + 1)

    def too_large(size: int) -> bool:
        pages = ((width, height), (height, width))
        return not any(_on_one_page(page, size / longest, grid, cut, bleed_mm) for page in pages)

    fitting = bisect_left(sizes, True, key=too_large)
    return sizes[fitting - 1] if fitting else 0


def _on_one_page(
    page_mm: tuple[float, float], cell_mm: float, grid: tuple[int, int], cut: str, bleed: float
) -> SheetLayout | None:
    """Lay out a page with all parts centred above the bottom ruler and beside the left one; None if no marker size fits."""
    longest = cell_mm * max(grid)
    smallest, largest = _MARKER_MM
    for marker_mm in np.arange(min(largest, max(smallest, 0.2 * longest)), smallest - 1e-9, -0.5):
        framed = _framed(float(marker_mm), cell_mm, grid, cut, bleed)
        width, height = framed.page_mm
        top, bottom = MARGIN_MM + _HEADER_MM, page_mm[1] - MARGIN_MM - _RULER_BAND_MM - 1
        x, y = (page_mm[0] - width) / 2, (top + bottom - height) / 2
        layout = _with_rulers(framed.with_parts(partial(Rect.shifted, x_mm=x, y_mm=y)), page_mm)
        if _fits(layout, Rect(x, y, width, height)):
            return layout
    return None


def _on_many_pages(
    page_mm: tuple[float, float], cell_mm: float, grid: tuple[int, int], cut: str, bleed: float
) -> Iterator[SheetLayout]:
    if min(page_mm) < _RULERS_MM[-1] + 2 * (MARGIN_MM + _RULER_BAND_MM):
        return
    sizes = np.unique(np.clip(np.multiply(_POSTER_MARKER_SHARES, cell_mm * max(grid)), *_POSTER_MARKER_MM))
    fits = False
    for marker_mm in [*sizes, *_MARKER_MM[::-1]]:
        if fits and marker_mm not in sizes:
            return
        framed = _framed(float(marker_mm), cell_mm, grid, cut, bleed)
        tiles = cut_into_tiles(framed, page_mm)
        if tiles:
            fits = True
            yield replace(_with_rulers(framed, page_mm), page_mm=framed.page_mm, paper_mm=page_mm, tiles=tiles)


def _framed(marker_mm: float, cell_mm: float, grid: tuple[int, int], cut: str, bleed: float) -> SheetLayout:
    """Frame a patch with its white border, markers above and below its corners, and the label beside the lower left marker."""
    m = marker_mm
    quiet, gap = m / 6, m / 3  # one and two modules
    width, height = cell_mm * grid[1], cell_mm * grid[0]
    border = max(_EDGE_MM, gap) if cut == "sheet" else max(_EDGE_MM, gap, bleed + _CROP_REACH_MM + quiet)
    inner_width = max(width, 3 * m + 2 * gap)
    side, edge = max(_EDGE_MM, quiet, border), max(_EDGE_MM, quiet)
    outer = Rect(0.0, 0.0, inner_width + 2 * side, height + 2 * (border + m + edge))
    patch = Rect((outer.width_mm - width) / 2, edge + m + border, width, height)
    left, right, lower = side, side + inner_width - m, patch.bottom_mm + border
    places = ((left, edge), (right, edge), (right, lower), (left, lower))
    return SheetLayout(
        kind="patch",
        patch_id="",
        grid=grid,
        page_mm=(outer.width_mm, outer.height_mm),
        paper_mm=(outer.width_mm, outer.height_mm),
        patch=patch,
        white=patch.grown(border),
        markers=tuple(Marker(i, Rect(x, y, m, m)) for i, (x, y) in zip(marker_ids("patch"), places, strict=True)),
        label=Rect(left + m + gap, lower, m, m),
        cut=outer if cut == "sheet" else patch,
        cut_shape=cut,
        bleed_mm=bleed,
        ruler_x=outer,
        ruler_y=outer,
    )


def _with_rulers(layout: SheetLayout, page_mm: tuple[float, float]) -> SheetLayout:
    width, height = page_mm
    across, down = (
        next((length for length in _RULERS_MM if length <= side - 2 * (MARGIN_MM + _RULER_BAND_MM)), _RULERS_MM[-1])
        for side in page_mm
    )
    return replace(
        layout,
        page_mm=page_mm,
        paper_mm=page_mm,
        ruler_x=Rect((width - across) / 2, height - MARGIN_MM - _RULER_BAND_MM, across, _RULER_BAND_MM),
        ruler_y=Rect(MARGIN_MM, (height - down) / 2, _RULER_BAND_MM, down),
    )


def _fits(layout: SheetLayout, outer: Rect) -> bool:
    """Tell whether all parts are inside the printable area and clear of the rulers and the header."""
    width, height = layout.page_mm
    printable = Rect(0, 0, width, height).grown(-MARGIN_MM + 1e-6)
    header = Rect(MARGIN_MM, MARGIN_MM, width - 2 * MARGIN_MM, _HEADER_MM)
    apart = [outer, layout.ruler_x, layout.ruler_y, header]
    marks = [mark.grown(0.1) for mark in layout.crop_marks] if layout.cut_shape == "sheet" else []
    inside = all(
        part.x_mm >= printable.x_mm
        and part.y_mm >= printable.y_mm
        and part.right_mm <= printable.right_mm
        and part.bottom_mm <= printable.bottom_mm
        for part in [*apart, *marks]
    )
    clash = any(a.overlaps(b) for a, b in combinations(apart, 2)) or any(
        mark.overlaps(part) for mark in marks for part in apart[1:]
    )
    return inside and not clash
