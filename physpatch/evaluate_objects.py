"""What a patch on an object does to a detector, beside the bare object and harmless patches at the same poses."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calibration.errors import InputError
from physpatch.artifact import Patch
from physpatch.config import EotConfig
from physpatch.data import Photographs
from physpatch.evaluate import CONDITIONS, Evaluation, Outcomes, rate_over, scenes
from physpatch.patch import cells_from_patch
from physpatch.placing import Placing, object_class
from physpatch.stats import Rate
from physpatch.victims.base import DETECTION_THRESHOLD, Detection, Detector, Victim, box_overlap, untouched

_MATCHED = 0.5  # IoU from which a box finds the object, as in COCO's mAP50
_LEAST_SCORE = 0.01  # what mAP still counts
_SIZES_PX = (0.0, 24.0, 48.0, 96.0, 192.0, float("inf"))  # the object's side in the network's input


@dataclass(frozen=True)
class ObjectEvaluation(Evaluation):
    """Counts on one detector. "Right" is: a box of the object's class on the object, IoU 0.5, at the detector's threshold.

    ``untargeted`` is its absence, where it is there with the grey control; of that, ``hidden`` is no box on the object at
    all and ``relabelled`` a box of other classes alone. ``targeted`` is a box of the target class there, and none of its own.

    Attributes:
        object: the class.
        hidden, relabelled: by condition.
        false_boxes: how many boxes an image elsewhere, by condition, the bare object's among them.
        mean_precision: COCO's mAP at IoU 0.5 and over 0.5 to 0.95 of the object's class, by condition.
        by_size: object's side in pixels, from and below; views where it is found with grey; ``untargeted`` of the patch there.
    """

    object: str = ""
    hidden: dict[str, Rate] = field(default_factory=dict)
    relabelled: dict[str, Rate] = field(default_factory=dict)
    false_boxes: dict[str, float] = field(default_factory=dict)
    mean_precision: dict[str, dict[str, float]] = field(default_factory=dict)
    by_size: tuple[tuple[float, float, Rate], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``physpatch evaluate --json``."""
        return super().to_dict() | {
            "object": self.object,
            "hidden": {name: rate.to_dict() for name, rate in self.hidden.items()},
            "relabelled": {name: rate.to_dict() for name, rate in self.relabelled.items()},
            "false_boxes_per_image": self.false_boxes,
            "mean_precision": self.mean_precision,
            "by_size_px": [
                {"from": least, "below": None if most == float("inf") else most, "success": rate.to_dict()}
                for least, most, rate in self.by_size
            ],
        }


@dataclass
class _Seen:
    """What was found in the views of one condition."""

    right: list[bool] = field(default_factory=list)
    elsewise: list[bool] = field(default_factory=list)  # a box of another class on the object
    aimed: list[bool] = field(default_factory=list)  # one of the target class
    false_boxes: int = 0


