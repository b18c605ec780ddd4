"""Success by what varies between frames: distance, angle, size, share of the view, and the confidence that is demanded.

Each rate is over clips as those of :class:`captures.results.aggregation.Tally`: of the views that are right with the grey
control, and beside it of all views. Only measures that a frame's own row determines have curves.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from calibration.common.success import MEASURES, FoundBox, around
from captures.results.aggregation import CONTROL, Unit
from captures.results.recorded_session import RecordedSession
from captures.results.sequence_summary import DISTANCE_EDGES_M
from captures.results.success import boxes_of, frame_success, on_object, place_of
from captures.sources.frame import NO_SHEET
from captures.storage import FrameRow
from physpatch.evaluation.precision import GAP_EDGES, gap_in_sides
from physpatch.stats.clustered import Observation, averaged
from physpatch.stats.intervals import Difference, Rate

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(20))
THRESHOLD = "threshold"
_LEAST_BINS = 2


@dataclass(frozen=True)
class Factor:
    """Something that varies between frames.

    Attributes:
        name: as in files, with its unit.
        title: after "by".
        words: on an axis, with its unit.
        edges: of its bins: bin i extends from edge i - 1, or 0, to edge i.
        ratios: whether bins are alike in ratio rather than in difference.
    """

    name: str
    title: str
    words: str
    edges: tuple[float, ...]
    ratios: bool = True

    def bin(self, value: float) -> int:
        """Return the number of the bin of a value."""
        return sum(value >= edge for edge in self.edges)

    def bounds(self, place: int) -> tuple[float, float | None]:
        """Return the bounds of a bin; the last has no upper one."""
        return (0.0, *self.edges)[place], (*self.edges, None)[place]


DISTANCE = Factor("distance_m", "distance", "distance, m", DISTANCE_EDGES_M)
ANGLE = Factor("angle_deg", "angle", "degrees away from facing the camera", (10, 20, 30, 40, 50, 60, 70), ratios=False)
CELL_SIZE = Factor("px_per_cell", "size of a cell", "pixels per cell", (2, 4, 6, 8, 12, 16, 24))
VIEW_SHARE = Factor(
    "view_share", "share of the view", "patch, % of what the model sees", (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
)

OBJECT_DISTANCE = Factor(
    "object_distance",
    "distance of the object from the patch",
    "distance, in sides of the patch",
    GAP_EDGES,
    ratios=False,
)


@dataclass(frozen=True)
class CurvePoint:
    """Success in one bin, or at one threshold.

    Attributes:
        low, high: the bin's bounds; ``high`` is None without one. Of a threshold, both are the threshold.
        right: of the views that are right with the grey control; as ``every`` where that is unknown.
        every: of all views.
        frames: how many frames ``right`` is of.
        every_frames: how many ``every`` is of.
    """

    low: float
    high: float | None
    right: Rate
    every: Rate
    frames: int
    every_frames: int


@dataclass(frozen=True)
class Curve:
    """Success of one sheet along a factor, or by threshold.

    Attributes:
        model, measure, condition: whose success, of ``MEASURES``, and with which sheet.
        by: name of the factor, or ``threshold``.
        points: in order; bins without frames are left out.
    """

    model: str
    measure: str
    condition: str
    by: str
    points: tuple[CurvePoint, ...]

    @property
    def comparable(self) -> tuple[CurvePoint, ...]:
        """Return the points of several clips; what one clip shows says nothing about others. All, if none has several."""
        return tuple(point for point in self.points if point.every.ci95 is not None) or self.points


@dataclass(frozen=True)
class _View:
    """A frame that can be judged, its clip and unit, and a detector's boxes."""

    row: FrameRow
    clip: Hashable
    unit: Unit
    happened: bool
    boxes: Sequence[FoundBox] | None


def curve_measures(session: RecordedSession, model: str) -> list[str]:
    """List the measures that have curves for a model, at most two."""
    judged = {name for row in session.rows if row.model == model for name in frame_success(row, session.target)}
    return [measure for measure in MEASURES if measure in judged][:2]


def curves_of(session: RecordedSession, model: str, measure: str) -> dict[str, list[Curve]]:
    """Compute success of each sheet along each factor and by threshold, by the factor's name and ``threshold``.

    A factor is left out unless frames of the patch fall into two bins or more. By threshold, only answers of at least some
    confidence count: a classifier's answer below it is no answer, so neither the target nor a wrong class. A detector's box
    below it does not count, so an object is lost more easily; boxes below its own threshold are not recorded. The views
    are those that are right with the grey control at any confidence, and at the detector's own threshold.
    """
    views = _views(session, model, measure)
    along = {factor.name: _along(session, factor, model, measure, views) for factor in FACTORS}
    along[THRESHOLD] = _by_threshold(session, model, measure, views)
    return {name: curves for name, curves in along.items() if curves}


def every_view(session: RecordedSession, model: str, measure: str) -> dict[str, Rate]:
    """Estimate success in all views with each sheet, whether or not they are right with the grey control."""
    return {
        condition: rates[1]
        for condition, views in _views(session, model, measure).items()
        if (rates := _rates(session, views, measure)) is not None
    }


def accuracy_drop(session: RecordedSession, model: str) -> Difference:
    """Estimate how many more of all views are wrong with the patch than with the grey control, paired by unit."""
    views = _views(session, model, "wrong")
    patch, control = (
        averaged((view.clip, view.unit, view.happened) for view in views.get(condition, ()))
        for condition in ("patch", CONTROL)
    )
    return session.tally.difference_over(patch, control)


