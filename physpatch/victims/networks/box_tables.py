"""A detector's answer in the forms in which networks are exported, as one table of boxes.

The forms, for B images and K classes:

- every box that the network considers, (B, 4 + K, A): centre, width and height in pixels, and a probability of each class
  (ultralytics from YOLOv8 on)
- the boxes that remain after suppression, (B, A, 6): left, top, right, bottom in pixels, confidence, and number of the class
  (ultralytics with ``nms=True``, YOLOv10 and YOLO26)
- boxes (A, 4) or (B, A, 4), as left, top, right, bottom in pixels, with scores and labels apart: by name, in an object for each
  image, or told apart by type (torchvision)
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.common.errors import InputError
from physpatch.victims.networks.outputs import joined, logits_in

_CHOSEN = 6  # numbers per box that remained after suppression
_NAMES = ("boxes", "scores", "labels")

Apart = tuple[Tensor, Tensor, Tensor]  # boxes (B, A, 4), scores (B, A), labels (B, A)


class BoxTable(nn.Module):
    """A detector that answers with a table (B, A, 4 + K) for images (B, 3, S, S), whatever its own form.

    A row is a box: left, top, right, bottom in pixels, and a probability of each class. ``most``: the images that the network
    takes at once; None for any number.
    """

    def __init__(self, network: nn.Module, classes: int, most: int | None = None) -> None:
        super().__init__()
        self.network, self.classes, self.most = network, classes, most

    def forward(self, images: Tensor) -> Tensor:
        return joined([self._table(part) for part in images.split(self.most or len(images))])

    def _table(self, images: Tensor) -> Tensor:
        table = box_table(self.network(images), self.classes)
        if len(table) != len(images):
            raise InputError(
                f"the detector answers about {len(table)} of {len(images)} images; it may take only one at once"
            )
        return table


def finds_boxes(output: Any) -> bool:
    """Tell whether a network's output has one of the forms of boxes."""
    return _boxes_in(output) is not None


def count_classes(output: Any) -> int | None:
    """Return the number of classes that an output with boxes has; None where its form does not say."""
    found = _boxes_in(output)
    if not isinstance(found, Tensor) or found.shape[2] == _CHOSEN:
        return None
    return found.shape[1] - 4


def count_images(output: Any) -> int | None:
    """Return the number of images that a network's output is about, boxes or logits; None where its form does not say."""
    found = _boxes_in(output)
    if isinstance(found, list):
        return sum(len(boxes) for boxes, _, _ in found)
    answer = logits_in(output) if found is None else found
    return len(answer) if isinstance(answer, Tensor) and answer.ndim > 1 else None


def has_labels_apart(output: Any) -> bool:
    """Tell whether boxes, scores and labels are apart, as in torchvision, which counts the background as class 0."""
    return isinstance(_boxes_in(output), list)


def box_table(output: Any, classes: int) -> Tensor:
    """Turn a network's output into a table (B, A, 4 + classes), see :class:`BoxTable`; it has one row or more.

    Raises:
        InputError: it has none of the forms, or another number of classes.
    """
    found = _boxes_in(output)
    if isinstance(found, Tensor) and found.shape[1] == 4 + classes:
        middle, extent = found[:, :2], found[:, 2:4] / 2
        return torch.cat([middle - extent, middle + extent, found[:, 4:]], dim=1).transpose(1, 2)
    if isinstance(found, Tensor) and found.shape[2] == _CHOSEN:
        return _labelled(found[..., :4], found[..., 4], found[..., 5], classes)
    if isinstance(found, list):
        return joined([_labelled(*apart, classes) for apart in found])
    form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise InputError(
        f"a detector of {classes} classes must answer with boxes (B, {4 + classes}, A) or (B, A, 6), got {form}"
    )


def _labelled(boxes: Tensor, scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Make a table of boxes that have one class each."""
    numbers = labels.detach().round().long()
    if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
        raise InputError(f"the detector found class {int(numbers.max())}, but {classes} classes are named, from 0 on")
    table = torch.cat([boxes, scores[..., None] * F.one_hot(numbers, classes)], dim=2)
    return table if table.shape[1] else F.pad(table, (0, 0, 0, 1))


def _boxes_in(output: Any) -> Tensor | list[Apart] | None:
    """Find the boxes in an output: a tensor of one of the first two forms, or boxes, scores and labels apart."""
    if isinstance(output, Tensor):
        return output if output.ndim == 3 and min(output.shape[1:]) > 4 else None
    if isinstance(output, Mapping):
        if set(_NAMES) <= output.keys():
            return [_batched(*(output[name] for name in _NAMES))]
        return _boxes_in([*output.values()])
    if not isinstance(output, (list, tuple)) or not output:
        return None
    if all(isinstance(part, Mapping) and set(_NAMES) <= part.keys() for part in output):
        return [_batched(*(part[name] for name in _NAMES)) for part in output]
    by_type = _told_apart(output)
    if by_type is not None:
        return [_batched(*by_type)]
    full = [part for part in output if not (isinstance(part, Mapping) and not part)]  # without torchvision's losses
    return _boxes_in(full[0]) if full else None


def _told_apart(parts: Any) -> Apart | None:
    """Tell boxes, scores and labels apart by their shapes and types; None where the three are something else."""
    if len(parts) != 3 or not all(isinstance(part, Tensor) for part in parts):
        return None
    labels = [part for part in parts if not part.is_floating_point()]
    floats = sorted((part for part in parts if part.is_floating_point()), key=lambda part: -part.ndim)
    if len(labels) != 1 or floats[0].shape != (*labels[0].shape, 4) or floats[1].shape != labels[0].shape:
        return None
    return floats[0], floats[1], labels[0]


def _batched(boxes: Tensor, scores: Tensor, labels: Tensor) -> Apart:
    return (boxes, scores, labels) if boxes.ndim == 3 else (boxes[None], scores[None], labels[None])
