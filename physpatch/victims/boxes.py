"""A detector's boxes: suppression, overlap, and the scores of those that count."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from calibration.common.success import DETECTION_THRESHOLD, ON_OBJECT, FoundBox

# As in ultralytics: the IoU from which the less confident of two boxes of a class is suppressed, and how many boxes remain.
_SUPPRESSED, _MOST_BOXES = 0.7, 300
# IoU from which a box contributes to the training loss of an object. It is lower than `calibration.common.success.ON_OBJECT`,
# from which a box counts, so that training does not leave boxes just below that threshold.
TRAINING_OVERLAP = 0.3
_FAINT = 0.01  # confidence below which a box counts for nothing
_LOGIT_MARGIN = 1e-6  # probabilities are kept this far from 0 and 1 before they are turned into logits


@dataclass(frozen=True)
class Detection:
    """One box: class index, confidence in [0, 1], and left, top, right, bottom in pixels of the frame."""

    index: int
    score: float
    xyxy: tuple[float, float, float, float]


def to_found_boxes(detections: Iterable[Detection], categories: Sequence[str] | None = None) -> list[FoundBox]:
    """Convert a detector's boxes for ``calibration.common.success``.

    Classes are given by index, or by their names in ``categories``.
    """
    return [
        FoundBox(box.index if categories is None else categories[box.index], box.score, box.xyxy) for box in detections
    ]


def select_boxes(
    predictions: tuple[Tensor, Tensor], least: float = DETECTION_THRESHOLD, *, exclusive: bool = False
) -> list[list[Detection]]:
    """Select boxes by confidence and suppress overlapping ones of a class.

    Args:
        predictions: as :meth:`Detector.predictions` gives them.
        least: the lowest confidence that is kept.
        exclusive: suppress overlapping boxes of other classes, too.

    Returns:
        The boxes of each image, the most confident first.
    """
    selected = []
    for boxes, probabilities in zip(*predictions, strict=True):
        scores, classes = probabilities.float().max(dim=1)
        confident = scores >= least
        boxes, scores, classes = boxes[confident].float(), scores[confident], classes[confident]
        groups = torch.zeros_like(classes) if exclusive else classes
        kept_rows = batched_nms(boxes, scores, groups, _SUPPRESSED)[:_MOST_BOXES]
        rows = zip(classes[kept_rows].tolist(), scores[kept_rows].tolist(), boxes[kept_rows].tolist(), strict=True)
        selected.append([Detection(index, score, tuple(box)) for index, score, box in rows])
    return selected


def best_scores(
    predictions: tuple[Tensor, Tensor],
    places: Tensor | None = None,
    *,
    centred: bool = False,
    least: float = TRAINING_OVERLAP,
) -> Tensor:
    """Compute the logits (B, K) of the most confident box of each class.

    Args:
        predictions: as :meth:`Detector.predictions` gives them.
        places: (B, 4), one box per image: only boxes whose IoU with it is ``least`` or more count. None: all count.
        centred: count boxes whose centre lies in their place instead, whatever their size: a phantom may be larger than the
            patch that causes it.
        least: the lowest IoU. The default is for training; success is judged at ``calibration.common.success.ON_OBJECT``.
    """
    boxes, probabilities = predictions
    if places is not None:
        predicted, places = boxes.detach().float(), places.to(boxes)[:, None].float()
        near = is_centred(predicted, places) if centred else box_overlap(predicted, places) >= least
        probabilities = probabilities * near[:, :, None]
    return torch.logit(probabilities.amax(dim=1), eps=_LOGIT_MARGIN)


def judged_scores(
    predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False, exclusive: bool = False
) -> Tensor:
    """Compute :func:`best_scores` of the boxes by which ``calibration.common.success`` judges success.

    As in :func:`select_boxes`, a box has only its most probable class, and it lies on an object from an IoU of ``ON_OBJECT``.
    Boxes that another of their class would suppress still count: that one lies in the same place, with higher confidence.
    Those that one of another class suppresses, where classes are ``exclusive``, do not.
    """
    boxes, probabilities = predictions
    counted = probabilities == probabilities.amax(dim=2, keepdim=True)
    if exclusive:
        counted = counted & _prevailing(boxes, probabilities)[..., None]
    return best_scores((boxes, probabilities * counted), places, centred=centred, least=ON_OBJECT)


def _prevailing(boxes: Tensor, probabilities: Tensor) -> Tensor:
    """Tell which boxes (B, A) no more confident one in the same place suppresses, whatever its class."""
    scores = probabilities.detach().float().amax(dim=2)
    prevailing = torch.zeros_like(scores, dtype=torch.bool)
    image, anchor = (scores >= _FAINT).nonzero(as_tuple=True)
    kept_rows = batched_nms(boxes.detach().float()[image, anchor], scores[image, anchor], image, _SUPPRESSED)
    prevailing[image[kept_rows], anchor[kept_rows]] = True
    return prevailing


def is_centred(boxes: Tensor, places: Tensor) -> Tensor:
    """Tell whether the centres of boxes (..., 4) lie in places (..., 4) that broadcast against them: (...)."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((middle >= places[..., :2]) & (middle <= places[..., 2:])).all(dim=-1)


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Compute the intersection over union of boxes (..., 4) that broadcast against one another: (...)."""
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    common = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    area = sum((boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (first, second))
    return common / (area - common).clamp(min=1e-9)
