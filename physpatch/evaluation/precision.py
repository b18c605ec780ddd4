"""Average precision of one class for a part of its objects, such as those near a patch, with an interval.

It is COCO's at an IoU of 0.5: precision as it can be had at 101 levels of recall, averaged. As in COCO's evaluation by area,
boxes on objects outside of the part are left out, and other boxes count as false where they lie in the part themselves.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.common.success import ON_OBJECT, Edges, FoundBox, overlap
from physpatch.stats.rates import Interval

GAP_EDGES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of bins by an object's distance from the patch, in the patch's sides
_LEVELS = np.linspace(0, 1, 101)
_RESAMPLES = 500


@dataclass(frozen=True)
class Matched:
    """The boxes of one view that count: their confidences, and which are on an object; and the number of objects."""

    scores: tuple[float, ...]
    hits: tuple[bool, ...]
    objects: int


@dataclass(frozen=True)
class Precision:
    """Average precision with its 95 % interval.

    Attributes:
        ap: in [0, 1]; None without objects.
        ci95: by the bootstrap over units; None for fewer than two.
        objects: how many there are, over all views.
    """

    ap: float | None
    ci95: Interval | None
    objects: int


def match_boxes(
    boxes: Sequence[FoundBox], objects: Sequence[Edges], counted: Callable[[Edges], bool] = lambda place: True
) -> Matched:
    """Match the boxes of one class with its objects in one view, the most confident first.

    Args:
        boxes: of the class.
        objects: all that are in the view.
        counted: whether an object, or a box that is on none, belongs to the part.
    """
    free, scores, hits = list(objects), [], []
    for box in sorted(boxes, key=lambda box: -box.score):
        on = [place for place in free if overlap(box.xyxy, place) >= ON_OBJECT]
        best = max(on, key=lambda place: (counted(place), overlap(box.xyxy, place)), default=None)
        if best is not None:
            free.remove(best)
        if counted(box.xyxy if best is None else best):
            scores.append(box.score)
            hits.append(best is not None)
    return Matched(tuple(scores), tuple(hits), sum(map(counted, objects)))


def average_precision(views: Sequence[Matched], units: Sequence[Hashable], *, seed: int = 0) -> Precision:
    """Compute the average precision over views, with the percentile bootstrap over units (Davison and Hinkley 1997, 3.8).

    Args:
        views: the boxes and objects of each.
        units: the photograph or clip of each view.
        seed: of the bootstrap.
    """
    objects = sum(view.objects for view in views)
    if not objects:
        return Precision(None, None, 0)
    names = {unit: i for i, unit in enumerate(dict.fromkeys(units))}
    of_view = [names[unit] for unit in units]
    scores = np.array([score for view in views for score in view.scores])
    hits = np.array([hit for view in views for hit in view.hits], dtype=float)
    of_box = np.array([unit for unit, view in zip(of_view, views, strict=True) for _ in view.scores], dtype=int)
    by_unit = np.bincount(of_view, [view.objects for view in views], minlength=len(names)).astype(float)
    order = np.argsort(-scores, kind="stable")
    hits, of_box = hits[order], of_box[order]
    ap = _average(hits, of_box, by_unit, np.ones(len(names)))
    if len(names) < 2:
        return Precision(ap, None, objects)
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)) for _ in range(_RESAMPLES))
    again = [_average(hits, of_box, by_unit, times.astype(float)) for times in drawn]
    low, high = np.nanquantile(again, (0.025, 0.975))
    return Precision(ap, (float(low), float(high)), objects)


def gap_in_sides(place: Edges, patch: Edges) -> float:
    """Compute how far a box is from the patch's upright box, from edge to edge, in the patch's sides; 0 if they touch."""
    across = max(place[0] - patch[2], patch[0] - place[2], 0.0)
    down = max(place[1] - patch[3], patch[1] - place[3], 0.0)
    side = math.sqrt((patch[2] - patch[0]) * (patch[3] - patch[1]))
    return math.hypot(across, down) / side if side else 0.0


def _average(
    hits: NDArray[np.float64], of_box: NDArray[np.int_], objects: NDArray[np.float64], times: NDArray[np.float64]
) -> float:
    """Compute the average precision if each unit counts so many times; boxes are in order of confidence."""
    total = float(objects @ times)
    if not total:
        return math.nan
    counted = times[of_box]
    hit_counts, box_counts = np.cumsum(hits * counted), np.cumsum(counted)
    precision = np.divide(hit_counts, box_counts, out=np.zeros_like(hit_counts), where=box_counts > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(hit_counts / total, _LEVELS - 1e-9)
    return float(np.append(best, 0.0)[at].mean())
