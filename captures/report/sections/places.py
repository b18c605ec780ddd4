"""Rates by pose, size and light."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from captures.report.blocks import Block, Picture, Text
from captures.report.figures import bins_plot, pose_plot
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of
from captures.results.aggregation import SIZE_EDGES, MapCell, Tally


class Places(ReportSection):
    """Rates by distance, yaw, size and light."""

    name: ClassVar[str] = "places"
    summary: ClassVar[str] = "rates by distance, yaw, size and light"
    heading: ClassVar[str] = "Where it worked"
    rank: ClassVar[int] = 30

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _maps(material.session.tally)


def _maps(tally: Tally) -> Iterator[Block]:
    drawn = False
    for model in tally.models:
        for measure in measures_of(tally, model)[:2]:
            title = f"{model}: {SHORT[measure]}, with the patch"
            cells = tally.by_pose(model, measure)
            if cells:
                drawn = True
                grid, cells = (tally.grid, cells) if tally.protocol else _trimmed(tally, cells)
                yield Picture(
                    pose_plot(grid, cells, title),
                    f"{title}, by distance and yaw: rate, interval, n {UNITS[tally.independent_kind]} and frames. "
                    f"Hatched cells have no frames.",
                )
            sizes = {
                c: {_size(k): v for k, v in tally.by_size(model, measure, c).items()} for c in tally.conditions(model)
            }
            if any(sizes.values()):
                yield Picture(
                    bins_plot({c: v for c, v in sizes.items() if v}, "pixels per cell", title),
                    f"{title}, by the size of a cell in the frame",
                )
            lights = {c: tally.by_light(model, measure, c) for c in tally.conditions(model)}
            if any(lights.values()):
                yield Picture(
                    bins_plot({c: v for c, v in lights.items() if v}, "light", title), f"{title}, by the light"
                )
    if not drawn:
        yield Text("There is no map, because the pose of no counted patch sheet is known.")


def _trimmed(tally: Tally, cells: dict[tuple[int, int], MapCell]):  # type: ignore[no-untyped-def]
    """The part of the default grid that has frames."""

    rows, columns = ([at[i] for at in cells] for i in (0, 1))
    grid = replace(
        tally.grid,
        distances_m=tally.grid.distances_m[min(rows) : max(rows) + 1],
        yaws_deg=tally.grid.yaws_deg[min(columns) : max(columns) + 1],
    )
    return grid, {(row - min(rows), column - min(columns)): cell for (row, column), cell in cells.items()}


def _size(edge: int) -> str:
    low, high = (0.0, *SIZE_EDGES)[edge], (*SIZE_EDGES, None)[edge]
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"
