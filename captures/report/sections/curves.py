"""Success along what varies between frames, and by the confidence that is demanded."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Charts, Heading, Table, Text
from captures.report.figures.charts import curve_chart, threshold_chart
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, rate_words
from captures.results.aggregation import CONTROL
from captures.results.curves import FACTORS, curve_measures, curves_by, curves_by_threshold, every_view
from captures.results.recorded_session import RecordedSession


class Curves(ReportSection):
    """Success by distance, angle, size, share of the view, and confidence."""

    name: ClassVar[str] = "curves"
    summary: ClassVar[str] = "success by distance, angle, size, share of the view, and confidence"
    heading: ClassVar[str] = "What it depends on"
    rank: ClassVar[int] = 33

    def blocks(self, material: Material) -> Iterator[Block]:
        session = material.session
        along = [*_along(session)]
        if along:
            yield _explained(session)
            yield from along
        thresholds = [
            threshold_chart(f"{model}: {SHORT[measure]}", curves)
            for model in session.tally.models
            for measure in curve_measures(session, model)
            if (curves := curves_by_threshold(session, model, measure))
        ]
        if thresholds:
            yield Heading("By confidence", 2)
            yield Charts(
                thresholds,
                "A program may act on confident answers only. A classifier's answer below the threshold counts neither as the "
                "target nor as wrong; a detector's box below it is not there, so objects are lost more easily. The views are "
                "those that are right with the grey control at any confidence.",
            )
        rows = [*_all_views(session)]
        if rows:
            yield Heading("All views", 2)
            yield Table(
                ["model", "outcome", "sheet", "views right with grey", "all views"],
                rows,
                frozenset(i for i, row in enumerate(rows) if row[2] == "patch"),
                "All views include those in which the answer is wrong even with a harmless grey patch, so compare them with "
                "the controls.",
            )


def _along(session: RecordedSession) -> Iterator[Block]:
    for model in session.tally.models:
        for measure in curve_measures(session, model):
            title = f"{model}: {SHORT[measure]}"
            charts = [
                curve_chart(f"{title}, by {factor.title}", factor, curves)
                for factor in FACTORS
                if (curves := curves_by(session, factor, model, measure))
            ]
            if charts:
                yield Charts(charts, f"Shares of the frames, with 95 % intervals over {_units(session)}.")


def _explained(session: RecordedSession) -> Block:
    views = (
        f"Lines are of the views that are right with the {CONTROL} control, dashed ones, of the patch and of "
        f"{CONTROL}, of all views; where there is no dashed one, both are alike."
        if any(session.tally.recognised(model) is not None for model in session.tally.models)
        else f"Lines are of all views, because it is unknown which are right with a {CONTROL} control."
    )
    return Text(
        f"{views} What varies together cannot be told apart here: a sheet that is farther away is smaller too. Values "
        "show under the cursor, and in the tables below.",
        "soft",
    )


def _all_views(session: RecordedSession) -> Iterator[list[str]]:
    tally = session.tally
    for model in tally.models:
        for measure in curve_measures(session, model):
            if tally.weights(model, measure) is None:
                continue
            for condition in tally.conditions(model):
                every = every_view(session, model, measure, condition)
                if every.rate is not None:
                    right = tally.rate(model, measure, condition)
                    yield [model, SHORT[measure], condition, rate_words(right), rate_words(every)]


def _units(session: RecordedSession) -> str:
    return UNITS[session.tally.independent_kind]
