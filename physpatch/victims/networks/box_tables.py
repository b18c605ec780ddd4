"""A detector's answer in the forms in which networks are exported, as one table of boxes.

The forms, for B images and K classes:

- every box that the network considers, (B, 4 + K, A) or (B, A, 4 + K): centre, width and height, and a probability of each
  class (ultralytics from YOLOv8 on; RT-DETR)
- the same with the probability of any object before those of the classes, (B, A, 5 + K) (YOLOv5)
- the boxes that remain after suppression, (B, A, 6): left, top, right, bottom, confidence, and number of the class
  (ultralytics with ``nms=True``, YOLOv10 and YOLO26); or, as shares, centre, width and height (ultralytics' RT-DETR)
- boxes (A, 4) or (B, A, 4), as left, top, right, bottom in pixels, with scores and labels apart: by name, in an object for each
  image, or told apart by type (torchvision)

In all but the last, lengths are pixels, or shares of the image's side where none is above 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.common.errors import InputError
from physpatch.victims.networks.outputs import joined, logits_in

_CHOSEN = 6  # numbers per box that remained after suppression
_FEWEST = 5  # lengths of a tensor that is taken for boxes: numbers per box, and boxes
_NAMES = ("boxes", "scores", "labels")

_ROUNDED = 1e-2  # by which a probability may miss 0 or 1, such as in half precision
_LARGEST_SHARE = 1.5  # of a side: boxes may reach beyond the image
Kind = Literal["columns", "rows", "objects", "chosen", "apart"]

Apart = tuple[Tensor, Tensor, Tensor]  # boxes (B, A, 4), scores (B, A), labels (B, A)


class BoxTable(nn.Module):
    """A detector that answers with a table (B, A, 4 + K) for images (B, 3, S, S), whatever its own form.

    A row is a box: left, top, right, bottom in pixels, and a probability of each class. ``form``: of its answers; None to tell
    it from each answer.
    """

    def __init__(self, network: nn.Module, classes: int, form: "BoxForm | None" = None) -> None:
        super().__init__()
        self.network, self.classes, self.form = network, classes, form

    def forward(self, images: Tensor) -> Tensor:
        output = self.network(images)
        table = box_table(output, self.classes, self.form, images.shape[-1])
        if len(table) != len(images):
            raise InputError(
                f"the detector answers about {len(table)} of {len(images)} images; it may take only one at once"
            )
        return table


@dataclass(frozen=True)
class BoxForm:
    """The form of a network's boxes.

    Attributes:
        kind: how they, their classes and their scores are arranged.
        centred: whether a box is its centre, width and height instead of its corners.
        shares: whether lengths are shares of the image's side instead of pixels.
    """

    kind: Kind
    centred: bool = False
    shares: bool = False


def finds_boxes(output: Any) -> bool:
    """Tell whether a network's output has one of the forms of boxes."""
    return _boxes_in(output) is not None


def count_classes(output: Any) -> int | None:
    """Return the number of classes that an output with boxes has; None where its form does not say."""
    raw_boxes = _boxes_in(output)
    if not isinstance(raw_boxes, Tensor) or raw_boxes.shape[2] == _CHOSEN or raw_boxes.shape[1] > raw_boxes.shape[2]:
        return None  # in the last case, a row may begin with the probability of any object or not
    return raw_boxes.shape[1] - 4


def count_images(output: Any) -> int | None:
    """Return the number of images that a network's output is about, boxes or logits; None where its form does not say."""
    raw_boxes = _boxes_in(output)
    if isinstance(raw_boxes, list):
        return sum(len(boxes) for boxes, _, _ in raw_boxes)
    answer = logits_in(output) if raw_boxes is None else raw_boxes
    return len(answer) if isinstance(answer, Tensor) and answer.ndim > 1 else None


def has_labels_apart(output: Any) -> bool:
    """Tell whether boxes, scores and labels are apart, as in torchvision, which counts the background as class 0."""
    return isinstance(_boxes_in(output), list)


def box_form(output: Any, classes: int) -> BoxForm:
    """Tell the form of a network's boxes.

    Raises:
        InputError: it has none of the forms, or another number of classes.
    """
    raw_boxes = _boxes_in(output)
    if isinstance(raw_boxes, list):
        return BoxForm("apart")
    kind = None if raw_boxes is None else _kind(raw_boxes, classes)
    if raw_boxes is None or kind is None:
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        few, many = 4 + classes, 5 + classes
        raise InputError(
            f"a detector of {classes} classes must answer with boxes (B, {few}, A), (B, A, {few}), (B, A, {many}) or "
            f"(B, A, 6), got {form}"
        )
    rows = (raw_boxes.transpose(1, 2) if kind == "columns" else raw_boxes).detach().flatten(0, 1)
    boxes = rows[rows[:, 4] > 0, :4] if kind == "chosen" else rows[:, :4]  # what is filled up has no confidence
    shares = bool(len(boxes)) and float(boxes.abs().max()) <= _LARGEST_SHARE
    by_corners = kind == "chosen" and not (shares and bool((boxes[:, 2:] < boxes[:, :2]).any()))
    return BoxForm(kind, not by_corners, shares)


