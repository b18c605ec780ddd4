"""The losses between the digital and the physical patch."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from calibration.common.success import MEASURES
from captures.gap.decomposition import MOST_VIEWS, Gap
from captures.report.blocks import Block, Charts, Heading, Picture, Table, Text
from captures.report.figures.charts import steps_chart
from captures.report.figures.plots import prediction_plot, strip_plot
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import CELLS, SHORT, UNITS, rate_words


class DigitalToPhysical(ReportSection):
    """The losses between the digital patch and the camera, step by step."""

    name: ClassVar[str] = "gap"
    summary: ClassVar[str] = "the losses between the digital patch and the camera, step by step"
    heading: ClassVar[str] = "From digital to physical"
    rank: ClassVar[int] = 40

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _way(material.gaps, material.troubles)


def _way(gaps: Sequence[Gap], troubles: Sequence[str]) -> Iterator[Block]:
    if not gaps and not troubles:
        yield Text("This session was not replayed (physpatch report --replay).")
    for trouble in troubles:
        yield Text(f"Not replayed: {trouble}.")
    for gap in gaps:
        yield Heading(f"{gap.model}: {SHORT[gap.measure]}", 2)
        yield Text(gap.sentence, "lead")
        if gap.left_out:
            beyond = f", or the {gap.views} views that are replayed are of others" if gap.views == MOST_VIEWS else ""
            yield Text(
                f"This excludes {gap.left_out} of the session's {CELLS.get(gap.unit, gap.unit)} with the patch: no kept frame "
                f"shows the {gap.background} sheet there large, sharp and clear enough to measure{beyond}."
            )
        rates = [(step.shown, step.rate) for step in gap.steps]
        changes = ["–" if step.loss is None else str(-step.loss) for step in gap.steps]
        lossy = {step.shown for step in gap.steps if step.name in (gap.cause, gap.second)}
        if gap.digital is not None:
            rates.insert(0, ("on held-out photographs, after training", gap.digital))
            changes.insert(0, "–")
        yield Charts(
            [steps_chart(f"{gap.model}: {SHORT[gap.measure]}, step by step", rates, lossy)],
            "The rate at each step from training to the camera, with 95 % intervals.",
        )
        rows = [[words, rate_words(rate), change] for (words, rate), change in zip(rates, changes, strict=True)]
        yield Table(
            ["step", MEASURES[gap.measure], "change since the previous step"],
            rows,
            frozenset(i for i, (words, _) in enumerate(rates) if words in lossy),
            f"In {gap.views} frames with the {gap.background} sheet, the digital patch is drawn in place of the sheet, "
            f"{gap.draws} times each. Properties that are not yet measured at a step are sampled as in training. n counts "
            f"{UNITS[gap.counted]}; changes are paired by {gap.unit}. Colours are from {gap.colours}.",
        )
        if gap.example:
            yield Picture(strip_plot(gap.example), "One frame at each step, as the network sees it")
        if gap.prediction is not None:
            p = gap.prediction
            yield Picture(
                prediction_plot(gap.predicted, gap.captured, gap.unit),
                f"Shares predicted by the replay and captured, of {len(gap.predicted)} {CELLS.get(gap.unit, gap.unit)}; Brier "
                f"score {p.brier:.3f}",
            )
            slope = "unknown, because all predictions are equal" if p.slope is None else f"{p.slope:.2f}"
            between = f" ({p.slope_ci95[0]:.2f} to {p.slope_ci95[1]:.2f})" if p.slope_ci95 else ""
            yield Text(
                f"Brier score of the prediction (0 is perfect): {p.brier:.3f}; of always predicting the mean: "
                f"{p.constant:.3f}. "
                f"Slope of captured on predicted rates: {slope}{between}; n = {p.n}.",
                "soft",
            )
