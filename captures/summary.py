"""What a session's rows add up to, by model and condition."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from calibration.sheet import SHEET_KINDS
from captures.store import FrameRow
from physpatch.stats import Rate, clip_rate

_CONDITION_ORDER = (*SHEET_KINDS, "none")


@dataclass(frozen=True)
class ConditionSummary:
    """One model before one kind of sheet. Rates are over clips; ``frames`` and ``clips`` count what was captured.

    ``target`` is how often the target class came first, ``wrong`` how often another class than the true one did; both are
    counted on clips that are recognised with the grey control, where :meth:`Tally.recognised` can tell.
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


@dataclass
class _Mean:
    total: float = 0.0
    n: int = 0

    def add(self, value: float) -> None:
        self.total, self.n = self.total + value, self.n + 1

    @property
    def value(self) -> float | None:
        return self.total / self.n if self.n else None


class _Clip:
    """One model before one kind of sheet in one clip."""

    def __init__(self) -> None:
        self.frames = self.located = 0
        self.hits, self.wrong, self.score, self.heat, self.cell_px = _Mean(), _Mean(), _Mean(), _Mean(), _Mean()

    def add(self, row: FrameRow, target: str | None) -> None:
        self.frames += 1
        if row.target_score is not None and row.label != target:
            self.hits.add(row.success == 1)
            self.score.add(row.target_score)
        if row.label is not None and row.boxes is None:  # right and wrong mean something: a classifier, a known class
            self.wrong.add(row.top1 != row.label)
        if row.heat_in_patch is not None:
            self.heat.add(row.heat_in_patch)
        if row.px_per_cell is not None:
            self.located += 1
            self.cell_px.add(row.px_per_cell)


class Tally:
    """Rows counted as they come; it grows with clips, not with frames.

    In a session with a protocol, frames outside of its steps are not counted: they show a sheet on its way.
    """

    def __init__(self, target: str | None, *, steps_only: bool = False) -> None:
        self._target, self._steps_only = target, steps_only
        self._clips: dict[str, dict[str, dict[int, _Clip]]] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(_Clip))
        )

    def add(self, rows: Iterable[FrameRow]) -> None:
        """Count the rows of one frame, or of many."""
        for row in rows:
            if row.step is not None or not self._steps_only:
                self._clips[row.model][row.condition][row.clip].add(row, self._target)

    def summaries(self) -> list[ConditionSummary]:
        """By model, then patch before its controls."""
        found = []
        for model, conditions in self._clips.items():
            fair = self.recognised(model)
            for condition in sorted(conditions, key=_CONDITION_ORDER.index):
                found.append(_summary(model, condition, conditions[condition], fair))
        return found

    def recognised(self, model: str) -> set[int] | None:
        """Clips that one model gets right in most frames with the grey control.

        None where that cannot be said: the true class is not known, the model is a detector, whose answer is no one class,
        or no clip shows both the control and something else, as with stills and with sheets shown one after the other.
        """
        conditions = self._clips[model]
        known = {number: clip.wrong.value for number, clip in conditions.get("grey", {}).items() if clip.wrong.n}
        others = {number for condition, clips in conditions.items() if condition != "grey" for number in clips}
        if not known.keys() & others:
            return None
        return {number for number, wrong in known.items() if wrong is not None and wrong < 0.5}


def summarise(rows: Sequence[FrameRow], target: str | None) -> list[ConditionSummary]:
    """The summaries of all rows of a session."""
    tally = Tally(target, steps_only=any(row.step is not None for row in rows))
    tally.add(rows)
    return tally.summaries()


def _summary(model: str, condition: str, clips: Mapping[int, _Clip], fair: set[int] | None) -> ConditionSummary:
    counted = [clip for number, clip in clips.items() if fair is None or number in fair]
    sizes = [clip.cell_px.value for clip in clips.values() if clip.cell_px.value is not None]
    frames = sum(clip.frames for clip in clips.values())
    return ConditionSummary(
        model=model,
        condition=condition,
        frames=frames,
        clips=len(clips),
        located=sum(clip.located for clip in clips.values()) / frames,
        target=clip_rate(_values(clip.hits for clip in counted)),
        wrong=clip_rate(_values(clip.wrong for clip in counted)),
        mean_target_score=_mean(clip.score for clip in counted),
        heat_in_patch=_mean(clip.heat for clip in counted),
        px_per_cell=median(sizes) if sizes else None,
    )


def _values(means: Iterable[_Mean]) -> list[float]:
    return [mean.value for mean in means if mean.value is not None]


def _mean(means: Iterable[_Mean]) -> float | None:
    """Of all frames, not of the clips' means."""
    parts = [(mean.total, mean.n) for mean in means]
    n = sum(count for _, count in parts)
    return sum(total for total, _ in parts) / n if n else None
