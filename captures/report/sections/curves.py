"""Success along what varies between frames, and by the confidence that is demanded."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from captures.report.blocks import Block, Charts, Heading, Table, Text
from captures.report.figures.charts import curve_chart, threshold_chart
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, precision_words, rate_words
from captures.results.aggregation import CONTROL
from captures.results.curves import FACTORS, THRESHOLD, Curve, curve_measures, curves_of, every_view
from captures.results.object_precision import object_precision
from captures.results.recorded_session import RecordedSession
from physpatch.stats.rates import bounds_words


class Curves(ReportSection):
    """Success by distance, angle, size, share of the view, and confidence."""

    name: ClassVar[str] = "curves"
    summary: ClassVar[str] = "success by distance, angle, size, share of the view, and confidence"
    heading: ClassVar[str] = "What it depends on"
    rank: ClassVar[int] = 33

    def blocks(self, material: Material) -> Iterator[Block]:
        session = material.session
        curves = {
            (model, measure): curves_of(session, model, measure)
            for model in session.tally.models
            for measure in curve_measures(session, model)
        }
        along = [*_along(session, curves)]
        if along:
            yield _explained(session)
            yield from along
        thresholds = [
            threshold_chart(f"{model}: {SHORT[measure]}", by_factor[THRESHOLD])
            for (model, measure), by_factor in curves.items()
            if THRESHOLD in by_factor
        ]
        if thresholds:
            yield Heading("By confidence", 2)
            yield Charts(
                thresholds,
                "A program may act on confident answers only. A classifier's answer below the threshold counts neither as the "
                "target nor as wrong; a detector's box below it is not there, so objects are lost more easily. The views are "
                "those that are right with the grey control at any confidence.",
            )
        yield from _precision(session)
        rows = [*_all_views(session)]
        if rows:
            yield Heading("All views", 2)
            yield Table.by_model(
                ["model", "outcome", "sheet", "views right with grey", "all views"],
                rows,
                frozenset(i for i, row in enumerate(rows) if row[2] == "patch"),
                "All views include those in which the answer is wrong even with a harmless grey patch, so compare them with "
                "the controls.",
            )


def _along(session: RecordedSession, curves: Mapping[tuple[str, str], Mapping[str, list[Curve]]]) -> Iterator[Block]:
    unit = UNITS[session.tally.independent_kind]
    for (model, measure), by_factor in curves.items():
        charts = [
            curve_chart(f"{model}: {SHORT[measure]}, by {factor.title}", factor, by_factor[factor.name])
            for factor in FACTORS
            if factor.name in by_factor
        ]
        if charts:
            yield Charts(
                charts,
                f"Shares of the frames, with 95 % intervals over {unit}. What a single clip shows is left out where there are "
                "several.",
            )


def _precision(session: RecordedSession) -> Iterator[Block]:
    entries = [entry for model in session.tally.models for entry in object_precision(session, model)]
    if entries:
        least = " and ".join(
            f"{session.threshold(model):g}" for model in dict.fromkeys(entry.model for entry in entries)
        )
        yield Heading("Average precision by the object's distance from the patch", 2)
        yield Table.by_model(
            ["model", "distance, sides of the patch", "sheet", "AP50", "frames"],
            [
                [
                    entry.model,
                    bounds_words(entry.low, entry.high),
                    entry.condition,
                    precision_words(entry.precision.ap, entry.precision.ci95),
                    str(entry.frames),
                ]
                for entry in entries
            ],
            frozenset(i for i, entry in enumerate(entries) if entry.condition == "patch"),
            f"COCO's average precision at an IoU of 0.5, of boxes from a confidence of {least} on, with 95 % "
            "intervals by the bootstrap over clips. Distances are from edge to edge; 0 is an object that touches or carries "
            "the patch. AP falls with false boxes, too, so read it beside success.",
        )


def _explained(session: RecordedSession) -> Block:
    views = (
        f"Solid lines show the views in which the model is right with the {CONTROL} control. Dashed lines, for the patch and "
        f"{CONTROL}, show all views; where there is none, both are alike."
        if any(session.tally.recognised(model) is not None for model in session.tally.models)
        else f"The lines show all views, because it is unknown which are right with a {CONTROL} control."
    )
    return Text(
        f"{views} What varies together cannot be told apart here: a sheet that is farther away is smaller too. On "
        "the page, values show under the cursor and in the tables below.",
        "soft",
    )


def _all_views(session: RecordedSession) -> Iterator[list[str]]:
    tally = session.tally
    for model in tally.models:
        for measure in curve_measures(session, model):
            if tally.weights(model, measure) is None:
                continue
            for condition, every in every_view(session, model, measure).items():
                right = tally.rate(model, measure, condition)
                yield [model, SHORT[measure], condition, rate_words(right), rate_words(every)]
