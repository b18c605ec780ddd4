"""Whether a detector finds boxes where objects are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.ops import box_iou

from physpatch.evaluation.model_check.accuracy import likely_mistakes
from physpatch.records.check_record import Finding
from physpatch.victims.detector import Detector

_BATCH = 16
_FEWEST_WITH_OBJECTS = 3  # photographs, before a detector that finds nothing on them is taken for a wrong one
_OVERLAP = 0.5  # IoU with a labelled object from which a box, of any class, has found it


@dataclass(frozen=True)
class _Found:
    """The number of boxes, and of labelled objects that one of them lies on."""

    boxes: int
    objects: int


def check_boxes(
    victim: Detector, images: Tensor, *, with_objects: bool, objects: Sequence[Tensor] | None = None
) -> Finding:
    """Look for boxes on photographs: a detector with a wrong preprocessing usually finds none on objects.

    Args:
        victim: the detector.
        images: (B, 3, S, S) in [0, 1].
        with_objects: whether objects of its classes are on each.
        objects: the labelled ones (M, 4) on each, left, top, right, bottom in pixels; None where they are not known.
    """
    tally, n = _find(victim, images, objects), len(images)
    numbers = {"boxes": tally.boxes, "n": n}
    if not with_objects:
        words = f"{tally.boxes} boxes in {n} photographs; give photographs with labelled objects to tell whether they are right"
        return Finding("boxes", words, "works" if tally.boxes else "note", numbers)
    words = (
        f"{tally.boxes} boxes in {n} photographs with objects"
        if tally.boxes
        else f"no box on {n} photographs with objects"
    )
    if objects is not None:
        labelled = sum(map(len, objects))
        numbers |= {"objects": labelled, "objects_found": tally.objects}
        words += f", on {tally.objects} of {labelled} labelled objects (IoU {_OVERLAP} or more)" if tally.boxes else ""
    if tally.boxes and (objects is None or tally.objects):
        return Finding("boxes", f"{words}; a detector's accuracy is measured by `physpatch evaluate`", numbers=numbers)
    words += ": check preprocessing, labels and threshold"
    if victim.queries is None:
        finds = [
            mistake
            for mistake, preprocessing in likely_mistakes(victim)
            if preprocessing.resize == victim.preprocessing.resize  # photographs with boxes are not cropped
            and _finds_more(_find(replace(victim, preprocessing=preprocessing), images, objects), objects)
        ]
        words += f"; it finds some with {', or '.join(finds)}" if finds else ""
    return Finding("boxes", words, "fails" if n >= _FEWEST_WITH_OBJECTS else "note", numbers)


def _finds_more(tally: _Found, objects: Sequence[Tensor] | None) -> bool:
    return tally.boxes > 0 if objects is None else tally.objects > 0


def _find(victim: Detector, images: Tensor, objects: Sequence[Tensor] | None) -> _Found:
    detections = [image_detections for part in images.split(_BATCH) for image_detections in victim.find(part)]
    hits = 0
    for image_detections, labelled in zip(detections, objects or (), strict=False):
        if image_detections:
            boxes = torch.tensor([detection.xyxy for detection in image_detections])
            hits += int((box_iou(labelled.float().cpu(), boxes).amax(dim=1) >= _OVERLAP).sum())
    return _Found(sum(map(len, detections)), hits)