def evaluate_on_object(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    placing: Placing,
    *,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ObjectEvaluation:
    """Measure a patch on its object in held-out photographs at random poses.

    Args:
        victim: a detector.
        photographs: without such an object, at the network's input size.
        patch: what is measured.
        placing: with a carrier.
        eot, seed, poses, progress: as for :func:`physpatch.evaluate.evaluate_patch`.

    Raises:
        InputError: a classifier, or one that does not know the object.
    """
    from torchmetrics.detection import MeanAveragePrecision

    if placing.carrier is None or not isinstance(victim, Detector):
        raise InputError(f"{victim.name} is no detector, or the patch lies on no object")
    index = object_class(victim, placing.carrier.name)
    target = None if patch.target is None else victim.target_index(patch.target)
    shown = {"clean": None, **{c: patch if c == "patch" else patch.control(c) for c in CONDITIONS}}
    seen: dict[str, _Seen] = defaultdict(_Seen)
    precision = {name: MeanAveragePrecision() for name in shown}
    sides: list[float] = []
    with untouched(victim), torch.no_grad():
        for scene in scenes(victim, photographs, placing, eot or EotConfig(), seed, poses):
            boxes = placing.boxes(scene.params, scene.images.shape[-1])
            sides += (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt().tolist()
            for name, one in shown.items():
                cells = None if one is None else cells_from_patch(one, scene.images.device)
                found = victim.find(placing.compose(scene.images, cells, scene.params), _LEAST_SCORE)
                precision[name].update(*_for_metric(found, boxes, index))
                for view, box in zip(found, boxes, strict=True):
                    _note(seen[name], view, box, index, target)
            progress(len(sides), len(photographs) * poses)
    return _count(victim, index, target, patch, seen, precision, sides, poses)


def _note(seen: _Seen, found: list[Detection], box: Tensor, index: int, target: int | None) -> None:
    sure = [one for one in found if one.score >= DETECTION_THRESHOLD]
    there = [bool(box_overlap(torch.tensor(one.xyxy), box) >= _MATCHED) for one in sure]
    classes = {one.index for one, on_it in zip(sure, there, strict=True) if on_it}
    seen.right.append(index in classes)
    seen.elsewise.append(bool(classes - {index}))
    seen.aimed.append(target in classes)
    seen.false_boxes += len(there) - sum(there)


def _for_metric(
    found: list[list[Detection]], boxes: Tensor, index: int
) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """What torchmetrics takes, of the object's class alone: the photographs may show other things."""
    mine = [[one for one in view if one.index == index] for view in found]
    answers = [
        {
            "boxes": torch.tensor([one.xyxy for one in view]).reshape(-1, 4),
            "scores": torch.tensor([one.score for one in view]),
            "labels": torch.zeros(len(view), dtype=torch.long),
        }
        for view in mine
    ]
    return answers, [{"boxes": box[None].cpu(), "labels": torch.zeros(1, dtype=torch.long)} for box in boxes]


def _count(
    victim: Victim,
    index: int,
    target: int | None,
    patch: Patch,
    seen: dict[str, _Seen],
    precision: dict[str, Any],
    sides: list[float],
    poses: int,
) -> ObjectEvaluation:
    right = {name: torch.tensor(one.right) for name, one in seen.items()}
    elsewise = {name: torch.tensor(one.elsewise) for name, one in seen.items()}
    aimed = {name: torch.tensor(one.aimed) & ~right[name] for name, one in seen.items()}
    fair = right["grey"]
    computed = {name: metric.compute() for name, metric in precision.items()}
    return ObjectEvaluation(
        model=victim.name,
        n=len(fair) // poses,
        poses=poses,
        clean_accuracy=float(right["clean"].double().mean()),
        accuracy={c: float(right[c].double().mean()) for c in CONDITIONS},
        targeted={
            c: Rate(None, None, 0) if target is None else rate_over(aimed[c], fair & ~aimed["grey"], poses)
            for c in CONDITIONS
        },
        untargeted={c: rate_over(~right[c], fair, poses) for c in CONDITIONS},
        target=patch.target,
        outcomes=Outcomes(
            fair, None if target is None else aimed["patch"], ~right["patch"], None if target is None else fair
        ),
        object=victim.categories[index],
        hidden={c: rate_over(~right[c] & ~elsewise[c], fair, poses) for c in CONDITIONS},
        relabelled={c: rate_over(~right[c] & elsewise[c], fair, poses) for c in CONDITIONS},
        false_boxes={name: one.false_boxes / len(fair) for name, one in seen.items()},
        mean_precision={
            name: {"map50": float(values["map_50"]), "map": float(values["map"])} for name, values in computed.items()
        },
        by_size=tuple(_by_size(torch.tensor(sides), ~right["patch"], fair, poses)),
    )


def _by_size(sides: Tensor, success: Tensor, fair: Tensor, poses: int) -> Iterator[tuple[float, float, Rate]]:
    for least, most in np.lib.stride_tricks.sliding_window_view(_SIZES_PX, 2).tolist():
        here = (sides >= least) & (sides < most)
        if here.any():
            yield least, most, rate_over(success, fair & here, poses)
