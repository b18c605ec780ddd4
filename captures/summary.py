"""What a session's rows add up to, by model and condition."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from calibration.sheet import SHEET_KINDS
from captures.store import FrameRow
from physpatch.stats import Rate, clip_rate

_CONDITION_ORDER = (*SHEET_KINDS, "none")


@dataclass(frozen=True)
class ConditionSummary:
    """One model before one kind of sheet. Rates are over clips; ``frames`` and ``clips`` count what was captured.

    ``target`` is how often the target class came first, ``wrong`` how often another class than the true one did; both are
    counted on clips that are recognised with the grey control, where :func:`recognised_clips` can tell.
    """

    model: str
    condition: str
    frames: int
    clips: int
    located: float
    target: Rate
    wrong: Rate
    mean_target_score: float | None
    heat_in_patch: float | None
    px_per_cell: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def summarise(rows: Sequence[FrameRow], target: str | None) -> list[ConditionSummary]:
    """Summaries by model, then patch before its controls."""
    by_model: dict[str, list[FrameRow]] = defaultdict(list)
    for row in rows:
        by_model[row.model].append(row)
    return [summary for model_rows in by_model.values() for summary in _of_model(model_rows, target)]


def recognised_clips(rows: Sequence[FrameRow]) -> set[int] | None:
    """Clips that one model gets right in most frames with the grey control.

    None where that cannot be said: the true class is not known, the model is a detector, whose answer is no one class, or
    no clip shows both the control and something else, as with stills and with sheets shown one after the other.
    """
    known = [row for row in rows if row.condition == "grey" and _judged(row)]
    shared = {row.clip for row in known} & {row.clip for row in rows if row.condition != "grey"}
    if not shared:
        return None
    return {clip for clip, rate in _by_clip(known, lambda row: float(row.top1 == row.label)).items() if rate > 0.5}


def _judged(row: FrameRow) -> bool:
    """Whether right and wrong mean anything: a classifier before a known class."""
    return row.label is not None and row.boxes is None


def _of_model(rows: list[FrameRow], target: str | None) -> list[ConditionSummary]:
    fair = recognised_clips(rows)
    conditions = sorted({row.condition for row in rows}, key=_CONDITION_ORDER.index)
    return [_summary([row for row in rows if row.condition == c], fair, target) for c in conditions]


def _summary(rows: list[FrameRow], fair: set[int] | None, target: str | None) -> ConditionSummary:
    counted = [row for row in rows if fair is None or row.clip in fair]
    labelled = [row for row in counted if _judged(row)]
    aimed = [row for row in counted if row.target_score is not None and row.label != target]
    scores = [row.target_score for row in aimed if row.target_score is not None]
    heats = [row.heat_in_patch for row in counted if row.heat_in_patch is not None]
    sizes = [row.px_per_cell for row in rows if row.px_per_cell is not None]
    return ConditionSummary(
        model=rows[0].model,
        condition=rows[0].condition,
        frames=len(rows),
        clips=len({row.clip for row in rows}),
        located=len(sizes) / len(rows),
        target=clip_rate(list(_by_clip(aimed, lambda row: float(row.success == 1)).values())),
        wrong=clip_rate(list(_by_clip(labelled, lambda row: float(row.top1 != row.label)).values())),
        mean_target_score=fmean(scores) if scores else None,
        heat_in_patch=fmean(heats) if heats else None,
        px_per_cell=median(sizes) if sizes else None,
    )


def _by_clip(rows: Iterable[FrameRow], value: Callable[[FrameRow], float]) -> dict[int, float]:
    values: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        values[row.clip].append(value(row))
    return {clip: fmean(v) for clip, v in values.items()}
