"""A detector's boxes: which of them count, where they lie, and how sure the detector is of each class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from calibration.common.success import DETECTION_THRESHOLD, ON_OBJECT, FoundBox

# As in ultralytics: the IoU from which the less confident of two boxes of a class is suppressed, and how many boxes remain.
_SUPPRESSED, _MOST_BOXES = 0.7, 300
# IoU from which a box is about an object and pulls in training: less than `calibration.common.success.ON_OBJECT`, from which it
# counts, so that none is left behind just below that.
ABOUT = 0.3
_SURE = 1e-6  # probabilities are kept this far from 0 and 1 before they are turned into logits


@dataclass(frozen=True)
class Detection:
    """One box: class index, confidence in [0, 1], left, top, right, bottom in pixels of the frame."""

    index: int
    score: float
    xyxy: tuple[float, float, float, float]


def judged_boxes(detections: Iterable[Detection], categories: Sequence[str] | None = None) -> list[FoundBox]:
    """Hand a detector's boxes to ``calibration.common.success``, with their classes by index, or by name of ``categories``."""
    return [
        FoundBox(one.index if categories is None else categories[one.index], one.score, one.xyxy) for one in detections
    ]


def found_boxes(predictions: tuple[Tensor, Tensor], least: float = DETECTION_THRESHOLD) -> list[list[Detection]]:
    """Of :meth:`Detector.predictions` those of at least that confidence, the most confident first; of a class, no two that
    overlap much.
    """
    found = []
    for boxes, probabilities in zip(*predictions, strict=True):
        scores, classes = probabilities.float().max(dim=1)
        sure = scores >= least
        boxes, scores, classes = boxes[sure].float(), scores[sure], classes[sure]
        kept = batched_nms(boxes, scores, classes, _SUPPRESSED)[:_MOST_BOXES]
        rows = zip(classes[kept].tolist(), scores[kept].tolist(), boxes[kept].tolist(), strict=True)
        found.append([Detection(index, score, tuple(box)) for index, score, box in rows])
    return found


def best_scores(
    predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False, least: float = ABOUT
) -> Tensor:
    """Compute the logits (B, K) of the most confident box of each class.

    Args:
        predictions: as :meth:`Detector.predictions` gives them.
        places: (B, 4), one box an image: only boxes with an IoU of ``least`` or more with it count. None: all.
        centred: boxes whose middle lies in their place count instead, of whatever size: a phantom may be larger than the
            patch that calls it up.
        least: by default what pulls in training; what counts as success is ``calibration.common.success.ON_OBJECT``.
    """
    boxes, probabilities = predictions
    if places is not None:
        found, wanted = boxes.detach().float(), places.to(boxes)[:, None].float()
        near = is_centred(found, wanted) if centred else box_overlap(found, wanted) >= least
        probabilities = probabilities * near[:, :, None]
    return torch.logit(probabilities.amax(dim=1), eps=_SURE)


def judged_scores(predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False) -> Tensor:
    """Compute :func:`best_scores` of the boxes that count as success or not, by ``calibration.common.success``.

    As in :func:`found_boxes` a box is of its likeliest class alone, and on an object from ``ON_OBJECT`` on. Boxes that
    another of their class would suppress still count: their suppressor is where they are, and surer.
    """
    boxes, probabilities = predictions
    likeliest = probabilities == probabilities.amax(dim=2, keepdim=True)
    return best_scores((boxes, probabilities * likeliest), places, centred=centred, least=ON_OBJECT)


def is_centred(boxes: Tensor, places: Tensor) -> Tensor:
    """Whether the middles of boxes (..., 4) lie in places (..., 4) that broadcast against them: (...)."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((middle >= places[..., :2]) & (middle <= places[..., 2:])).all(dim=-1)


def box_overlap(ones: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) that broadcast against one another: (...)."""
    least, most = torch.maximum(ones[..., :2], others[..., :2]), torch.minimum(ones[..., 2:], others[..., 2:])
    common = (most - least).clamp(min=0).prod(dim=-1)
    area = sum((boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (ones, others))
    return common / (area - common).clamp(min=1e-9)
