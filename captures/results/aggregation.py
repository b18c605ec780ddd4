"""What a session's rows add up to: by model and sheet, beside the controls at the same poses.

Patch and control are paired by the unit: the step of a plan; else the clip, where clips show several sheets at one pose; else
the pose cell, where sheets were shown one after the other. Steps and clips are posed anew each and are takes of their own.
Pose cells are not: those of one take share its hand, its light and its drift, so there the take is what intervals are over.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any, Literal

from calibration.common.success import MEASURES, FoundBox
from calibration.sheet.layout import SHEET_KINDS
from captures.protocol.plan import EVERYWHERE, Protocol
from captures.results.success import at_patch, boxes_of, frame_success, on_object
from captures.storage import FrameRow
from physpatch.stats.clustered import Observation, clustered_change, clustered_difference, clustered_rate
from physpatch.stats.intervals import (
    Correlation,
    Difference,
    Interval,
    Rate,
    clip_bootstrap,
    clip_rate,
    clip_t,
    clips_needed,
    frame_correlation,
    paired_difference,
)

_CONDITION_ORDER = (*SHEET_KINDS, "none")
CONTROL = "grey"  # the harmless patch that success is conditional on
MARGIN = 0.05  # the half width for which it is said how many more clips are needed
_NEVER_WHEN_RIGHT = ("target", "wrong", "hidden", "relabelled")  # none of these is true of a frame that is right
SIZE_EDGES = (2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)  # pixels a cell
UnitKind = Literal["step", "clip", "pose cell"]
Unit = Hashable


@dataclass(frozen=True)
class Spread:
    """How the units of one rate vary.

    Attributes:
        icc: intra-class correlation of the frames of a unit, None where it cannot be told.
        effective_n: as many independent frames would tell as much.
        t_ci95, bootstrap_ci95: the interval by Student's t and by the bootstrap over units, for comparison.
        needed: how many units such as these bring the interval down to ± 5 points.
    """

    icc: float | None
    effective_n: float
    t_ci95: Interval | None
    bootstrap_ci95: Interval | None
    needed: int


@dataclass(frozen=True)
class ConditionSummary:
    """One model before one kind of sheet. Rates are over units; ``frames`` and ``clips`` count what was captured.

    ``target`` is how often the target class came first, or of a detector was found as the goal asks, ``wrong`` how often
    the true class did not, or was not found; of the latter, ``hidden`` how often nothing was found on the object and
    ``relabelled`` how often other classes only; ``false_boxes`` how often a class was found at the patch that is not found
    there with the grey control. ``calibration.common.success`` has the definitions. All are counted on units that are
    recognised with the grey control, where :meth:`Tally.recognised` can tell.
    """

    model: str
    condition: str
    frames: int
    clips: int
    located: float
    target: Rate
    wrong: Rate
    hidden: Rate
    relabelled: Rate
    false_boxes: Rate
    mean_target_score: float | None
    heat_in_patch: float | None
    px_per_cell: float | None
    design: "Design"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"design": self.design.to_dict()}

    def rate(self, measure: str) -> Rate:
        """One of ``calibration.common.success.MEASURES``."""
        return getattr(self, measure)


@dataclass(frozen=True)
class Design:
    """What a session varies, by the number of levels. The rest is fixed, and no interval reaches beyond it.

    A session shows one patch, of one training seed, on one print, before one camera.
    """

    takes: int
    poses: int
    lights: int
    scenes: int

    @property
    def fixed(self) -> tuple[str, ...]:
        """What all numbers hold for: this one, and no other."""
        same = [name for name, levels in (("light", self.lights), ("scene", self.scenes)) if levels <= 1]
        return ("training seed", "print", "camera", *same)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"fixed": list(self.fixed)}


@dataclass(frozen=True)
class Comparison:
    """The patch less a control, unit by unit."""

    model: str
    measure: str
    control: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class MapCell:
    """One cell of a map: the rate over its units, and the frames in it."""

    rate: Rate
    frames: int


@dataclass
class _Mean:
    total: float = 0.0
    n: int = 0

    def add(self, value: float) -> None:
        self.total, self.n = self.total + value, self.n + 1

    @property
    def value(self) -> float | None:
        return self.total / self.n if self.n else None


@dataclass(frozen=True)
class _Where:
    """What frames are binned by. ``cell`` is the pose cell, row (distance) and column (yaw), or None."""

    clip: int
    step: int | None
    cell: tuple[int, int] | None
    light: str | None


@dataclass
class _Bin:
    """One model before one kind of sheet at one place."""

    frames: int = 0
    located: int = 0
    score: _Mean = field(default_factory=_Mean)
    heat: _Mean = field(default_factory=_Mean)
    cell_px: _Mean = field(default_factory=_Mean)
    measured: dict[str, _Mean] = field(default_factory=lambda: defaultdict(_Mean))
    untouched: _Mean = field(default_factory=_Mean)  # the answer is right, and does not bring the target about
    object_boxes: list[FoundBox] = field(default_factory=list)  # of the true class
    # The true class where it was not found, and what was, in frames that do not tell where the object is.
    missed: list[tuple[str, list[FoundBox]]] = field(default_factory=list)
    at_patch: Counter[frozenset[str]] = field(
        default_factory=Counter
    )  # classes found at the patch, besides the true one
    detects: bool = False

    def add(self, row: FrameRow, target: str | None) -> None:
        self.frames += 1
        said = frame_success(row, target)
        for measure, happened in said.items():
            self.measured[measure].add(happened)
        if "wrong" in said:
            self.untouched.add(not said["wrong"] and not said.get("target", False))
        if "target" in said and row.target_score is not None:
            self.score.add(row.target_score)
        if row.heat_in_patch is not None:
            self.heat.add(row.heat_in_patch)
        if row.px_per_cell is not None:
            self.located += 1
            self.cell_px.add(row.px_per_cell)
        self.detects = row.boxes is not None
        classes = at_patch(row)
        if classes is not None:
            self.at_patch[classes] += 1
        if row.boxes is not None and row.label is not None and row.object_xyxy is None:
            boxes = boxes_of(row)
            own = [box for box in boxes if box.label == row.label]
            self.object_boxes += own[:1]
            if said["wrong"]:
                self.missed.append((row.label, boxes))


_Bins = dict[_Where, _Bin]


class Tally:
    """Rows counted as they come; it grows with clips and poses, not with frames.

    In a session with a protocol, frames outside of its steps are not counted: they show a sheet on its way.
    """

    def __init__(self, target: str | None, protocol: Protocol | None = None) -> None:
        self.target, self.protocol = target, protocol
        self.grid = protocol.grid() if protocol else EVERYWHERE
        self._steps = {step.number: step for step in protocol.steps()} if protocol else {}
        self._bins: dict[str, dict[str, _Bins]] = defaultdict(lambda: defaultdict(lambda: defaultdict(_Bin)))
        self.outside_steps = 0
        self._kind: UnitKind | None = None
        self._weights: dict[tuple[str, str], dict[Unit, float] | None] = {}  # since rows were last added

    def add(self, rows: Iterable[FrameRow]) -> None:
        """Count the rows of one frame, or of many."""
        self._weights.clear()
        for row in rows:
            if self.protocol is not None and row.step is None:
                self.outside_steps += 1
                continue
            where = _Where(row.clip, row.step, self.grid.cell(row.distance_m, row.yaw_deg), row.light)
            bins = self._bins[row.model][row.condition]
            if where not in bins:
                self._kind = None  # more places, other units perhaps
            bins[where].add(row, self.target)

    @property
    def models(self) -> list[str]:
        """In the order in which they came."""
        return list(self._bins)

    def conditions(self, model: str) -> list[str]:
        """The sheets that were shown, the patch first."""
        return sorted(self._bins[model], key=_CONDITION_ORDER.index)

    @property
    def unit_kind(self) -> UnitKind:
        """What the unit is; see the module."""
        self._kind = self._kind or self._find_unit_kind()
        return self._kind

    def _find_unit_kind(self) -> UnitKind:
        if self.protocol is not None:
            return "step"
        conditions = next(iter(self._bins.values()), {})
        clips = [{where.clip for where in bins} for bins in conditions.values()]
        if len(clips) < 2 or any(one & other for one in clips for other in clips if one is not other):
            return "clip"
        cells = [{where.cell for where in bins} - {None} for bins in conditions.values()]
        shared = any(one & other for one in cells for other in cells if one is not other)
        return "pose cell" if shared else "clip"

    def unit(self, row: FrameRow) -> Unit | None:
        """The unit that a row belongs to; None for none."""
        return self._unit(_Where(row.clip, row.step, self.grid.cell(row.distance_m, row.yaw_deg), row.light))

    def _unit(self, where: _Where) -> Unit | None:
        kind = self.unit_kind
        if kind == "clip":
            return where.clip
        if kind == "pose cell":
            return None if where.cell is None else (where.cell, where.light)
        step = self._steps.get(where.step or 0)
        return step and (step.distance_m, step.yaw_deg, step.light, step.repeat)

    def rates(self, model: str, measure: str, condition: str) -> dict[Unit, float]:
        """Each counted unit's share of frames in which something of ``MEASURES`` happened."""
        return {unit: hits / frames for unit, (hits, frames) in self._counts(model, measure, condition).items()}

    def rate(self, model: str, measure: str, condition: str) -> Rate:
        """The rate over takes and poses, given that the model is right with the grey control where that can be told.

        Each unit weighs as much as the share of the control's frames there that are right: within a unit, where pose and
        scene are the same, patch and control succeed or fail independently, so the weighted mean is the share of pairs of
        frames in which the patch succeeds among those in which the control is right.
        """
        return self.rate_over(self.observations(model, measure, condition))

    def design(self) -> "Design":
        """What the session varied, and what it held fixed."""
        bins = [where for conditions in self._bins.values() for part in conditions.values() for where in part]
        return Design(
            takes=len({where.clip for where in bins}),
            poses=len({where.cell for where in bins} - {None}),
            lights=len({where.light for where in bins} - {None}),
            scenes=len({where.clip for where in bins}) if self.unit_kind == "clip" else 1,
        )

    def spread(self, model: str, measure: str, condition: str) -> Spread | None:
        """How the takes of one rate vary; None where nothing was counted."""
        takes: dict[Hashable, list[tuple[float, int]]] = defaultdict(list)
        for (take, _), count in self._counts_by_take(model, measure, condition).items():
            takes[take].append(count)
        if not takes:
            return None
        counts = [(sum(hits for hits, _ in parts), sum(n for _, n in parts)) for parts in takes.values()]
        hits, frames = [round(hit) for hit, _ in counts], [n for _, n in counts]
        return _spread([hit / n for hit, n in counts], frame_correlation(hits, frames))

    def recognised(self, model: str, measure: str = "wrong") -> set[Unit] | None:
        """Units in which the model is right in some frame with the grey control; None where it cannot be said."""
        weights = self.weights(model, measure)
        return None if weights is None else {unit for unit, weight in weights.items() if weight > 0}

    def weights(self, model: str, measure: str = "wrong") -> dict[Unit, float] | None:
        """Each unit's share of the grey control's frames in which the model is right.

        For ``target`` the control must not bring the target about either. None where it cannot be said: the true class is not
        known, the control was not shown at the poses of anything else, or a detector never found the object.
        """
        if (model, measure) not in self._weights:
            self._weights[model, measure] = self._find_weights(model, measure)
        return self._weights[model, measure]

    def _find_weights(self, model: str, measure: str) -> dict[Unit, float] | None:
        if CONTROL not in self._bins[model]:
            return None
        seen = self._grouped(model, CONTROL)
        others = {unit for c in self._bins[model] if c != CONTROL for unit in self._grouped(model, c)}
        weights: dict[Unit, float] = {}
        known = False
        for unit, bins in seen.items():
            missed = _pooled(bins, "wrong")
            if missed is None:
                continue
            known = known or missed[0] < missed[1] or not bins[0].detects
            untouched = [one.untouched for one in bins]
            weights[unit] = (
                sum(part.total for part in untouched) / sum(part.n for part in untouched)
                if measure == "target"
                else 1 - missed[0] / missed[1]
            )
        return weights if known and seen.keys() & others else None

    def rate_over(self, observations: Sequence[Observation]) -> Rate:
        """Average over the session's takes and poses."""
        if self.unit_kind == "pose cell" or len(observations) == 1:
            return clustered_rate(observations)
        counted = [one for one in observations if one.weight > 0]
        return clip_rate([one.share for one in counted], [one.weight for one in counted] or None)

    def difference_over(
        self, ones: Sequence[Observation], others: Sequence[Observation], *, same_frames: bool = False
    ) -> Difference:
        """Average ``ones`` less ``others`` over the poses of both, with the weights of the former.

        Args:
            ones, others: as :meth:`observations` gives them, or in the same takes and units.
            same_frames: both are judgements of the same frames, not of takes of their own.
        """
        if self.unit_kind == "pose cell":
            return (clustered_change if same_frames else clustered_difference)(ones, others)
        harmless = {one.cell: one.share for one in others}
        pairs = [(one.share, harmless[one.cell], one.weight) for one in ones if one.cell in harmless and one.weight > 0]
        if len(pairs) == 1:
            return Difference(pairs[0][0] - pairs[0][1], None, 1)
        return paired_difference(*zip(*pairs, strict=True)) if pairs else Difference(None, None, 0)

    def take(self, row: FrameRow) -> Hashable:
        """The take that a row belongs to; see the module."""
        return row.clip if self.unit_kind == "pose cell" else self.unit(row)

    def observations(
        self, model: str, measure: str, condition: str, only: Callable[[_Where], bool] = lambda where: True
    ) -> list[Observation]:
        """Each counted unit's share of frames, take by take, with the unit's weight; ``only`` leaves some of the bins out."""
        weights = self.weights(model, measure)
        counts = self._counts_by_take(model, measure, condition, only)
        again = (
            self._again(model) if condition == CONTROL and weights is not None and measure in _NEVER_WHEN_RIGHT else {}
        )
        return [
            Observation(
                take, unit, again.get(unit, 1.0) * hits / frames, 1.0 if weights is None else weights.get(unit, 0.0)
            )
            for (take, unit), (hits, frames) in counts.items()
        ]

    def _again(self, model: str) -> dict[Unit, float]:
        """By how much to raise the control's share in each unit, so that it is of *other* frames than the one that is right.

        Of n frames of which k are wrong, a right one has k among the n - 1 others. Paired with itself too it would have k of
        n, and a harmless sheet would seem more harmless than it is, by a third where a clip has three frames. A single frame
        has no others, and counts as it is. Of a unit the mean stays within 1; of a part of it, it need not.
        """
        frames = {unit: sum(one.frames for one in bins) for unit, bins in self._grouped(model, CONTROL).items()}
        return {unit: n / (n - 1) for unit, n in frames.items() if n > 1}

    def summaries(self) -> list[ConditionSummary]:
        """By model, then patch before its controls."""
        return [self._summary(model, condition) for model in self.models for condition in self.conditions(model)]

    def comparisons(self) -> list[Comparison]:
        """The patch against each control that was shown in the same units."""
        found = []
        for model in self.models:
            for control in self.conditions(model):
                for measure in MEASURES if control in SHEET_KINDS[1:] and "patch" in self._bins[model] else ():
                    difference = self._difference(model, measure, control)
                    if difference.n:
                        found.append(Comparison(model, measure, control, difference))
        return found

    def _difference(self, model: str, measure: str, control: str) -> Difference:
        patch, other = (self.observations(model, measure, condition) for condition in ("patch", control))
        return self.difference_over(patch, other)

    def exclusions(self, model: str) -> dict[str, int]:
        """How many frames with the patch are not counted, by the reason; empty where all are."""
        fair = self.recognised(model)
        control = self._grouped(model, CONTROL) if CONTROL in self._bins[model] else {}
        reasons = {"outside of the plan's steps": self.outside_steps // max(1, len(self._bins))}
        for where, one in self._bins[model].get("patch", {}).items():
            unit = self._unit(where)
            if unit is None:
                reasons["pose not known"] = reasons.get("pose not known", 0) + one.frames
            elif fair is not None and unit not in fair:
                why = "not recognised with the grey control" if unit in control else "no grey control at this pose"
                reasons[why] = reasons.get(why, 0) + one.frames
        return {why: frames for why, frames in reasons.items() if frames}

    def by_pose(self, model: str, measure: str, condition: str = "patch") -> dict[tuple[int, int], MapCell]:
        """Rates by pose cell, row (distance) and column (yaw) of :attr:`grid`."""
        return self._map(model, measure, condition, lambda where, _: where.cell)

    def by_light(self, model: str, measure: str, condition: str = "patch") -> dict[str, MapCell]:
        """Rates by the name of the light."""
        return self._map(model, measure, condition, lambda where, _: where.light)

    def by_size(self, model: str, measure: str, condition: str = "patch") -> dict[int, MapCell]:
        """Rates by pixels a cell: bin i reaches from the i-th of ``SIZE_EDGES``, or 0, to the next."""

        def size(_: _Where, one: _Bin) -> int | None:
            px = one.cell_px.value
            return None if px is None else sum(px >= edge for edge in SIZE_EDGES)

        return self._map(model, measure, condition, size)

    def _map(self, model: str, measure: str, condition: str, key: Any) -> dict[Any, MapCell]:
        places: dict[Any, set[_Where]] = defaultdict(set)
        for where, one in self._bins[model].get(condition, {}).items():
            at = key(where, one)
            if at is not None:
                places[at].add(where)
        cells = {}
        for at in sorted(places):
            observations = [
                replace(
                    one, share=min(1.0, one.share)
                )  # a part in which each of the control's frames is wrong; see _again
                for one in self.observations(model, measure, condition, places[at].__contains__)
            ]
            frames = self._counts_by_take(model, measure, condition, places[at].__contains__).values()
            if any(one.weight > 0 for one in observations):
                cells[at] = MapCell(self.rate_over(observations), sum(n for _, n in frames))
        return cells

    def _grouped(self, model: str, condition: str) -> dict[Unit, list[_Bin]]:
        units: dict[Unit, list[_Bin]] = defaultdict(list)
        for where, one in self._bins[model].get(condition, {}).items():
            unit = self._unit(where)
            if unit is not None:
                units[unit].append(one)
        return units

    def _counts(self, model: str, measure: str, condition: str) -> dict[Unit, tuple[float, int]]:
        """Hits and frames of each counted unit."""
        counts: dict[Unit, tuple[float, int]] = {}
        for (_, unit), (hits, frames) in self._counts_by_take(model, measure, condition).items():
            before = counts.get(unit, (0.0, 0))
            counts[unit] = before[0] + hits, before[1] + frames
        return counts

    def _counts_by_take(
        self, model: str, measure: str, condition: str, only: Callable[[_Where], bool] = lambda where: True
    ) -> dict[tuple[Hashable, Unit], tuple[float, int]]:
        """Hits and frames of each counted unit, take by take; ``only`` leaves some of the bins out."""
        weights = self.weights(model, measure)
        groups: dict[tuple[Hashable, Unit], list[_Bin]] = defaultdict(list)
        for where, one in self._bins[model].get(condition, {}).items():
            unit = self._unit(where)
            if unit is not None and only(where) and (weights is None or weights.get(unit, 0) > 0):
                groups[where.clip if self.unit_kind == "pose cell" else unit, unit].append(one)
        detects = any(one.detects for bins in groups.values() for one in bins)
        if weights is None and detects and measure in ("wrong", "hidden", "relabelled"):
            return {}  # an object that was never found cannot be lost
        pooled = {key: _pooled(bins, measure) for key, bins in groups.items()}
        if detects and measure in ("hidden", "relabelled", "false_boxes"):
            compared = _phantoms if measure == "false_boxes" else partial(_on_object, measure)
            control = self._grouped(model, CONTROL) if CONTROL in self._bins[model] else {}
            pooled |= {key: compared(bins, control.get(key[1], ())) for key, bins in groups.items() if not pooled[key]}
        return {key: counts for key, counts in pooled.items() if counts is not None}

    def _summary(self, model: str, condition: str) -> ConditionSummary:
        bins = self._bins[model][condition]
        fair = self.recognised(model)
        counted = [one for where, one in bins.items() if fair is None or self._unit(where) in fair]
        sizes = [one.cell_px.value for one in bins.values() if one.cell_px.value is not None]
        frames = sum(one.frames for one in bins.values())
        return ConditionSummary(
            model=model,
            condition=condition,
            frames=frames,
            clips=len({where.clip for where in bins}),
            located=sum(one.located for one in bins.values()) / frames,
            mean_target_score=_mean(one.score for one in counted),
            heat_in_patch=_mean(one.heat for one in counted),
            px_per_cell=median(sizes) if sizes else None,
            design=self.design(),
            **{measure: self.rate(model, measure, condition) for measure in MEASURES},
        )


def tally_of(rows: Sequence[FrameRow], target: str | None, protocol: Protocol | None = None) -> Tally:
    """All rows of a session, with the plan that its record holds."""
    tally = Tally(target, protocol)
    tally.add(rows)
    return tally


def _pooled(bins: Sequence[_Bin], measure: str) -> tuple[float, int] | None:
    means = [one.measured[measure] for one in bins if measure in one.measured]
    return (sum(mean.total for mean in means), sum(mean.n for mean in means)) if means else None


def _on_object(measure: str, bins: Sequence[_Bin], control: Sequence[_Bin]) -> tuple[float, int] | None:
    """Frames in which the object, whose place the control tells, is hidden or relabelled, and all; None without its place."""
    places = [box.xyxy for one in control for box in one.object_boxes]
    if not places or not _pooled(bins, "wrong"):
        return None
    place = [median(edges) for edges in zip(*places, strict=True)]
    missed = (pair for one in bins for pair in one.missed)
    return sum(on_object(boxes, label, place)[measure] for label, boxes in missed), sum(one.frames for one in bins)


def _phantoms(bins: Sequence[_Bin], control: Sequence[_Bin]) -> tuple[float, int] | None:
    """Frames in which a class is found at the patch that is not found there with the control, and all; None without one.

    What is really there, labelled or not, is found with the control too: it is no phantom.
    """
    if not any(one.at_patch for one in control):
        return None
    there = frozenset().union(*(classes for one in control for classes in one.at_patch))
    seen: Counter[frozenset[str]] = sum((one.at_patch for one in bins), Counter())
    return sum(count for classes, count in seen.items() if classes - there), seen.total()


def _spread(shares: Sequence[float], correlation: Correlation) -> Spread:
    center = min(0.95, max(0.05, math.fsum(shares) / len(shares)))
    variance = math.fsum((share - center) ** 2 for share in shares) / len(shares)
    between = min(1.0, variance / (center * (1 - center)))
    return Spread(
        correlation.icc,
        correlation.effective_n,
        clip_t(shares),
        clip_bootstrap(shares),
        clips_needed(MARGIN, rate=center, correlation=max(between, 0.1)),
    )


def _mean(means: Iterable[_Mean]) -> float | None:
    """Of all frames, not of the clips' means."""
    parts = [(mean.total, mean.n) for mean in means]
    n = sum(count for _, count in parts)
    return sum(total for total, _ in parts) / n if n else None
