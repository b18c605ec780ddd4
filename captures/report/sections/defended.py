"""Models behind a defence beside the same models alone, on the same frames of a session."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from captures.report.blocks import Block, Table
from captures.report.sections.base import Material, ReportSection
from captures.report.wording import SHORT, UNITS, rate_words
from captures.results.aggregation import CONTROL, Tally, Unit
from captures.results.recorded_session import RecordedSession
from captures.results.success import frame_success
from captures.storage import FrameRow
from physpatch.stats.clustered import Observation, averaged
from physpatch.stats.intervals import Difference, Rate
from physpatch.stats.rates import points


@dataclass(frozen=True)
class DefenceChange:
    """What a defence changed about one outcome.

    Attributes:
        model: the model alone, as in the rows.
        defence: in front of it.
        condition: the sheet that was shown.
        measure: ``target`` or ``wrong``.
        conditional: whether only views count that are right with the grey control both alone and behind the defence.
        alone, behind: the rates, of the same views.
        change: behind minus alone, paired.
    """

    model: str
    defence: str
    condition: str
    measure: str
    conditional: bool
    alone: Rate
    behind: Rate
    change: Difference


def defence_changes(session: RecordedSession) -> list[DefenceChange]:
    """Compare each defended model with the same model alone, where both saw the frames.

    With the patch, success counts in views that are right with grey both alone and behind the defence, as ``evaluate`` counts
    it; the weight of a unit is the smaller of both weights. With grey, wrong answers of all views are what a defence costs.
    """
    models = set(session.tally.models)
    return [
        change
        for noted in session.record.models
        if noted.defence and {noted.alone, noted.name} <= models
        for change in _changes(session, noted.alone, noted.name, noted.defence)
    ]


def _changes(session: RecordedSession, alone: str, behind: str, defence: str) -> Iterator[DefenceChange]:
    tally = session.tally
    for condition, measures in (("patch", ("target", "wrong")), (CONTROL, ("wrong",))):
        for measure in measures:
            weights = _common_weights(tally, alone, behind, measure) if condition != CONTROL else None
            of_behind, of_alone = (_observed(session, model, measure, condition, weights) for model in (behind, alone))
            common = {(o.clip, o.cell) for o in of_behind} & {(o.clip, o.cell) for o in of_alone}
            of_behind, of_alone = ([o for o in side if (o.clip, o.cell) in common] for side in (of_behind, of_alone))
            change = tally.difference_over(of_behind, of_alone, same_frames=True)
            if change.n:
                before, after = tally.rate_over(of_alone), tally.rate_over(of_behind)
                yield DefenceChange(alone, defence, condition, measure, weights is not None, before, after, change)


def _common_weights(tally: Tally, alone: str, behind: str, measure: str) -> dict[Unit, float] | None:
    """Return the smaller of both weights of each unit: both judged the same grey frames, and mostly alike."""
    first, second = (tally.weights(model, measure) for model in (alone, behind))
    if first is None or second is None:
        return None
    return {unit: min(weight, second[unit]) for unit, weight in first.items() if unit in second}


def _observed(
    session: RecordedSession, model: str, measure: str, condition: str, weights: Mapping[Unit, float] | None
) -> list[Observation]:
    observed = averaged(
        (*place, happened)
        for row in session.rows
        if row.model == model and row.condition == condition and (place := _place(session.tally, row)) is not None
        if (happened := frame_success(row, session.target).get(measure)) is not None
    )
    if weights is None:
        return observed
    return [replace(o, weight=weights[o.cell]) for o in observed if weights.get(o.cell, 0.0) > 0]


def _place(tally: Tally, row: FrameRow) -> tuple[Hashable, Unit] | None:
    unit = tally.unit(row)
    return None if unit is None else (tally.clip(row), unit)


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
            yield Table.by_model(
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
