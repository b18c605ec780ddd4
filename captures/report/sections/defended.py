"""Models behind a defence beside the same models alone."""

from collections.abc import Iterator
from typing import ClassVar

from captures.report.blocks import Block, Table
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, rate_words
from captures.results.aggregation import CONTROL
from captures.results.defended import DefenceChange, defence_changes
from physpatch.stats.rates import points


class Defended(ReportSection):
    """What each defence changed, paired."""

    name: ClassVar[str] = "defended"
    summary: ClassVar[str] = "each model behind a defence minus the model alone, on the same frames"
    heading: ClassVar[str] = "Behind the defence minus alone"
    rank: ClassVar[int] = 12
    level: ClassVar[int] = 2

    def blocks(self, material: Material) -> Iterator[Block]:
        changes = defence_changes(material.session)
        if changes:
            tally = material.session.tally
            yield Table(
                ["model", "defence", "sheet", "outcome", "alone", "behind the defence", "difference, points"],
                [_row(change) for change in changes],
                frozenset(i for i, change in enumerate(changes) if change.change.is_significant),
                f"Both judged the same frames, and are paired by {tally.unit_kind}; intervals are 95 %, over "
                f"{UNITS[tally.independent_kind]}. {_counted(changes)} Below zero, the defence helps. With the {CONTROL} "
                "control, wrong answers of all views: above zero is what the defence costs. Rows whose difference is "
                "significant are emphasised.",
            )


def _counted(changes: list[DefenceChange]) -> str:
    if all(change.conditional for change in changes if change.condition != CONTROL):
        return (
            f"With the patch, those views count that are right with the {CONTROL} control both alone and behind the defence, "
            "so rates may differ from those above."
        )
    return f"Where it is unknown which views are right with the {CONTROL} control, all count."


def _row(change: DefenceChange) -> list[str]:
    return [
        change.model,
        change.defence,
        change.condition,
        SHORT[change.measure],
        rate_words(change.alone),
        rate_words(change.behind),
        str(change.change) if change.change.ci95 else f"{points(change.change.difference or 0)} points, in one clip",
    ]
