"""How sure the rates are."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Heading, Table, Text
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, measures_of
from captures.results.aggregation import MARGIN, Tally


class Certainty(ReportSection):
    """How alike frames are, and what was not counted."""

    name: ClassVar[str] = "certainty"
    summary: ClassVar[str] = "how alike frames are, and what was not counted"
    heading: ClassVar[str] = "How sure"
    rank: ClassVar[int] = 20

    def blocks(self, material: Material) -> Iterator[Block]:
        yield from _certainty(material.session.tally)


def _certainty(tally: Tally) -> Iterator[Block]:
    unit = "take" if tally.unit_kind == "pose cell" else tally.unit_kind
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
        f"Frames of one {unit} are alike, so the {unit} is the unit of every interval. The intra-class "
        f"correlation (ICC) says "
        "how alike they are, the effective n how many independent frames would tell as much."
    )
    if rows:
        yield Table(
            [
                "model",
                "what happened",
                "ICC",
                "effective n",
                "by Student's t",
                "by bootstrap",
                f"needed for ± {100 * MARGIN:.0f} points",
            ],
            rows,
            caption=f"For the patch. The last column: {UNITS[tally.unit_kind]} such as these, at the rate that was found. "
            f"The rates above have Wilson's interval at n over the correlation, which covers best "
            f"(docs/results.md).",
        )
    excluded = [[model, why, str(frames)] for model in tally.models for why, frames in tally.exclusions(model).items()]
    if excluded:
        yield Heading("Not counted", 2)
        yield Table(["model", "why", "frames with the patch"], excluded)


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"
