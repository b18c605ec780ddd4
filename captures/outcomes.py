"""What a frame's row says happened: to a classifier's answer, or to a detector's boxes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from captures.store import FrameRow

# In words that follow "with the patch, ..."
MEASURES = {
    "target": "the target class came first",
    "wrong": "the answer was wrong",
    "hidden": "the object was not found",
    "relabelled": "the object was taken for something else",
    "false_boxes": "something was found at the patch that is not there",
}
_SAME_PLACE = 0.3  # intersection over union from which on two boxes are of one object


@dataclass(frozen=True)
class Box:
    """A detector's box: class, and left, top, right, bottom in pixels."""

    label: str
    xyxy: tuple[float, float, float, float]


def boxes_of(row: FrameRow) -> list[Box]:
    """The boxes of a detector's row."""
    found = json.loads(row.boxes or "[]")
    return [Box(label, (left, top, right, bottom)) for label, _, left, top, right, bottom in found]


def outcomes(row: FrameRow, target: str | None) -> dict[str, bool]:
    """Which of :data:`MEASURES` happened; one that cannot be said of this row is left out.

    ``relabelled`` needs to know where the object is: :func:`relabelled`.
    """
    said: dict[str, bool] = {}
    if row.target_score is not None and row.label != target:
        said["target"] = row.success == 1
    if row.boxes is None:
        if row.label is not None:
            said["wrong"] = row.top1 != row.label
        return said
    boxes = boxes_of(row)
    if row.label is not None:
        said["hidden"] = all(box.label != row.label for box in boxes)
    if row.patch_xy is not None:
        patch = np.array(json.loads(row.patch_xy), dtype=np.float32)
        said["false_boxes"] = any(box.label != row.label and middle_on(box.xyxy, patch) for box in boxes)
    return said


def relabelled(boxes: Iterable[Box], label: str, place: Sequence[float]) -> bool:
    """Whether the object of class ``label`` at ``place`` (left, top, right, bottom) is found as another class only."""
    there = [box.label for box in boxes if overlap(box.xyxy, place) >= _SAME_PLACE]
    return bool(there) and label not in there


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0


def middle_on(xyxy: Sequence[float], patch_xy: NDArray[np.float32]) -> bool:
    """Whether the middle of a box lies on the patch with these corners (4, 2)."""
    left, top, right, bottom = xyxy
    return cv2.pointPolygonTest(patch_xy, ((left + right) / 2, (top + bottom) / 2), measureDist=False) >= 0
