"""The losses between the digital and the physical patch."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from calibration.common.success import MEASURES
from captures.gap.decomposition import Gap
from captures.report.blocks import Block, Heading, Picture, Table, Text
from captures.report.figures.plots import gap_plot, prediction_plot, strip_plot
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
            yield Text(
                f"This excludes {gap.left_out} of the session's {CELLS.get(gap.unit, gap.unit)} with the patch: no kept frame "
                f"shows the {gap.background} sheet there large, sharp and clear enough to measure."
            )
        yield Picture(
            gap_plot(gap),
            "The rate at each step, and the change between steps in points. The largest significant loss is drawn thick.",
        )
        rows = [
            [step.shown, rate_words(step.rate), "–" if step.loss is None else str(-step.loss)] for step in gap.steps
        ]
        named = {i for i, step in enumerate(gap.steps) if step.name in (gap.cause, gap.second)}
        if gap.digital is not None:
            rows.insert(0, ["on held-out photographs, after training", rate_words(gap.digital), "–"])
        yield Table(
            ["step", MEASURES[gap.measure], "change since the previous step"],
            rows,
            frozenset(i + (gap.digital is not None) for i in named),
            f"In {gap.views} frames with the {gap.background} sheet, the digital patch is drawn in place of the sheet, "
            f"{gap.draws} times each. Properties that are not yet measured at a step are sampled as in training. n counts "
            f"{UNITS[gap.counted]}; changes are paired by {gap.unit}. Colours are from {gap.colours}.",
        )
        if gap.example:
            yield Picture(strip_plot(gap.example), "One frame at each step, as the network sees it")
        if gap.prediction is not None:
            yield Picture(prediction_plot(gap.predicted, gap.captured, gap.unit), "Accuracy of the replay's prediction")
            p = gap.prediction
            slope = "unknown, because all predictions are equal" if p.slope is None else f"{p.slope:.2f}"
            between = f" ({p.slope_ci95[0]:.2f} to {p.slope_ci95[1]:.2f})" if p.slope_ci95 else ""
            yield Text(
                f"Brier score of the prediction (0 is perfect): {p.brier:.3f}; of always predicting the mean: "
                f"{p.constant:.3f}. "
                f"Slope of captured on predicted rates: {slope}{between}; n = {p.n}.",
                "soft",
            )
