"""Average precision of a part of the objects, beside torchmetrics' COCO evaluation."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torchmetrics.detection import MeanAveragePrecision

from calibration.common.success import FoundBox
from physpatch.evaluation.object_distance import SeenObjects, by_distance
from physpatch.evaluation.precision import Matched, average_precision, gap_in_sides, match_boxes

PATCH = (0.0, 0.0, 10.0, 10.0)


def for_metric(boxes: list, scores: list[float] | None = None) -> dict[str, torch.Tensor]:
    told = {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": torch.zeros(len(boxes), dtype=torch.long)}
    return told if scores is None else told | {"scores": torch.tensor(scores)}


@pytest.mark.parametrize("seed", range(4))
def test_it_is_cocos(seed: int) -> None:
    rng, metric, views = np.random.default_rng(seed), MeanAveragePrecision(), []
    for _ in range(20):
        corners, sizes = rng.uniform(0, 80, (rng.integers(0, 4), 2)), rng.uniform(10, 30, 2)
        objects = np.hstack([corners, corners + sizes])
        near = objects.repeat(rng.integers(0, 3, len(objects)), axis=0)
        found = np.vstack([near + rng.normal(0, 2.5, near.shape), np.tile((70, 70, 90, 90), (rng.integers(0, 2), 1))])
        boxes = [
            FoundBox("c", float(score), tuple(box)) for box, score in zip(found, rng.random(len(found)), strict=True)
        ]
        views.append(match_boxes(boxes, objects.tolist()))
        metric.update(
            [for_metric([box.xyxy for box in boxes], [box.score for box in boxes])], [for_metric(objects.tolist())]
        )
    told = average_precision(views, range(20))
    assert told.ap == pytest.approx(float(metric.compute()["map_50"]), abs=1e-5)
    assert told.ci95 is not None and told.ap is not None and told.ci95[0] <= told.ap <= told.ci95[1]
    assert average_precision(views, range(20)) == told


def test_boxes_elsewhere_count_only_where_they_lie() -> None:
    near, far = (20.0, 0.0, 30.0, 10.0), (100.0, 0.0, 110.0, 10.0)
    boxes = [FoundBox("c", 0.9, near), FoundBox("c", 0.8, far), FoundBox("c", 0.7, (200.0, 0.0, 210.0, 10.0))]
    assert match_boxes(boxes, [near, far]) == Matched((0.9, 0.8, 0.7), (True, True, False), 2)
    assert match_boxes(boxes, [near, far], lambda place: place[0] < 50) == Matched((0.9,), (True,), 1)
    assert match_boxes(boxes, [near, far], lambda place: place[0] > 150) == Matched((0.7,), (False,), 0)


def test_one_unit_has_no_interval_and_no_objects_no_precision() -> None:
    assert average_precision([Matched((0.9,), (True,), 1)], ["a"]).ci95 is None
    assert average_precision([Matched((0.9,), (False,), 0)], ["a"]).ap is None
    assert average_precision([Matched((), (), 2)] * 3, "abc").ap == 0


@pytest.mark.parametrize(
    ("place", "gap"),
    [((5, 5, 20, 20), 0), ((10, 0, 20, 10), 0), ((20, 0, 30, 10), 1), ((13, 14, 20, 20), 0.5), ((-15, 0, -5, 10), 0.5)],
)
def test_distances_are_from_edge_to_edge_in_the_patchs_sides(place: tuple, gap: float) -> None:
    assert gap_in_sides(place, PATCH) == pytest.approx(gap)


def test_the_side_of_an_oblong_patch_is_that_of_a_square_of_its_area() -> None:
    assert gap_in_sides((30, 0, 40, 5), (0, 0, 20, 5)) == pytest.approx(1)


def test_the_interval_holds_95_percent_of_what_other_photographs_would_show() -> None:
    """An object in each of 40 photographs, found in a half of them: the precision is the share found."""
    views = [Matched((0.9,), (True,), 1), Matched((), (), 1)] * 20
    told = average_precision(views, range(40))
    assert told.ap == pytest.approx(0.5, abs=0.01)
    assert told.ci95 == pytest.approx(np.array(binom.ppf((0.025, 0.975), 40, 0.5)) / 40, abs=0.015)


def test_an_object_at_the_edge_of_two_distances_is_of_the_farther_one_and_one_that_touches_counts() -> None:
    objects = [(10.0, 0.0, 20.0, 10.0), (-15.0, 0.0, -5.0, 10.0)]
    seen = {name: [SeenObjects([], objects, PATCH, 0)] for name in ("clean", "grey", "random", "shuffled", "patch")}
    assert [part.low for part in by_distance(seen)] == [0, 0.5]


def test_a_patch_that_hides_its_neighbour_is_told_from_the_far_object() -> None:
    near, far = (11.0, 0.0, 21.0, 10.0), (60.0, 0.0, 70.0, 10.0)
    both, one = [FoundBox("c", 0.9, near), FoundBox("c", 0.8, far)], [FoundBox("c", 0.8, far)]
    seen = {name: [SeenObjects(both, [near, far], PATCH, i) for i in range(8)] for name in ("clean", "grey", "random")}
    seen |= {name: [SeenObjects(one, [near, far], PATCH, i) for i in range(8)] for name in ("patch", "shuffled")}
    close, distant = by_distance(seen)
    assert (close.low, close.high) == (0, 0.25) and (distant.low, distant.high) == (4, float("inf"))
    assert (close.missed["patch"].rate, close.missed["random"].rate, distant.missed["patch"].rate) == (1, 0, 0)
    assert (close.precision["patch"].ap, close.precision["grey"].ap, distant.precision["patch"].ap) == (0, 1, 1)
    assert close.to_record().to_dict()["below"] == 0.25 and distant.to_record().to_dict()["below"] is None
