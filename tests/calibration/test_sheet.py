"""Layouts in millimetres: pages, posters, cut-outs, papers."""

import json
from itertools import combinations, pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.common.errors import InputError
from calibration.sheet.charuco_target import BOARD_GRID, charuco_board
from calibration.sheet.layout import (
    CALIBRATION_KINDS,
    CUTS,
    SHEET_KINDS,
    Rect,
    SheetLayout,
    layouts_from_json,
    layouts_to_json,
    marker_dictionary,
    marker_ids,
)
from calibration.sheet.paper_sizes import MARGIN_MM, PAGES_MM, page_size_mm, parse_extent_mm
from calibration.sheet.planning import SMALLEST_CELL_MM, largest_on_page_mm, plan_sheet
from calibration.sheet.tiling import LEAST_PART_MM, MARK_BAND_MM, OVERLAP_MM

sizes = st.floats(10, 3000)
grids = st.tuples(st.integers(1, 32), st.integers(1, 32))
papers = st.one_of(
    st.sampled_from(sorted(PAGES_MM)), st.builds("{:.0f}x{:.0f}mm".format, st.floats(90, 900), st.floats(90, 900))
)


def within(part: Rect, whole: Rect) -> bool:
    slack = 1e-6
    return (
        part.x_mm >= whole.x_mm - slack
        and part.y_mm >= whole.y_mm - slack
        and part.right_mm <= whole.right_mm + slack
        and part.bottom_mm <= whole.bottom_mm + slack
    )


def planned(size: float, grid: tuple[int, int], paper: str, cut: str) -> SheetLayout | None:
    try:
        return plan_sheet(size, grid, paper, cut=cut)
    except InputError:
        return None


@settings(deadline=None, max_examples=300)
@given(size=sizes, grid=grids, paper=papers, cut=st.sampled_from(CUTS))
def test_nothing_overlaps_and_nothing_leaves_the_printable_area(
    size: float, grid: tuple[int, int], paper: str, cut: str
) -> None:
    layout = planned(size, grid, paper, cut)
    if layout is None:
        return
    assert max(layout.patch.width_mm, layout.patch.height_mm) == pytest.approx(size)
    assert layout.patch.height_mm / layout.patch.width_mm == pytest.approx(grid[0] / grid[1])
    assert layout.cell_mm >= SMALLEST_CELL_MM - 1e-9
    printable = Rect(0, 0, *layout.paper_mm).grown(-MARGIN_MM)
    assert within(layout.ruler_x, printable) and within(layout.ruler_y, printable)
    assert not layout.ruler_x.overlaps(layout.ruler_y)
    quiet = [m.rect.grown(m.rect.width_mm / 6 - 1e-6) for m in layout.markers]  # one module of white
    assert not layout.white.grown(-1e-6).overlaps(layout.label)
    assert not [m for m in layout.markers if layout.white.grown(-1e-6).overlaps(m.rect)]
    assert not [
        pair for pair in combinations([layout.patch.grown(layout.bleed_mm), *quiet], 2) if pair[0].overlaps(pair[1])
    ]
    assert not [m for m in layout.markers if m.rect.overlaps(layout.label)]
    whole = Rect(0, 0, *layout.page_mm) if layout.tiles else printable
    for part in [layout.patch.grown(layout.bleed_mm), layout.label, *(m.rect for m in layout.markers), layout.cut]:
        assert within(part, whole)
    if not layout.tiles:
        for part in [layout.patch, layout.label, *quiet]:
            assert not part.overlaps(layout.ruler_x) and not part.overlaps(layout.ruler_y)
        for mark in layout.crop_marks:
            assert within(mark, printable)


