"""The effect of a patch on an object, compared with the bare object and with harmless patches at the same poses."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from calibration.common.errors import InputError
from calibration.common.success import Aim, FoundBox, Outcome, false_boxes, is_on, judge
from calibration.sheet.road_signs import SIGNS, sign_name
from physpatch.attack.placement import AttackRegion, object_class
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import CONDITIONS, Evaluation, ForBare, Scene, ViewSuccess, rate_over, scenes
from physpatch.evaluation.object_distance import DistanceResult, SeenObjects, by_distance
from physpatch.records.eot_config import EotConfig
from physpatch.records.evaluation_record import DrawnSign, EvaluationRecord, ObjectSize
from physpatch.records.patch_exchange import drawing
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.stats.intervals import Rate
from physpatch.transforms import DEFAULT_PRESET
from physpatch.victims.boxes import Detection, to_found_boxes
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_LEAST_SCORE = 0.01  # lowest confidence that mAP counts, unless the detector's own threshold is lower
# The object's side in the network's input: fine where a detector begins to find it.
_SIZES_PX = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 192.0, float("inf"))


@dataclass(frozen=True)
class ObjectEvaluation(Evaluation):
    """Results on one detector. "Right" means a box of the object's class on the object, at an IoU of 0.5 or more.

    With the scope ``image``, such a box counts anywhere. ``untargeted`` success is its absence, in views where it is present
    with the grey control. Either no box is on the object at all, ``hidden``, or only boxes of other classes, ``relabelled``.
    ``targeted`` success is a box of the target class on the object and none of its own, or, with the goal ``appear``, a box
    of the target class centred in the patch's box.

    Attributes:
        object: the class.
        hidden, relabelled: rates by condition.
        false_boxes: boxes per image, by condition, that are neither on the object nor present without a patch.
        mean_precision: COCO's mAP of the object's class, at IoU 0.5 and over 0.5 to 0.95, by condition and without a patch.
        by_size: lower and upper bound of the object's side in pixels, and ``untargeted`` success at that size by condition.
        by_patch_distance: results on all objects of the class by their distance from the patch.
        drawn_sign: of a drawn sign that the patch has taken for another, what drawings of other signs do in its place.
    """

    object: str = ""
    hidden: dict[str, Rate] = field(default_factory=dict)
    relabelled: dict[str, Rate] = field(default_factory=dict)
    false_boxes: dict[str, float] = field(default_factory=dict)
    mean_precision: dict[str, dict[str, float]] = field(default_factory=dict)
    by_size: tuple[tuple[float, float, dict[str, Rate]], ...] = ()
    by_patch_distance: tuple[DistanceResult, ...] = ()
    drawn_sign: DrawnSign | None = None

    def to_record(self) -> EvaluationRecord:
        """Convert the results to a record, as files contain it."""
        return (
            super()
            .to_record()
            .changed(
                object=self.object,
                hidden=self.hidden,
                relabelled=self.relabelled,
                false_boxes_per_image=self.false_boxes,
                mean_precision=self.mean_precision,
                by_size_px=[
                    ObjectSize(
                        from_px=least,
                        below_px=None if most == float("inf") else most,
                        success=rates["patch"],
                        controls={name: rates[name] for name in CONTROLS},
                    )
                    for least, most, rates in self.by_size
                ],
                by_patch_distance=[part.to_record() for part in self.by_patch_distance],
                drawn_sign=self.drawn_sign,
            )
        )


@dataclass
class _Judged:
    """The views of one condition, judged by ``calibration.common.success``; ``taken_for`` are relabelled objects' classes."""

    outcomes: list[Outcome] = field(default_factory=list)
    taken_for: list[int | None] = field(default_factory=list)
    false_boxes: int = 0

    def of(self, name: str) -> Tensor:
        """Return one field of the outcomes in every view: (V,) bool."""
        return torch.tensor([bool(getattr(outcome, name)) for outcome in self.outcomes])


