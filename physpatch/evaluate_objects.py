"""What a patch on an object does to a detector, beside the bare object and harmless patches at the same poses."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
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
from physpatch.placing import Region, object_class
from physpatch.stats import Rate
from physpatch.victims.base import (
    DETECTION_THRESHOLD,
    Detection,
    Detector,
    Victim,
    box_overlap,
    is_centred,
    untouched,
)

_MATCHED = 0.5  # IoU from which a box finds the object, as in COCO's mAP50
_LEAST_SCORE = 0.01  # what mAP still counts
_SIZES_PX = (0.0, 24.0, 48.0, 96.0, 192.0, float("inf"))  # the object's side in the network's input


@dataclass(frozen=True)
class ObjectEvaluation(Evaluation):
    """Counts on one detector. "Right" is: a box of the object's class on the object, IoU 0.5, at the detector's threshold.

    With the scope ``image`` it is one anywhere. ``untargeted`` is its absence, where it is there with the grey control; of
    that, ``hidden`` is no box on the object at all and ``relabelled`` a box of other classes alone. ``targeted`` is a box of
    the target class there and none of its own, or, with the goal ``appear``, one whose middle is on the patch's box.

    Attributes:
        object: the class.
        hidden, relabelled: by condition.
        false_boxes: how many boxes an image, by condition, that are not on the object, and not there without a patch.
        mean_precision: COCO's mAP at IoU 0.5 and over 0.5 to 0.95 of the object's class, by condition and without a patch.
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

    def note(
        self,
        found: list[Detection],
        before: list[Detection],
        on: Tensor,
        at: Tensor,
        index: int,
        target: int | None,
        region: Region,
    ) -> None:
        """One view: what was found, and what without a patch; the boxes (4,) of the object and of the patch."""
        sure, known = ([one for one in some if one.score >= DETECTION_THRESHOLD] for some in (found, before))
        classes = {one.index for one in sure if _overlap(one, on) >= _MATCHED}
        anywhere = {one.index for one in sure}
        self.elsewise.append(bool(classes - {index}))
        if region.goal == "appear":
            self.aimed.append(target in {one.index for one in sure if is_centred(torch.tensor(one.xyxy), at.cpu())})
        else:
            self.aimed.append(target in classes)
        self.right.append(index in classes)
        if region.kind == "image":
            self.right[-1], self.aimed[-1] = index in anywhere, target in anywhere
        self.false_boxes += sum(
            _overlap(one, on) < _MATCHED and not any(_same(one, other) for other in known) for one in sure
        )


def _overlap(found: Detection, box: Tensor) -> float:
    return float(box_overlap(torch.tensor(found.xyxy), box.cpu()))


def _same(one: Detection, other: Detection) -> bool:
    return one.index == other.index and _overlap(one, torch.tensor(other.xyxy)) >= _MATCHED


def evaluate_on_object(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    region: Region,
    *,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ObjectEvaluation:
    """Measure a patch on its object in held-out photographs at random poses.

    Args:
        victim: a detector.
        photographs: at the network's input size; with the objects labelled, or, where a sign is drawn into them, without such.
        patch: what is measured.
        region: on an object.
        eot, seed, poses, progress: as for :func:`physpatch.evaluate.evaluate_patch`.

    Raises:
        InputError: a classifier, or one that does not know the object.
    """
    from torchmetrics.detection import MeanAveragePrecision

    placing = region.placing
    if placing.object is None or not isinstance(victim, Detector):
        raise InputError(f"{victim.name} is no detector, or the patch lies on no object")
    index = object_class(victim, placing.object)
    target = None if patch.target is None else victim.target_index(patch.target)
    shown = {"clean": None, **{c: patch if c == "patch" else patch.control(c) for c in CONDITIONS}}
    seen: dict[str, _Seen] = defaultdict(_Seen)
    precision = {name: MeanAveragePrecision() for name in shown}
    sides: list[float] = []
    with untouched(victim), torch.no_grad():
        for scene in scenes(victim, photographs, placing, eot or EotConfig(), seed, poses):
            size = scene.images.shape[-1]
            own, at_patch = scene.objects, placing.patch_boxes(scene.params, size)
            assert own is not None
            objects = scene.boxes or own[:, None].unbind()
            sides += (own[:, 2:] - own[:, :2]).prod(dim=1).sqrt().tolist()
            bare: list[list[Detection]] = []
            for name, one in shown.items():
                found = victim.find(scene.bare if one is None else scene.showing(one), _LEAST_SCORE)
                bare = bare or found
                precision[name].update(*_for_metric(found, objects, index))
                for view, before, on, at in zip(found, bare, own, at_patch, strict=True):
                    seen[name].note(view, before, on, at, index, target, region)
            progress(len(sides), len(photographs) * poses)
    units = photographs.units.repeat(poses)
    return _count(victim, index, target, patch, region, seen, precision, sides, units, len(photographs))


def _for_metric(
    found: list[list[Detection]], objects: Sequence[Tensor], index: int
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
    return answers, [{"boxes": own.cpu(), "labels": torch.zeros(len(own), dtype=torch.long)} for own in objects]


def _count(
    victim: Victim,
    index: int,
    target: int | None,
    patch: Patch,
    region: Region,
    seen: dict[str, _Seen],
    precision: dict[str, Any],
    sides: list[float],
    units: Tensor,
    n: int,
) -> ObjectEvaluation:
    right = {name: torch.tensor(one.right) for name, one in seen.items()}
    elsewise = {name: torch.tensor(one.elsewise) for name, one in seen.items()}
    aimed = {name: torch.tensor(one.aimed) for name, one in seen.items()}
    if region.goal != "appear":
        aimed = {name: reached & ~right[name] for name, reached in aimed.items()}
    fair = right["grey"]
    computed = {name: metric.compute() for name, metric in precision.items()}
    return ObjectEvaluation(
        model=victim.name,
        n=n,
        poses=len(fair) // n,
        clean_accuracy=float(right["clean"].double().mean()),
        accuracy={c: float(right[c].double().mean()) for c in CONDITIONS},
        targeted={
            c: Rate(None, None, 0) if target is None else rate_over(aimed[c], fair & ~aimed["grey"], units)
            for c in CONDITIONS
        },
        untargeted={c: rate_over(~right[c], fair, units) for c in CONDITIONS},
        target=patch.target,
        outcomes=Outcomes(
            fair, None if target is None else aimed["patch"], ~right["patch"], None if target is None else fair, units
        ),
        object=victim.categories[index],
        hidden={c: rate_over(~right[c] & ~elsewise[c], fair, units) for c in CONDITIONS},
        relabelled={c: rate_over(~right[c] & elsewise[c], fair, units) for c in CONDITIONS},
        false_boxes={c: seen[c].false_boxes / len(fair) for c in CONDITIONS},
        mean_precision={
            name: {"map50": float(values["map_50"]), "map": float(values["map"])} for name, values in computed.items()
        },
        by_size=tuple(_by_size(torch.tensor(sides), ~right["patch"], fair, units)),
    )


def _by_size(sides: Tensor, success: Tensor, fair: Tensor, units: Tensor) -> Iterator[tuple[float, float, Rate]]:
    for least, most in np.lib.stride_tricks.sliding_window_view(_SIZES_PX, 2).tolist():
        here = (sides >= least) & (sides < most)
        if here.any():
            yield least, most, rate_over(success, fair & here, units)