def _kind(raw_boxes: Tensor, classes: int) -> Kind | None:
    if raw_boxes.shape[1] == 4 + classes:
        return "columns"
    if raw_boxes.shape[2] == _CHOSEN and _is_whole(raw_boxes[..., 5]):
        return "chosen"
    kinds: dict[int, Kind] = {4 + classes: "rows", 5 + classes: "objects"}
    return kinds.get(raw_boxes.shape[2])


def box_table(output: Any, classes: int, form: BoxForm | None = None, side: int = 1) -> Tensor:
    """Turn a network's output into a table (B, A, 4 + classes), see :class:`BoxTable`; it has one row or more.

    Args:
        output: of the network.
        classes: their number.
        form: of the output; None to tell it from the output.
        side: of the images, in pixels; with 1, shares stay as they are.

    Raises:
        InputError: it has none of the forms, or another number of classes.
    """
    least = 0 if form else _FEWEST
    form = form or box_form(output, classes)
    raw_boxes = _boxes_in(output, least)
    if isinstance(raw_boxes, list):
        return joined([_labelled(*parts, classes) for parts in raw_boxes])
    assert raw_boxes is not None
    rows = raw_boxes.transpose(1, 2) if form.kind == "columns" else raw_boxes
    boxes = _corners(rows, form, side)
    if form.kind == "chosen":
        return _labelled(boxes, rows[..., 4], rows[..., 5], classes)
    first = 5 if form.kind == "objects" else 4
    return _not_empty(torch.cat([boxes, rows[..., first:] * (rows[..., 4:5] if first == 5 else 1)], dim=2))


def require_probabilities(table: Tensor) -> None:
    """Check that what a table says of the classes can be probabilities.

    Raises:
        InputError: it cannot, as in the output of a network that leaves out its sigmoid.
    """
    least, most = (float(value) for value in table[..., 4:].detach().float().aminmax())
    if not -_ROUNDED <= least <= most <= 1 + _ROUNDED:
        raise InputError(
            f"the scores of its boxes reach from {least:.3g} to {most:.3g}; expected probabilities: export it with its sigmoid"
        )


def _labelled(boxes: Tensor, scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Make a table of boxes that have one class each."""
    # What is filled up has no confidence, and often the class -1.
    numbers = torch.where(scores.detach() > 0, labels.detach().round().long(), 0)
    odd = numbers[(numbers < 0) | (numbers >= classes)]
    if len(odd):
        raise InputError(f"the detector found class {int(odd[0])}, but {classes} classes are named, from 0 on")
    return _not_empty(torch.cat([boxes, scores[..., None] * F.one_hot(numbers, classes)], dim=2))


def _not_empty(table: Tensor) -> Tensor:
    """Give a table (B, A, 4 + K) without a row one of no box, so that each class has a most confident box."""
    return table if table.shape[1] else F.pad(table, (0, 0, 0, 1))


def _corners(rows: Tensor, form: BoxForm, side: int) -> Tensor:
    """Return the boxes (B, A, 4) that rows of numbers begin with, as left, top, right, bottom in pixels."""
    boxes = rows[..., :4] * (side if form.shares else 1)
    if not form.centred:
        return boxes
    middle, extent = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - extent, middle + extent], dim=2)


def _is_whole(values: Tensor) -> bool:
    return bool((values == values.round()).all())


def _boxes_in(output: Any, least: int = _FEWEST) -> Tensor | list[Apart] | None:
    """Find the boxes in an output: a tensor of one of the first forms, or boxes, scores and labels apart.

    ``least`` is the number of boxes from which a tensor is taken for some, where nothing is known of its form.
    """
    if isinstance(output, Tensor):
        return output if output.ndim == 3 and min(output.shape[1:]) >= least else None
    if isinstance(output, Mapping):
        if set(_NAMES) <= output.keys():
            return [_batched(*(output[name] for name in _NAMES))]
        return _boxes_in([*output.values()], least)
    if not isinstance(output, (list, tuple)) or not output:
        return None
    if all(isinstance(part, Mapping) and set(_NAMES) <= part.keys() for part in output):
        return [_batched(*(part[name] for name in _NAMES)) for part in output]
    by_type = _told_apart(output)
    if by_type is not None:
        return [_batched(*by_type)]
    full = [part for part in output if not (isinstance(part, Mapping) and not part)]  # without torchvision's losses
    return _boxes_in(full[0], least) if full else None


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
