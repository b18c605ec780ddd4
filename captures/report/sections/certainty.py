"""The uncertainty of the rates."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Heading, Table, Text
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of
from captures.results.aggregation import MARGIN, Tally


class Certainty(ReportSection):
    """The correlation of frames, and the frames that are not counted."""

    name: ClassVar[str] = "certainty"
    summary: ClassVar[str] = "the correlation of frames, and the frames that are not counted"
    heading: ClassVar[str] = "Uncertainty"
    rank: ClassVar[int] = 20

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _certainty(material.session.tally)


def _certainty(tally: Tally) -> Iterator[Block]:
    unit = tally.independent_kind
    rows = []
    for model in tally.models:
        for measure in measures_of(tally, model):
            spread = tally.spread(model, measure, "patch")
            if spread is None:
                continue
            rows.append(
                [
                    model,
                    SHORT[measure],
                    "–" if spread.icc is None else f"{spread.icc:.2f}",
                    f"{spread.effective_n:.0f}",
                    _interval(spread.t_ci95),
                    _interval(spread.bootstrap_ci95),
                    str(spread.needed),
                ]
            )
    yield Text(
        f"Frames of one {unit} are similar, so intervals treat the {unit} as the unit. The intra-class correlation (ICC) "
        "measures this similarity; the effective n is the number of independent frames with the same information."
    )
    if rows:
        yield Table.by_model(
            [
                "model",
                "outcome",
                "ICC",
                "effective n",
                "by Student's t",
                "by bootstrap",
                f"{UNITS[unit]} for ± {100 * MARGIN:.0f} points, at this rate",
            ],
            rows,
            caption=f"For the patch. The last column gives the required number of similar {UNITS[unit]} if the observed rate "
            f"is the true one; the number at the top allows for a rate in the middle of its interval, which needs more. "
            f"The rates above have Wilson's interval with n corrected for the correlation, which has the best "
            f"coverage (docs/results.md). Student's t and the bootstrap give none (–) where all {UNITS[unit]} agree.",
        )
    excluded = [
        [model, reason, str(frames)] for model in tally.models for reason, frames in tally.exclusions(model).items()
    ]
    if excluded:
        yield Heading("Not counted", 2)
        yield Table.by_model(["model", "reason", "frames with the patch"], excluded)


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None or ends[0] == ends[1] else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"
