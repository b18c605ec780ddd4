"""The rates on camera."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from calibration.common.success import MEASURES
from captures.report.blocks import Block, Charts, Heading, Table, Text
from captures.report.figures.charts import rates_chart
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of, rate_words
from captures.results.aggregation import CONTROL, Tally
from captures.results.alike import unlike_settings
from captures.results.recorded_session import RecordedSession
from physpatch.stats.intervals import Rate, percent


class Effect(ReportSection):
    """Rates by sheet, and the difference between the patch and each control."""

    name: ClassVar[str] = "effect"
    summary: ClassVar[str] = "rates by sheet, and the difference between the patch and each control"
    heading: ClassVar[str] = "What the camera saw"
    rank: ClassVar[int] = 10

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _effect(material.session)


def _effect(session: RecordedSession) -> Iterator[Block]:
    tally = session.tally
    if unlike := unlike_settings(session.rows):
        yield Text(
            f"Patch and controls were not filmed alike: {'; '.join(unlike)}, in the camera's units. A difference between them "
            "may come from the camera: lock it with --camera, and film again.",
            "lead",
        )
    summaries = tally.summaries()
    plotted: dict[str, Mapping[str, Rate]] = {}
    for model in tally.models:
        for measure in measures_of(tally, model):
            rates = {
                s.condition: s.rate(measure) for s in summaries if s.model == model and s.rate(measure).rate is not None
            }
            plotted[f"{model}\n{SHORT[measure]}"] = rates
    if plotted:
        yield Charts(
            [rates_chart("Rates by sheet", "model and outcome", plotted)],
            "With 95 % intervals: the patch and harmless sheets at the same poses.",
        )
    measured = [m for m in MEASURES if any(s.rate(m).rate is not None for s in summaries)]
    yield Table.by_model(
        [
            "model",
            "sheet",
            *(SHORT[m] for m in measured),
            "clips",
            "frames",
            "mean target score",
            "heat in patch",
            "px per cell",
            "sheet found",
        ],
        [
            [
                s.model,
                s.condition,
                *(rate_words(s.rate(m)) for m in measured),
                str(s.clips),
                str(s.frames),
                percent(s.mean_target_score),
                percent(s.heat_in_patch),
                "–" if s.px_per_cell is None else f"{s.px_per_cell:.1f}",
                percent(s.located),
            ]
            for s in summaries
        ],
        frozenset(i for i, s in enumerate(summaries) if s.condition == "patch"),
        f"Rates are means over {UNITS[tally.independent_kind]}; n is the number counted: {_condition_words(tally)} "
        f"Intervals are 95 %. {_design_words(tally)}",
    )
    comparisons = tally.comparisons()
    if comparisons:
        yield Heading("Patch minus control", 2)
        yield Table.by_model(
            ["model", "outcome", "control", "difference, points", "McNemar's p"],
            [
                [
                    c.model,
                    SHORT[c.measure],
                    c.control,
                    str(c.difference),
                    "–" if c.difference.p_value is None else f"{c.difference.p_value:.3g}",
                ]
                for c in comparisons
            ],
            caption=f"Paired by {tally.unit_kind}: the effect of a harmless sheet of the same size at the same poses is "
            f"subtracted. McNemar's p is the probability of so great a difference if both sheets did the same.",
        )


def _condition_words(tally: Tally) -> str:
    conditional = [model for model in tally.models if tally.recognised(model) is not None]
    if not conditional:
        return "all of them, because without a control it is unknown where the model would have been right."
    return (
        f"those in which the model is right with the {CONTROL} control, weighted by how often it is right, because a patch "
        "cannot fool a model that is already wrong."
    )


def _design_words(tally: Tally) -> str:
    """Word the scope of the intervals."""
    design = tally.design()
    fixed = " and ".join(filter(None, [", ".join(design.fixed[:-1]), design.fixed[-1]]))
    words = f"They are valid for this {fixed} only, because the session did not vary these."
    if tally.unit_kind == "pose cell":
        words += (
            f" Sheets were held up in {design.clips} clips over {design.poses} poses. The poses of one clip share its hand and "
            "its light, so intervals are over clips; a single clip gives no interval."
        )
    if tally.independent_kind == "scene":
        words += (
            f" {design.clips} clips were filmed in front of {design.scenes} scenes. Clips of one scene are not independent, so "
            "intervals are over scenes."
        )
    return words
