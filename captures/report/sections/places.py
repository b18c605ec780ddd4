"""Rates by pose and light."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Charts, PoseTable, PoseTables, Text
from captures.report.figures.charts import names_chart
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of
from captures.results.aggregation import Tally


class Places(ReportSection):
    """Rates by distance, yaw and light."""

    name: ClassVar[str] = "places"
    summary: ClassVar[str] = "rates by distance, yaw and light"
    heading: ClassVar[str] = "Where it worked"
    rank: ClassVar[int] = 30

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _maps(material.session.tally)


def mapped_measures(tally: Tally, model: str) -> list[str]:
    """List the measures of a model that have maps, where poses are known."""
    return measures_of(tally, model)[:2]


def _maps(tally: Tally) -> Iterator[Block]:
    maps, lights = [], []
    for model in tally.models:
        for measure in mapped_measures(tally, model):
            title = f"{model}: {SHORT[measure]}, with the patch"
            cells = tally.by_pose(model, measure)
            if cells:
                maps.append(PoseTable(title, tally.grid, cells, whole=tally.protocol is not None))
            lit = {c: tally.by_light(model, measure, c) for c in tally.conditions(model)}
            if any(lit.values()):
                lights.append(
                    names_chart(
                        f"{model}: {SHORT[measure]}, by the light", "light", {c: v for c, v in lit.items() if v}
                    )
                )
    if maps:
        yield PoseTables(
            maps,
            f"By distance and yaw: rate, 95 % interval, n {UNITS[tally.independent_kind]} and frames. Hatched cells have no "
            "frames.",
        )
    else:
        yield Text("There is no map, because the pose of no counted patch sheet is known.")
    if lights:
        yield Charts(lights, "With 95 % intervals.")