def _views(session: RecordedSession, model: str, measure: str) -> dict[str, list[_View]]:
    """List the frames of each sheet that can be judged, by sheet; none where the tally counts none either."""
    tally = session.tally
    views: dict[str, list[_View]] = {c: [] for c in tally.conditions(model) if c != NO_SHEET}
    if not tally.can_be_lost(model, measure):
        return views
    for row in session.rows:
        if row.model == model and row.condition in views:
            happened, unit = frame_success(row, session.target).get(measure), tally.unit(row)
            if happened is not None and unit is not None:
                boxes = None if row.boxes is None else boxes_of(row)
                views[row.condition].append(_View(row, tally.clip(row), unit, happened, boxes))
    return views


def _along(
    session: RecordedSession, factor: Factor, model: str, measure: str, views: Mapping[str, Sequence[_View]]
) -> list[Curve]:
    curves = []
    for condition, sheet_views in views.items():
        bins: dict[int, list[_View]] = defaultdict(list)
        for view in sheet_views:
            value = _VALUES[factor.name](session, view.row)
            if value is not None:
                bins[factor.bin(value)].append(view)
        points = [
            _point(factor.bounds(place), rates)
            for place in sorted(bins)
            if (rates := _rates(session, bins[place], measure)) is not None
        ]
        curves.append(Curve(model, measure, condition, factor.name, tuple(points)))
    varies = any(curve.condition == "patch" and len(curve.comparable) >= _LEAST_BINS for curve in curves)
    return [curve for curve in curves if curve.points] if varies else []


def _by_threshold(
    session: RecordedSession, model: str, measure: str, views: Mapping[str, Sequence[_View]]
) -> list[Curve]:
    curves = []
    for condition, sheet_views in views.items():
        least = session.threshold(model) if any(view.boxes is not None for view in sheet_views) else 0.0
        points = [
            _point((threshold, threshold), rates)
            for threshold in THRESHOLDS
            if threshold >= least
            and (rates := _rates(session, sheet_views, measure, threshold)) is not None
            and rates[0].rate is not None  # or nothing of it is drawn
        ]
        if points:
            curves.append(Curve(model, measure, condition, THRESHOLD, tuple(points)))
    return curves if any(curve.condition == "patch" for curve in curves) else []


def _point(bounds: tuple[float, float | None], rates: tuple[Rate, Rate, int, int]) -> CurvePoint:
    (low, high), (right, every, frames, every_frames) = bounds, rates
    return CurvePoint(low, high, right, every, frames, every_frames)


def _rates(
    session: RecordedSession, views: Sequence[_View], measure: str, threshold: float = 0.0
) -> tuple[Rate, Rate, int, int] | None:
    """Estimate success in the views that are right with grey, and in all, and count the frames of both; None without any."""
    if not views:
        return None
    tally, first = session.tally, views[0].row
    every = averaged((view.clip, view.unit, _success(view, measure, threshold)) for view in views)
    stricter = first.boxes is not None and threshold > session.threshold(
        first.model
    )  # true of frames that were right, too
    again = {} if stricter else tally.again(first.model, measure, first.condition)
    weights = tally.weights(first.model, measure)
    right = _weighted(every, weights, again)
    counted = len(views) if weights is None else sum(weights.get(view.unit, 0.0) > 0 for view in views)
    return tally.rate_over(right), tally.rate_over(every), counted, len(views)


def _weighted(
    every: Sequence[Observation], weights: Mapping[Unit, float] | None, again: Mapping[Unit, float]
) -> Sequence[Observation]:
    if weights is None:
        return every
    return [
        replace(o, share=min(1.0, again.get(o.cell, 1.0) * o.share), weight=weights.get(o.cell, 0.0))
        for o in every
        if weights.get(o.cell, 0.0) > 0
    ]


def _success(view: _View, measure: str, threshold: float) -> bool:
    """Tell whether a measure is true of a frame if only answers of that confidence count."""
    row = view.row
    if threshold == 0.0:
        return view.happened
    if view.boxes is None or measure == "target":
        score = row.target_score if measure == "target" else row.top1_score
        return view.happened and (score or 0.0) >= threshold
    sure = [box for box in view.boxes if box.score >= threshold]
    return on_object(sure, row.label or "", place_of(row))[measure]


def _distance_m(_: RecordedSession, row: FrameRow) -> float | None:
    return row.true_distance_m if row.distance_m is None else row.distance_m


def _angle_deg(_: RecordedSession, row: FrameRow) -> float | None:
    if row.yaw_deg is None or row.pitch_deg is None:
        return None
    return math.degrees(math.acos(math.cos(math.radians(row.yaw_deg)) * math.cos(math.radians(row.pitch_deg))))


def _px_per_cell(_: RecordedSession, row: FrameRow) -> float | None:
    return row.px_per_cell


def _view_share(session: RecordedSession, row: FrameRow) -> float | None:
    """Return the patch's share of what the model sees: of a classifier's region, or of a detector's frame."""
    size = row.region_px[2:] if row.region_px else session.frame_size
    return None if row.patch_px is None or size is None else row.patch_px / (size[0] * size[1])


def object_distance(session: RecordedSession, row: FrameRow) -> float | None:
    """Compute how far a detector's object is from the patch, in the patch's sides; None if either is unknown."""
    place = None if row.boxes is None or row.patch_xy is None else session.object_place(row)
    return None if place is None else gap_in_sides(place, around(json.loads(row.patch_xy or "[]")))


FACTORS = (DISTANCE, ANGLE, CELL_SIZE, VIEW_SHARE, OBJECT_DISTANCE)
_VALUES: dict[str, Callable[[RecordedSession, FrameRow], float | None]] = {
    DISTANCE.name: _distance_m,
    ANGLE.name: _angle_deg,
    CELL_SIZE.name: _px_per_cell,
    VIEW_SHARE.name: _view_share,
    OBJECT_DISTANCE.name: object_distance,
}
