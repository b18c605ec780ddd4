"""Aggregate the rows of a session: rates by model and sheet, compared with the controls at the same poses.

Patch and control are paired by unit. A unit is a step of the plan; without a plan, a clip, if clips show several sheets at one
pose; otherwise a pose cell, if the sheets were shown one after the other. Each step and each clip has its own pose and counts
as an independent one, unless several clips show the same scene: then intervals are over scenes. Pose cells do not: all cells
of a clip share its hand, light and drift, so there intervals are over clips.
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
from captures.results.success import at_patch, boxes_of, frame_success, is_counted, middle_place, on_object
from captures.sources.frame import NO_SHEET
from captures.storage import FrameRow
from physpatch.stats.clustered import Observation, clustered_change, clustered_difference, clustered_rate
from physpatch.stats.intervals import (
    Correlation,
    Difference,
    Interval,
    Rate,
    clip_bootstrap,
    clip_correlation,
    clip_rate,
    clip_t,
    clips_needed,
    frame_correlation,
    paired_difference,
)

_CONDITION_ORDER = (*SHEET_KINDS, NO_SHEET)
CONTROL = "grey"  # the harmless patch that success is conditional on
MARGIN = 0.05  # half width of an interval, for which the required number of clips is estimated
_LOSSES = ("wrong", "hidden", "relabelled")  # of an object, for a detector
_NEVER_WHEN_RIGHT = ("target", *_LOSSES)  # all false for a frame whose answer is right
UnitKind = Literal["step", "clip", "pose cell"]
Unit = Hashable


@dataclass(frozen=True)
class Spread:
    """The variation of one rate between units.

    Attributes:
        icc: intra-class correlation of the frames of a unit; None if it cannot be estimated.
        effective_n: number of independent frames with the same information.
        t_ci95, bootstrap_ci95: the interval by Student's t and by the bootstrap over units, for comparison.
        needed: number of similar units for an interval of ± 5 points.
    """

    icc: float | None
    effective_n: float
    t_ci95: Interval | None
    bootstrap_ci95: Interval | None
    needed: int


@dataclass(frozen=True)
class ConditionSummary:
    """The rates of one model for one kind of sheet.

    Rates are over the units that the model recognises with the grey control, if :meth:`Tally.recognised` can determine them;
    see ``calibration.common.success`` for definitions.

    Attributes:
        model: name of the model.
        condition: kind of the sheet.
        frames, clips: number of captured frames and clips.
        located: share of frames in which the sheet was found.
        target: the target class came first or, for a detector, was detected as the goal demands.
        wrong: the true class did not come first, or was not detected.
        hidden: nothing was detected on the object.
        relabelled: only other classes were detected on the object.
        false_boxes: a class was detected at the patch that is not detected there with the grey control.
        mean_target_score: mean score of the target class; None without a target.
        heat_in_patch: mean share of the Grad-CAM heat inside the patch.
        px_per_cell: median side of a cell in pixels.
        design: what the session varied.
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
        """Convert to JSON values."""
        return asdict(self) | {"design": self.design.to_dict()}

    def rate(self, measure: str) -> Rate:
        """Return the rate of a measure in ``calibration.common.success.MEASURES``."""
        return getattr(self, measure)


@dataclass(frozen=True)
class Design:
    """The factors that a session varies, with their number of levels. All others are fixed, and intervals do not cover them.

    A session shows one patch, from one training seed, on one print, to one camera.
    """

    clips: int
    poses: int
    lights: int
    scenes: int

    @property
    def fixed(self) -> tuple[str, ...]:
        """Return the fixed factors, to which all numbers are limited."""
        same = [name for name, levels in (("light", self.lights), ("scene", self.scenes)) if levels <= 1]
        return ("training seed", "print", "camera", *same)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return asdict(self) | {"fixed": list(self.fixed)}