def evaluate_on_object(
    victim: Victim,
    photographs: Photographs,
    patch: Patch,
    region: AttackRegion,
    *,
    eot: EotConfig | None = None,
    seed: int = 0,
    poses: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ObjectEvaluation:
    """Measure a patch on its object, in held-out photographs at random poses.

    Args:
        victim: a detector.
        photographs: at the network's input size. They show labelled objects, or none where a sign is drawn into them.
        patch: the one to measure.
        region: one with an object.
        eot, seed, poses, progress: as for :func:`physpatch.evaluation.classification.evaluate_patch`.

    A drawn sign that the patch has taken for another one is measured once more, with drawings of the other signs in its place.

    Raises:
        InputError: the victim is a classifier or has no class for the object, or the patch is not on an object.
    """
    from torchmetrics.detection import MeanAveragePrecision

    placement = region.placement
    if placement.object is None:
        raise InputError("the patch is not on an object; measure it by evaluate_patch")
    index = object_class(victim, placement.object)
    assert isinstance(victim, Detector)  # object_class refuses classifiers
    target = None if patch.target is None else victim.target_index(patch.target)
    aim = Aim(region.goal, "image" if region.kind == "image" else "patch", index, target)
    # Harmless patches come first: boxes that appear with them are not phantoms of the patch.
    patches = {"clean": None, **{name: patch.control(name) for name in CONTROLS}, "patch": patch}
    judged: dict[str, _Judged] = defaultdict(_Judged)
    precision = {name: MeanAveragePrecision() for name in patches}
    seen_objects: dict[str, list[SeenObjects]] = {name: [] for name in patches}
    units = photographs.units.repeat(poses)
    sides: list[float] = []
    least = victim.threshold
    find = partial(victim.find, least=min(_LEAST_SCORE, least))
    views = partial(scenes, victim, photographs, placement, eot or EotConfig.preset(DEFAULT_PRESET), seed, poses)
    bare = ForBare(find)
    with untouched(victim), torch.no_grad():
        for scene in views():
            size = scene.images.shape[-1]
            own, at_patch = scene.objects, placement.patch_boxes(scene.params, size).tolist()
            assert own is not None
            objects = scene.boxes or own[:, None].unbind()
            sides += (own[:, 2:] - own[:, :2]).prod(dim=1).sqrt().tolist()
            harmless: list[list[FoundBox]] = [[] for _ in at_patch]
            for name, cells in patches.items():
                detections = bare(scene) if cells is None else find(scene.showing(cells))
                precision[name].update(*_for_metric(detections, objects, index))
                for view, expected, object_xyxy, patch_xyxy, object_boxes in zip(
                    detections, harmless, own.tolist(), at_patch, objects, strict=True
                ):
                    boxes = to_found_boxes(view)
                    of_class = [box for box in boxes if box.label == index]
                    photograph = int(units[len(seen_objects[name])])
                    seen_objects[name].append(
                        SeenObjects(of_class, object_boxes.tolist(), patch_xyxy, photograph, least)
                    )
                    outcome = judge(boxes, aim, object_xyxy=object_xyxy, patch_xyxy=patch_xyxy, least=least)
                    judged[name].outcomes.append(outcome)
                    judged[name].taken_for.append(_surest_on(object_xyxy, boxes) if outcome.relabelled else None)
                    judged[name].false_boxes += len(false_boxes(boxes, expected, object_xyxy, least))
                    if name == "clean":
                        expected += boxes
            progress(len(sides), len(photographs) * poses)
    evaluation = replace(
        _count(victim, index, patch, judged, precision, sides, units, len(photographs)),
        by_patch_distance=tuple(by_distance(seen_objects)),
    )
    taken_for = [
        label
        for label, right in zip(judged["patch"].taken_for, evaluation.success.right.tolist(), strict=True)
        if right
    ]
    other_sign = _other_sign(victim, taken_for) if placement.sign is not None else None
    if other_sign is None:
        return evaluation
    drawings = {name: drawing(name, patch.grid) for name in SIGNS if name != sign_name(placement.object)}
    with untouched(victim), torch.no_grad():
        lost = _lost(views(), drawings, find, aim, least, lambda done: progress(done, len(sides)))
    by_sign = {
        name: rate_over(torch.tensor(of_sign), evaluation.success.right, units) for name, of_sign in lost.items()
    }
    return replace(evaluation, drawn_sign=DrawnSign(sign=other_sign, lost=by_sign[other_sign], by_sign=by_sign))


def _surest_on(place: Sequence[float], boxes: Iterable[FoundBox]) -> int:
    """Return the index of the class of the most confident box on an object."""
    label = max((box for box in boxes if is_on(box.xyxy, place)), key=lambda box: box.score).label
    assert isinstance(label, int)
    return label


def _other_sign(victim: Victim, taken_for: Iterable[int | None]) -> str | None:
    """Find the sign that objects were taken for most often; None for none, or a class that is no sign."""
    counts = Counter(index for index in taken_for if index is not None)
    return next((sign_name(victim.categories[index]) for index, _ in counts.most_common(1)), None)


def _lost(
    views: Iterable[Scene],
    patches: Mapping[str, Patch],
    find: Callable[[Tensor], list[list[Detection]]],
    aim: Aim,
    least: float,
    progress: Callable[[int], None],
) -> dict[str, list[bool]]:
    """Tell in which views the object is lost with each patch; ``progress`` is told the number of views so far."""
    lost: dict[str, list[bool]] = {name: [] for name in patches}
    seen = 0
    for scene in views:
        assert scene.objects is not None
        for name, cells in patches.items():
            for view, place in zip(find(scene.showing(cells)), scene.objects.tolist(), strict=True):
                lost[name].append(bool(judge(to_found_boxes(view), aim, object_xyxy=place, least=least).wrong))
        seen += len(scene.objects)
        progress(seen)
    return lost


def _for_metric(
    detections: list[list[Detection]], objects: Sequence[Tensor], index: int
) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Convert detections and objects for torchmetrics, for the object's class alone: the photographs may show others."""
    of_class = [[box for box in view if box.index == index] for view in detections]
    predicted = [
        {
            "boxes": torch.tensor([box.xyxy for box in view]).reshape(-1, 4),
            "scores": torch.tensor([box.score for box in view]),
            "labels": torch.zeros(len(view), dtype=torch.long),
        }
        for view in of_class
    ]
    return predicted, [{"boxes": own.cpu(), "labels": torch.zeros(len(own), dtype=torch.long)} for own in objects]


def _count(
    victim: Victim,
    index: int,
    patch: Patch,
    judged: dict[str, _Judged],
    precision: dict[str, Any],
    sides: list[float],
    units: Tensor,
    n: int,
) -> ObjectEvaluation:
    wrong, hidden, relabelled, reached = (
        {name: views.of(measure) for name, views in judged.items()}
        for measure in ("wrong", "hidden", "relabelled", "target")
    )
    fair = ~wrong["grey"]
    fair_target = fair & ~reached["grey"]
    aimed = patch.target is not None and victim.target_index(patch.target) is not None
    everything = torch.ones_like(fair)
    computed = {name: metric.compute() for name, metric in precision.items()}
    return ObjectEvaluation(
        model=victim.name,
        n=n,
        poses=len(fair) // n,
        clean_accuracy=float((~wrong["clean"]).double().mean()),
        accuracy={c: float((~wrong[c]).double().mean()) for c in CONDITIONS},
        targeted={c: rate_over(reached[c], fair_target, units) if aimed else Rate(None, None, 0) for c in CONDITIONS},
        untargeted={c: rate_over(wrong[c], fair, units) for c in CONDITIONS},
        target=patch.target,
        success=ViewSuccess(
            fair,
            reached["patch"] if aimed else None,
            wrong["patch"],
            fair_target if aimed else None,
            units,
            {c: reached[c] for c in CONTROLS} if aimed else {},
            {c: wrong[c] for c in CONTROLS},
        ),
        targeted_of_all={c: rate_over(reached[c], everything, units) for c in CONDITIONS} if aimed else {},
        untargeted_of_all={c: rate_over(wrong[c], everything, units) for c in CONDITIONS},
        object=victim.categories[index],
        hidden={c: rate_over(hidden[c], fair, units) for c in CONDITIONS},
        relabelled={c: rate_over(relabelled[c], fair, units) for c in CONDITIONS},
        false_boxes={c: judged[c].false_boxes / len(fair) for c in CONDITIONS},
        mean_precision={
            name: {"map50": float(computed[name]["map_50"]), "map": float(computed[name]["map"])}
            for name in ("clean", *CONDITIONS)
        },
        by_size=tuple(_by_size(torch.tensor(sides), wrong, fair, units)),
    )


def _by_size(
    sides: Tensor, success: dict[str, Tensor], fair: Tensor, units: Tensor
) -> Iterator[tuple[float, float, dict[str, Rate]]]:
    for least, most in np.lib.stride_tricks.sliding_window_view(_SIZES_PX, 2).tolist():
        in_range = (sides >= least) & (sides < most)
        if in_range.any():
            yield least, most, {name: rate_over(success[name], fair & in_range, units) for name in CONDITIONS}
