"""The layout in millimetres."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import InputError
from calibration.sheet import PAGES_MM, SHEET_KINDS, Rect, layouts_from_json, layouts_to_json, marker_ids, plan_sheet

sizes = st.floats(10, 420)
grids = st.tuples(st.integers(1, 32), st.integers(1, 32))


@settings(deadline=None, max_examples=300)
@given(size=sizes, grid=grids, paper=st.sampled_from(sorted(PAGES_MM)))
def test_nothing_overlaps_and_nothing_leaves_the_page(size: float, grid: tuple[int, int], paper: str) -> None:
    try:
        layout = plan_sheet(size, grid, paper)
    except InputError:
        return
    page = Rect(0, 0, *layout.page_mm)
    parts = [layout.patch, *(m.rect for m in layout.markers), layout.ruler_x, layout.ruler_y]
    for part in [*parts, layout.cut]:
        assert part.x_mm >= 4.9 and part.y_mm >= 4.9
        assert part.x_mm + part.width_mm <= page.width_mm - 4.9 and part.y_mm + part.height_mm <= page.height_mm - 4.9
    assert not [pair for pair in combinations(parts, 2) if pair[0].overlaps(pair[1])]
    assert not layout.cut.overlaps(layout.ruler_x) and not layout.cut.overlaps(layout.ruler_y)
    assert max(layout.patch.width_mm, layout.patch.height_mm) == pytest.approx(size)
    assert layout.patch.height_mm / layout.patch.width_mm == pytest.approx(grid[0] / grid[1])


def test_a_layout_survives_its_json() -> None:
    layouts = tuple(plan_sheet(100, (10, 10)).as_kind(kind) for kind in SHEET_KINDS)
    assert layouts_from_json(layouts_to_json(layouts)) == layouts


def test_every_kind_has_marker_ids_of_its_own() -> None:
    ids = [i for kind in SHEET_KINDS for i in marker_ids(kind)]
    assert len(set(ids)) == 4 * len(SHEET_KINDS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plan_sheet(1000, (10, 10)), "does not fit on A4.*the largest there is 174 mm"),
        (lambda: plan_sheet(9, (10, 10)), "cells of 0.90 mm; print at least 10 mm"),
        (lambda: plan_sheet(100, (10, 10), "a44"), "unknown paper 'a44'; did you mean 'a4'"),
        (lambda: plan_sheet(100, (10, 10), kind="petch"), "unknown sheet kind 'petch'; did you mean 'patch'"),
        (lambda: layouts_from_json("{}"), "carries no physpatch layout"),
        (lambda: layouts_from_json("not json"), "carries no physpatch layout"),
        (lambda: layouts_from_json('{"physpatch_layout": 99, "pages": []}'), "version 99 is newer"),
    ],
)
def test_guards_say_what_is_wrong(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_the_size_that_the_error_names_fits() -> None:
    plan_sheet(174, (10, 10))
    with pytest.raises(InputError):
        plan_sheet(175, (10, 10))