@dataclass(frozen=True)
class Comparison:
    """The difference between patch and control, paired by unit."""

    model: str
    measure: str
    control: str
    difference: Difference

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
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
    """The key of a bin of frames. ``cell`` is the pose cell, row (distance) and column (yaw); None if the pose is unknown."""

    clip: int
    step: int | None
    cell: tuple[int, int] | None
    light: str | None


@dataclass
class _Bin:
    """The counts of one model for one kind of sheet in one bin."""

    frames: int = 0
    located: int = 0
    score: _Mean = field(default_factory=_Mean)
    heat: _Mean = field(default_factory=_Mean)
    cell_px: _Mean = field(default_factory=_Mean)
    measured: dict[str, _Mean] = field(default_factory=lambda: defaultdict(_Mean))
    untouched: _Mean = field(default_factory=_Mean)  # the answer is right and the target is not reached
    object_boxes: list[FoundBox] = field(default_factory=list)  # of the true class
    # The true class and the detected boxes of frames in which it was missed and the place of the object is unknown.
    missed: list[tuple[str, list[FoundBox]]] = field(default_factory=list)
    at_patch: Counter[frozenset[str]] = field(
        default_factory=Counter
    )  # classes detected at the patch, except the true one
    detects: bool = False

    def add(self, row: FrameRow, target: str | None) -> None:
        self.frames += 1
        success = frame_success(row, target)
        for measure, happened in success.items():
            self.measured[measure].add(happened)
        if "wrong" in success:
            self.untouched.add(not success["wrong"] and not success.get("target", False))
        if "target" in success and row.target_score is not None:
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
            if success["wrong"]:
                self.missed.append((row.label, boxes))


_Bins = dict[_Where, _Bin]