@settings(deadline=None, max_examples=200)
@given(size=st.floats(150, 4000), grid=grids, paper=papers, cut=st.sampled_from(CUTS))
def test_the_tiles_of_a_poster_make_it_up(size: float, grid: tuple[int, int], paper: str, cut: str) -> None:
    layout = planned(size, grid, paper, cut)
    if layout is None or not layout.tiles:
        return
    assert sum(t.part.width_mm * t.part.height_mm for t in layout.tiles) == pytest.approx(np.prod(layout.page_mm))
    assert not [pair for pair in combinations(layout.tiles[:60], 2) if pair[0].part.grown(-1e-6).overlaps(pair[1].part)]
    printable = Rect(0, 0, *layout.paper_mm).grown(-MARGIN_MM)
    names = [tile.name for tile in layout.tiles]
    assert len(set(names)) == len(names)
    for tile in layout.tiles:
        assert within(
            tile.printed.shifted(tile.at_mm[0] - tile.printed.x_mm, tile.at_mm[1] - tile.printed.y_mm), printable
        )
        for end, total, printed_end in (
            (tile.part.right_mm, layout.page_mm[0], tile.printed.right_mm),
            (tile.part.bottom_mm, layout.page_mm[1], tile.printed.bottom_mm),
        ):
            assert printed_end - end == pytest.approx(0 if end == pytest.approx(total) else OVERLAP_MM)
    for axis in (0, 1):
        seams = sorted({round((t.part.x_mm, t.part.y_mm)[axis], 6) for t in layout.tiles})[1:]
        start, cell = (layout.patch.x_mm, layout.patch.y_mm)[axis], layout.cell_mm
        for seam in seams:
            for marker in layout.markers:
                low = (marker.rect.x_mm, marker.rect.y_mm)[axis]
                assert not low + 1e-6 < seam < low + marker.rect.width_mm - 1e-6
            room = layout.paper_mm[axis] - 2 * MARGIN_MM - 2 * MARK_BAND_MM - OVERLAP_MM
            if cell < 2 * LEAST_PART_MM and cell <= room:  # larger cells are cut where that saves pages
                assert (seam - start) / cell == pytest.approx(round((seam - start) / cell), abs=1e-5)
        assert all(b > a for a, b in pairwise(seams))


def test_a_metre_on_a4_is_fifty_pages_and_a_map() -> None:
    layout = plan_sheet(1000, (10, 10), "a4")
    assert (layout.pages, layout.tiles[0].name, layout.tiles[-1].name) == (36, "A1", "E7")
    width = max(tile.printed.width_mm for tile in layout.tiles)
    assert width > 0.75 * 210  # of the page, though a cell is 100 mm wide
    assert layout.markers[0].rect.width_mm >= 40  # large enough where the poster fills a frame


def test_a_layout_survives_its_json() -> None:
    cells = np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(10, 10, 3)
    layouts = tuple(
        plan_sheet(size, (10, 10)).showing(kind, "0" * 12, cells) for kind in SHEET_KINDS for size in (100, 400)
    )
    assert layouts_from_json(layouts_to_json(layouts)) == layouts
    np.testing.assert_array_equal(layouts[0].cells, cells)


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page["patch"].update(width_mm=[20.0]),
        lambda page: page["patch"].update(width_mm=0),
        lambda page: page["label"].update(width_mm=0),
        lambda page: page["ruler_x"].update(width_mm=0),
        lambda page: page["markers"][1]["rect"].update(height_mm=0),
        lambda page: page["cut"].update(x_mm=float("nan")),
        lambda page: page.update(page_mm=[210.0, 1e300]),
        lambda page: page.update(grid=[0, 10]),
        lambda page: page.update(grid=[10, 10.5]),
        lambda page: page.update(patch_id=None),
        lambda page: page.update(cells_hex="00"),
        lambda page: page.update(bleed_mm="2"),
        lambda page: page.update(markers=page["markers"][:3]),
        lambda page: page["markers"][0].update(id=10**30),
        lambda page: page.update(scale=[1.0, True]),
    ],
)
def test_a_layout_that_cannot_be_is_refused(change) -> None:
    layout = plan_sheet(100, (10, 10)).showing("patch", "0" * 12, np.zeros((10, 10, 3), np.uint8))
    value = json.loads(layouts_to_json((layout,)))
    change(value["pages"][0])
    with pytest.raises(InputError, match="contains no physpatch layout"):
        layouts_from_json(json.dumps(value))


def test_more_cells_than_a_pdf_should_carry_are_left_out() -> None:
    layout = plan_sheet(160, (80, 80)).showing("patch", "0" * 12, np.zeros((80, 80, 3), np.uint8))
    assert layout.cells is None


