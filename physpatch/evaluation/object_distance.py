"""What a patch does to all objects of a class in a view, by their distance from it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from calibration.common.success import DETECTION_THRESHOLD, Edges, FoundBox, is_on
from physpatch.evaluation.classification import CONDITIONS, rate_over
from physpatch.evaluation.precision import GAP_EDGES, Matched, Precision, average_precision, gap_in_sides, match_boxes
from physpatch.records.evaluation_record import ObjectDistance, PrecisionValue
from physpatch.stats.rates import Rate


@dataclass(frozen=True)
class SeenObjects:
    """One view of one condition.

    Attributes:
        boxes: of the class, of any confidence.
        objects: all of the class that are there.
        patch: the upright box around the patch.
        photograph: its number.
        least: the confidence at which a box counts.
    """

    boxes: Sequence[FoundBox]
    objects: Sequence[Edges]
    patch: Edges
    photograph: int
    least: float = DETECTION_THRESHOLD

    @property
    def missed(self) -> list[bool]:
        """Return for each object whether no box of enough confidence is on it."""
        sure = [box for box in self.boxes if box.score >= self.least]
        return [not any(is_on(box.xyxy, place) for box in sure) for place in self.objects]


@dataclass(frozen=True)
class DistanceResult:
    """The results on the objects whose distance from the patch, in its sides, lies between two bounds.

    Attributes:
        low, high: the bounds; ``high`` is infinite without one.
        missed: rates of missed objects among those found with the grey control, by condition.
        precision: average precision by condition and without a patch.
    """

    low: float
    high: float
    missed: Mapping[str, Rate]
    precision: Mapping[str, Precision]

    def to_record(self) -> ObjectDistance:
        """Convert the results to a record, as files contain it."""
        return ObjectDistance(
            from_sides=self.low,
            below_sides=None if math.isinf(self.high) else self.high,
            missed=dict(self.missed),
            precision={
                name: PrecisionValue(ap50=value.ap, ci95=value.ci95, objects=value.objects)
                for name, value in self.precision.items()
            },
        )


def by_distance(views: Mapping[str, Sequence[SeenObjects]]) -> Iterator[DistanceResult]:
    """Compute the results by distance, from the same views of every condition and of none, ``clean``."""
    grey = views["grey"]
    gaps = torch.tensor([gap_in_sides(place, view.patch) for view in grey for place in view.objects])
    photographs = torch.tensor([view.photograph for view in grey for _ in view.objects])
    missed = {
        name: torch.tensor([lost for view in condition_views for lost in view.missed])
        for name, condition_views in views.items()
    }
    for low, high in pairwise((0.0, *GAP_EDGES, math.inf)):
        in_range = (gaps >= low) & (gaps < high)
        if in_range.any():
            yield DistanceResult(
                low,
                high,
                {name: rate_over(missed[name], in_range & ~missed["grey"], photographs) for name in CONDITIONS},
                {name: _precision(condition_views, low, high) for name, condition_views in views.items()},
            )


def _precision(views: Sequence[SeenObjects], low: float, high: float) -> Precision:
    def match(view: SeenObjects) -> Matched:
        return match_boxes(view.boxes, view.objects, lambda place: low <= gap_in_sides(place, view.patch) < high)

    return average_precision([match(view) for view in views], [view.photograph for view in views])