class Tally:
    """Incremental counts of rows; memory grows with clips and poses, and with the frames only of a detector's object.

    In a session with a plan, frames outside its steps are not counted, because they show a sheet on its way to a pose.
    """

    def __init__(self, target: str | None, protocol: Protocol | None = None, scenes: Sequence[int] = ()) -> None:
        """Begin without rows.

        Args:
            target: name of the target class; None without a target.
            protocol: the plan; None without a plan.
            scenes: the number of each clip's scene, if the source chose them; empty where nothing is known of them.
        """
        self.target, self.protocol, self._scenes = target, protocol, scenes
        self.grid = protocol.grid() if protocol else EVERYWHERE
        self._steps = {step.number: step for step in protocol.steps()} if protocol else {}
        self._bins: dict[str, dict[str, _Bins]] = defaultdict(lambda: defaultdict(lambda: defaultdict(_Bin)))
        self._lights: set[str] = set()  # names; empty for the light without one
        self.outside_steps: Counter[tuple[str, str]] = Counter()  # frames, by model and sheet
        self._kind: UnitKind | None = None
        self._weights: dict[tuple[str, str], dict[Unit, float] | None] = {}  # since rows were last added

    def add(self, rows: Iterable[FrameRow]) -> None:
        """Count rows of one or more frames."""
        self._weights.clear()
        for row in rows:
            if not is_counted(row, self.protocol):
                self.outside_steps[row.model, row.condition] += 1
                continue
            where = _Where(row.clip, row.step, self.grid.cell(row.distance_m, row.yaw_deg), row.light)
            bins = self._bins[row.model][row.condition]
            if where not in bins:
                self._kind = None  # a new bin may change the kind of unit
                self._lights.add(row.light or "")
            bins[where].add(row, self.target)

    @property
    def models(self) -> list[str]:
        """Return the models in order of appearance."""
        return list(self._bins)

    def conditions(self, model: str) -> list[str]:
        """Return the sheets that were shown, the patch first."""
        return sorted(self._bins[model], key=_CONDITION_ORDER.index)

    @property
    def unit_kind(self) -> UnitKind:
        """Return the kind of unit; see the module."""
        self._kind = self._kind or self._find_unit_kind()
        return self._kind

    def _find_unit_kind(self) -> UnitKind:
        if self.protocol is not None:
            return "step"
        by_condition = next(iter(self._bins.values()), {})
        # A clip goes on where its sheet is missed for a moment: frames without one are no further sheet of that clip.
        conditions = {condition: bins for condition, bins in by_condition.items() if condition != NO_SHEET}
        clips = [{where.clip for where in bins} for bins in conditions.values()]
        if len(clips) < 2 or any(first & second for first in clips for second in clips if first is not second):
            return "clip"
        cells = [{where.cell for where in bins} - {None} for bins in conditions.values()]
        shared = any(first & second for first in cells for second in cells if first is not second)
        return "pose cell" if shared else "clip"

    def unit(self, row: FrameRow) -> Unit | None:
        """Return the unit of a row; None if it has none."""
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
        """Compute the share of frames with a measure of ``MEASURES``, for each counted unit."""
        return {unit: hits / frames for unit, (hits, frames) in self._counts(model, measure, condition).items()}

    def rate(self, model: str, measure: str, condition: str) -> Rate:
        """Estimate a rate over clips and poses, given that the model is right with the grey control, if that is known.

        The weight of a unit is the share of its control frames in which the model is right. Within a unit, pose and scene are
        the same, and patch and control succeed or fail independently. So the weighted mean is the share of frame pairs in
        which the patch succeeds, among the pairs in which the control is right.
        """
        return self.rate_over(self.observations(model, measure, condition))

    def filmed(self, model: str, condition: str) -> int:
        """Count what is independent, see :attr:`independent_kind`, also where the model was wrong with the grey control."""
        if self.unit_kind == "pose cell":
            return len({where.clip for where in self._bins[model].get(condition, {}) if self._unit(where) is not None})
        return len({self.scene(unit) for unit in self._grouped(model, condition)})

    @property
    def lights(self) -> set[str]:
        """Return the names of the lights; a light without a name is not among them."""
        return self._lights - {""}

    def design(self) -> "Design":
        """Return the factors that the session varied."""
        bins = [where for conditions in self._bins.values() for part in conditions.values() for where in part]
        return Design(
            clips=len({where.clip for where in bins}),
            poses=len({where.cell for where in bins} - {None}),
            lights=len(self._lights) if self.lights else 0,
            scenes=len({self.scene(where.clip) for where in bins}) if self._scenes and self.unit_kind == "clip" else 1,
        )

    def spread(self, model: str, measure: str, condition: str) -> Spread | None:
        """Estimate the variation of one rate between clips; return None if nothing was counted."""
        clips: dict[Hashable, list[tuple[float, int]]] = defaultdict(list)
        for (clip, _), count in self._counts_by_clip(model, measure, condition).items():
            clips[self.scene(clip)].append(count)
        if not clips:
            return None
        counts = [(sum(hits for hits, _ in parts), sum(n for _, n in parts)) for parts in clips.values()]
        hits, frames = [round(hit) for hit, _ in counts], [n for _, n in counts]
        return _spread([hit / n for hit, n in counts], frame_correlation(hits, frames))

    def recognised(self, model: str, measure: str = "wrong") -> set[Unit] | None:
        """Return the units in which the model is right in at least one grey frame; None if that is unknown."""
        weights = self.weights(model, measure)
        return None if weights is None else {unit for unit, weight in weights.items() if weight > 0}

    def weights(self, model: str, measure: str = "wrong") -> dict[Unit, float] | None:
        """Compute the share of grey frames in which the model is right, for each unit.

        For ``target``, frames in which the control reaches the target do not count as right. Returns None if the shares are
        unknown: the true class is unknown, the control was not shown at the poses of another sheet, or a detector never found
        the object.
        """
        if (model, measure) not in self._weights:
            self._weights[model, measure] = self._find_weights(model, measure)
        return self._weights[model, measure]

    def _find_weights(self, model: str, measure: str) -> dict[Unit, float] | None:
        if CONTROL not in self._bins[model]:
            return None
        control_bins = self._grouped(model, CONTROL)
        other_units = {
            unit for c in self._bins[model] if c not in (CONTROL, NO_SHEET) for unit in self._grouped(model, c)
        }
        weights: dict[Unit, float] = {}
        is_known = False
        for unit, bins in control_bins.items():
            missed = _pooled(bins, "wrong")
            if missed is None:
                continue
            is_known = is_known or missed[0] < missed[1] or not bins[0].detects
            untouched = [pose_bin.untouched for pose_bin in bins]
            weights[unit] = (
                sum(part.total for part in untouched) / sum(part.n for part in untouched)
                if measure == "target"
                else 1 - missed[0] / missed[1]
            )
        return weights if is_known and control_bins.keys() & other_units else None

    def can_be_lost(self, model: str, measure: str) -> bool:
        """Tell whether frames can count for a measure: an object that a detector is not known to find cannot be lost."""
        if measure not in _LOSSES or self.weights(model, measure) is not None:
            return True
        return not any(pose_bin.detects for bins in self._bins[model].values() for pose_bin in bins.values())

    def rate_over(self, observations: Sequence[Observation]) -> Rate:
        """Average observations over clips and poses."""
        if self.unit_kind == "pose cell" or len(observations) == 1:
            return clustered_rate(observations)
        counted = [observation for observation in observations if observation.weight > 0]
        shares, weights = self._by_scene([(o.cell, o.share, o.weight) for o in counted])
        if len(shares) == 1:  # several clips of one scene say nothing of others
            return Rate(shares[0], None, 1)
        return clip_rate(shares, weights or None)

    def difference_over(
        self, ones: Sequence[Observation], others: Sequence[Observation], *, same_frames: bool = False
    ) -> Difference:
        """Average the difference ``ones`` minus ``others`` over their common poses, with the weights of ``ones``.

        Args:
            ones, others: from :meth:`observations`, or with the same clips and units.
            same_frames: whether both are judgements of the same frames, rather than of separate clips.
        """
        if self.unit_kind == "pose cell":
            return (clustered_change if same_frames else clustered_difference)(ones, others)
        harmless = {observation.cell: observation.share for observation in others}
        paired = [o for o in ones if o.cell in harmless and o.weight > 0]
        first, weights = self._by_scene([(o.cell, o.share, o.weight) for o in paired])
        second, _ = self._by_scene([(o.cell, harmless[o.cell], o.weight) for o in paired])
        if len(weights) == 1:
            return Difference(first[0] - second[0], None, 1)
        return paired_difference(first, second, weights) if weights else Difference(None, None, 0)

    def scene(self, unit: Unit) -> Unit:
        """Return the scene of a clip, and any other unit itself."""
        if self._scenes and isinstance(unit, int) and self.unit_kind == "clip":
            return self._scenes[unit] if unit < len(self._scenes) else ("clip", unit)  # of a record that is cut short
        return unit

    @property
    def independent_kind(self) -> str:
        """Return the kind of what counts as independent in intervals, and that their n counts."""
        if self.unit_kind == "pose cell":
            return "clip"
        return "scene" if self.unit_kind == "clip" and len(set(self._scenes)) < len(self._scenes) else self.unit_kind

    def _by_scene(self, counted: Sequence[tuple[Unit, float, float]]) -> tuple[list[float], list[float]]:
        """Return the weighted mean share of the units of each scene, and their total weight."""
        sums: dict[Unit, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for unit, share, weight in counted:
            sums[self.scene(unit)][0] += share * weight
            sums[self.scene(unit)][1] += weight
        return [hits / weight for hits, weight in sums.values()], [weight for _, weight in sums.values()]

    def clip(self, row: FrameRow) -> Hashable:
        """Return the clip of a row; see the module."""
        return row.clip if self.unit_kind == "pose cell" else self.unit(row)

    def observations(
        self, model: str, measure: str, condition: str, only: Callable[[_Where], bool] = lambda where: True
    ) -> list[Observation]:
        """Compute the share of frames with a measure by unit and clip, with the weight of the unit.

        Args:
            model, measure, condition: what to count.
            only: selects the bins to count.
        """
        weights = self.weights(model, measure)
        counts = self._counts_by_clip(model, measure, condition, only)
        again = self.again(model, measure, condition)
        return [
            Observation(
                clip,
                unit,
                min(1.0, again.get(unit, 1.0) * hits / frames),
                1.0 if weights is None else weights.get(unit, 0.0),
            )
            for (clip, unit), (hits, frames) in counts.items()
        ]

    def counts_whole(self, model: str, measure: str, condition: str) -> bool:
        """Tell whether each unit counts wholly, as a success or as none, so that a rate is a number of successes among them."""
        shares: dict[Hashable, set[float]] = defaultdict(set)
        weights: dict[Hashable, float] = defaultdict(float)
        for o in self.observations(model, measure, condition):
            if o.weight > 0:
                independent = o.clip if self.unit_kind == "pose cell" else self.scene(o.cell)
                shares[independent].add(o.share)
                weights[independent] += o.weight
        return len({*weights.values()}) <= 1 and all(own in ({0.0}, {1.0}) for own in shares.values())

    def again(self, model: str, measure: str, condition: str) -> dict[Unit, float]:
        """Compute the factor for the control's share in each unit that makes it a share of the *other* frames.

        If k of n frames are wrong, a right frame has k wrong ones among the n - 1 others. If it were also paired with itself,
        the share would be k of n, and a harmless sheet would seem more harmless than it is, by a third for three frames. A
        single frame has no others and is left unchanged. The mean over a unit stays within 1, but that over a part of it may
        not. Other sheets, and measures that can be true of a right frame, have no such factor.
        """
        if condition != CONTROL or self.weights(model, measure) is None or measure not in _NEVER_WHEN_RIGHT:
            return {}
        frames = {
            unit: sum(pose_bin.frames for pose_bin in bins) for unit, bins in self._grouped(model, CONTROL).items()
        }
        return {unit: n / (n - 1) for unit, n in frames.items() if n > 1}

    def summaries(self) -> list[ConditionSummary]:
        """Summarise each model and sheet, by model, with the patch before its controls."""
        return [self._summary(model, condition) for model in self.models for condition in self.conditions(model)]

    def comparisons(self) -> list[Comparison]:
        """Compare the patch with each control that was shown in the same units."""
        comparisons = []
        for model in self.models:
            for control in self.conditions(model):
                for measure in MEASURES if control in SHEET_KINDS[1:] and "patch" in self._bins[model] else ():
                    difference = self._difference(model, measure, control)
                    if difference.n:
                        comparisons.append(Comparison(model, measure, control, difference))
        return comparisons

    def _difference(self, model: str, measure: str, control: str) -> Difference:
        patch, harmless = (self.observations(model, measure, condition) for condition in ("patch", control))
        return self.difference_over(patch, harmless)

    def exclusions(self, model: str) -> dict[str, int]:
        """Count the frames with the patch that are not counted in rates, by reason."""
        fair = self.recognised(model)
        control = self._grouped(model, CONTROL) if CONTROL in self._bins[model] else {}
        reasons = {"outside of the plan's steps": self.outside_steps[model, "patch"]}
        for where, pose_bin in self._bins[model].get("patch", {}).items():
            unit = self._unit(where)
            if unit is None:
                reasons["pose not known"] = reasons.get("pose not known", 0) + pose_bin.frames
            elif fair is not None and unit not in fair:
                why = "not recognised with the grey control" if unit in control else "no grey control at this pose"
                reasons[why] = reasons.get(why, 0) + pose_bin.frames
        return {why: frames for why, frames in reasons.items() if frames}

    def by_pose(self, model: str, measure: str, condition: str = "patch") -> dict[tuple[int, int], MapCell]:
        """Compute rates by pose cell, row (distance) and column (yaw) of :attr:`grid`."""
        return self._map(model, measure, condition, lambda where: where.cell)

    def by_light(self, model: str, measure: str, condition: str = "patch") -> dict[str, MapCell]:
        """Compute rates by name of the light; empty where no light has one."""
        unnamed = "without a name" if self.lights else None  # no light is told apart where none has a name
        return self._map(model, measure, condition, lambda where: where.light or unnamed)

    def _map(self, model: str, measure: str, condition: str, key: Callable[[_Where], Any]) -> dict[Any, MapCell]:
        places: dict[Any, set[_Where]] = defaultdict(set)
        for where in self._bins[model].get(condition, {}):
            at = key(where)
            if at is not None:
                places[at].add(where)
        cells = {}
        for at in sorted(places):
            observations = [
                # The share is above 1 if all control frames of a part are wrong; see again.
                replace(observation, share=min(1.0, observation.share))
                for observation in self.observations(model, measure, condition, places[at].__contains__)
            ]
            frames = self._counts_by_clip(model, measure, condition, places[at].__contains__).values()
            if any(observation.weight > 0 for observation in observations):
                cells[at] = MapCell(self.rate_over(observations), sum(n for _, n in frames))
        return cells

    def _grouped(self, model: str, condition: str) -> dict[Unit, list[_Bin]]:
        units: dict[Unit, list[_Bin]] = defaultdict(list)
        for where, pose_bin in self._bins[model].get(condition, {}).items():
            unit = self._unit(where)
            if unit is not None:
                units[unit].append(pose_bin)
        return units

    def _counts(self, model: str, measure: str, condition: str) -> dict[Unit, tuple[float, int]]:
        """Count hits and frames of each counted unit."""
        counts: dict[Unit, tuple[float, int]] = {}
        for (_, unit), (hits, frames) in self._counts_by_clip(model, measure, condition).items():
            before = counts.get(unit, (0.0, 0))
            counts[unit] = before[0] + hits, before[1] + frames
        return counts

    def _counts_by_clip(
        self, model: str, measure: str, condition: str, only: Callable[[_Where], bool] = lambda where: True
    ) -> dict[tuple[Hashable, Unit], tuple[float, int]]:
        """Count hits and frames by clip and counted unit; ``only`` selects the bins."""
        weights = self.weights(model, measure)
        groups: dict[tuple[Hashable, Unit], list[_Bin]] = defaultdict(list)
        for where, pose_bin in self._bins[model].get(condition, {}).items():
            unit = self._unit(where)
            if unit is not None and only(where) and (weights is None or weights.get(unit, 0) > 0):
                groups[where.clip if self.unit_kind == "pose cell" else unit, unit].append(pose_bin)
        if not self.can_be_lost(model, measure):
            return {}
        detects = any(pose_bin.detects for bins in groups.values() for pose_bin in bins)
        pooled = {key: _pooled(bins, measure) for key, bins in groups.items()}
        if detects and measure in ("hidden", "relabelled", "false_boxes"):
            compared = (
                partial(_phantoms, condition == CONTROL) if measure == "false_boxes" else partial(_on_object, measure)
            )
            control = self._grouped(model, CONTROL) if CONTROL in self._bins[model] else {}
            pooled |= {key: compared(bins, control.get(key[1], ())) for key, bins in groups.items() if not pooled[key]}
        return {key: counts for key, counts in pooled.items() if counts is not None}

    def _summary(self, model: str, condition: str) -> ConditionSummary:
        bins = self._bins[model][condition]
        fair = self.recognised(model)
        counted = [pose_bin for where, pose_bin in bins.items() if fair is None or self._unit(where) in fair]
        sizes = [pose_bin.cell_px.value for pose_bin in bins.values() if pose_bin.cell_px.value is not None]
        frames = sum(pose_bin.frames for pose_bin in bins.values())
        return ConditionSummary(
            model=model,
            condition=condition,
            frames=frames,
            clips=len({where.clip for where in bins}),
            located=sum(pose_bin.located for pose_bin in bins.values()) / frames,
            mean_target_score=_mean(pose_bin.score for pose_bin in counted),
            heat_in_patch=_mean(pose_bin.heat for pose_bin in counted),
            px_per_cell=median(sizes) if sizes else None,
            design=self.design(),
            **{measure: self.rate(model, measure, condition) for measure in MEASURES},
        )


def tally_of(
    rows: Sequence[FrameRow], target: str | None, protocol: Protocol | None = None, scenes: Sequence[int] = ()
) -> Tally:
    """Count all rows of a session.

    Args:
        rows: of the session.
        target: name of the target class; None without a target.
        protocol: the plan in the session's record; None without a plan.
        scenes: see :class:`Tally`.
    """
    tally = Tally(target, protocol, scenes)
    tally.add(rows)
    return tally


def _pooled(bins: Sequence[_Bin], measure: str) -> tuple[float, int] | None:
    means = [pose_bin.measured[measure] for pose_bin in bins if measure in pose_bin.measured]
    return (sum(mean.total for mean in means), sum(mean.n for mean in means)) if means else None


def _on_object(measure: str, bins: Sequence[_Bin], control: Sequence[_Bin]) -> tuple[float, int] | None:
    """Count the frames in which the object is hidden or relabelled, and all frames.

    The place of the object is that in the control's frames; None if it is unknown.
    """
    place = middle_place([box.xyxy for pose_bin in control for box in pose_bin.object_boxes])
    if place is None or not _pooled(bins, "wrong"):
        return None
    missed = (pair for pose_bin in bins for pair in pose_bin.missed)
    return sum(on_object(boxes, label, place)[measure] for label, boxes in missed), sum(
        pose_bin.frames for pose_bin in bins
    )


def _phantoms(own: bool, bins: Sequence[_Bin], control: Sequence[_Bin]) -> tuple[float, int] | None:
    """Count the frames with a class at the patch that is not detected there with the control, and all frames.

    Objects that are really there, labelled or not, are also detected with the control and are not phantoms. The control's own
    frames (``own``) can be compared only with its others, so those of all sheets are: each with all but one of the control's,
    in the mean. Else a class that comes and goes would be seen with every sheet except the control. None without others.
    """
    control_counts: Counter[frozenset[str]] = sum((pose_bin.at_patch for pose_bin in control), Counter())
    n = control_counts.total()
    if n <= own:
        return None
    times: Counter[str] = Counter()
    for classes, count in control_counts.items():
        times.update(dict.fromkeys(classes, count))
    once = {name for name, count in times.items() if count == 1 and n > 1}  # gone if its frame is the one left out
    hits, counts = 0.0, sum((pose_bin.at_patch for pose_bin in bins), Counter[frozenset[str]]())
    for classes, count in counts.items():
        if classes - times.keys():
            hits += count
        elif own:
            hits += bool(classes & once)
        else:
            hits += count * sum(1 for control_classes in control_counts if classes & once & control_classes) / n
    return hits, counts.total()


def _spread(shares: Sequence[float], correlation: Correlation) -> Spread:
    return Spread(
        correlation.icc,
        correlation.effective_n,
        clip_t(shares),
        clip_bootstrap(shares),
        clips_needed(MARGIN, rate=math.fsum(shares) / len(shares), correlation=clip_correlation(shares)),
    )


def _mean(means: Iterable[_Mean]) -> float | None:
    """Average over all frames, not over the means of clips."""
    parts = [(mean.total, mean.n) for mean in means]
    n = sum(count for _, count in parts)
    return sum(total for total, _ in parts) / n if n else None