def test_every_kind_has_marker_ids_of_its_own() -> None:
    ids = [i for kind in SHEET_KINDS + CALIBRATION_KINDS for i in marker_ids(kind)]
    board_ids = charuco_board(plan_sheet(160, BOARD_GRID)).getIds().ravel().tolist()
    assert len({*ids, *board_ids}) == 4 * len(SHEET_KINDS + CALIBRATION_KINDS) + len(board_ids)
    assert max(*ids, *board_ids) < len(marker_dictionary().bytesList)


def test_markers_of_sheets_that_are_printed_already_keep_their_ids() -> None:
    first_ids = {kind: marker_ids(kind)[0] for kind in SHEET_KINDS + CALIBRATION_KINDS}
    assert first_ids == {"patch": 0, "grey": 4, "random": 8, "shuffled": 12, "chart": 16, "board": 20, "drawing": 50}
    assert charuco_board(plan_sheet(160, BOARD_GRID)).getIds().min() == 24
    small = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    assert (marker_dictionary().bytesList[:50] == small.bytesList).all()


def test_a_printer_that_shrinks_makes_everything_smaller() -> None:
    layout = plan_sheet(100, (10, 10)).printed((0.992, 0.98))
    assert layout.patch.width_mm == pytest.approx(99.2) and layout.patch.height_mm == pytest.approx(98)
    assert layout.markers[2].rect.x_mm == pytest.approx(plan_sheet(100, (10, 10)).markers[2].rect.x_mm * 0.992)
    assert layout.scale == pytest.approx((0.992, 0.98))


@pytest.mark.parametrize(
    ("text", "size"),
    [("300x500mm", (300, 500)), ("30 x 50 cm", (300, 500)), ("8x10in", (203.2, 254)), ("8inx25.4cm", (203.2, 254))],
)
def test_custom_papers(text: str, size: tuple[float, float]) -> None:
    assert page_size_mm(text) == pytest.approx(size)


def test_one_extent_for_each_axis() -> None:
    assert parse_extent_mm("99.2x99.4mm") == pytest.approx((99.2, 99.4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plan_sheet(1000, (10, 10), poster=False), "does not fit on A4.*the largest size is 174 mm"),
        (lambda: plan_sheet(8000, (10, 10), "a6"), "the largest size is 69 mm, or a poster of at most 400 pages"),
        (lambda: plan_sheet(30_000, (10, 10)), "30 m is too large to print"),
        (lambda: plan_sheet(9, (10, 10)), "cells of 0.90 mm; print at least 10 mm"),
        (lambda: plan_sheet(100, (10, 10), "a44"), "unknown paper 'a44'; did you mean 'a4'"),
        (lambda: plan_sheet(100, (10, 10), "60x60mm"), "60X60MM is too small for any patch"),
        (lambda: plan_sheet(100, (10, 10), "60x60"), "'60x60' not understood; expected WIDTHxHEIGHT with a unit"),
        (lambda: page_size_mm("9x9m"), "larger than a PDF page can be"),
        (lambda: plan_sheet(100, (10, 10), cut="star"), "unknown cut 'star'"),
        (lambda: plan_sheet(100, (10, 10), bleed_mm=2), "--bleed needs --cut square"),
        (lambda: plan_sheet(100, (10, 10), cut="circle", bleed_mm=50), "a bleed of 50 mm is too large"),
        (lambda: marker_ids("petch"), "unknown sheet kind 'petch'; did you mean 'patch'"),
        (lambda: layouts_from_json("{}"), "contains no physpatch layout"),
        (lambda: layouts_from_json('{"physpatch_layout": 2, "pages": []}'), "shows a sign alone, which has no markers"),
        (lambda: layouts_from_json("not json"), "contains no physpatch layout"),
        (lambda: layouts_from_json('{"physpatch_layout": 99, "pages": []}'), "layout version 99.*update physpatch"),
        (lambda: layouts_from_json('{"physpatch_layout": 1, "pages": []}'), "layout version 1.*print it again"),
    ],
)
def test_guards_say_what_is_wrong(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("paper", ["a4", "letter", "a3"])
def test_the_largest_size_that_an_error_names_fits(paper: str) -> None:
    largest = largest_on_page_mm((10, 10), paper)
    plan_sheet(largest, (10, 10), paper, poster=False)
    with pytest.raises(InputError):
        plan_sheet(largest + 1, (10, 10), paper, poster=False)
