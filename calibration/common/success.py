"""What counts as success, for training, evaluation, live sessions, their summaries and their replays alike.

A classifier is fooled when the target class comes first, or, without a target, when the true class does not. What fools a
detector depends on the goal, and on where boxes count: :func:`judge` says it of one view's boxes. A change here is a change
everywhere, so no loss between two rooms can be one of definition. Plain Python: printing and calibrating load it too.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

DETECTION_THRESHOLD = 0.25  # a detector "sees" a box from this confidence on, ultralytics' default for prediction
ON_OBJECT = 0.5  # IoU from which a box is on an object, as in COCO's mAP50
GOALS = ("auto", "hide", "relabel", "appear")  # a class is no longer found; found as the target; the target is found
SCOPES = ("patch", "image")  # at the patch and what it lies on; or anywhere in the image
MEASURES = {  # in words that follow "with the patch, ..."
    "target": "the target class came first",
    "wrong": "the answer was wrong",
    "hidden": "nothing was found on the object",
    "relabelled": "the object was found as something else only",
    "false_boxes": "something was found at the patch that is not there with the grey control",
}

Edges = Sequence[float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class FoundBox:
    """A detector's box: its class, by name or index, its confidence in [0, 1], and its edges in pixels."""

    label: Hashable
    score: float
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Aim:
    """What a patch shall do to a detector.

    Attributes:
        goal: one of :data:`GOALS`; ``auto`` hides without a target, and relabels the object or else lets the target appear.
        scope: one of :data:`SCOPES`.
        own: the class that is truly there; None where it is not known.
        target: the class aimed at; None without one.
    """

    goal: str = "auto"
    scope: str = "patch"
    own: Hashable | None = None
    target: Hashable | None = None

    def resolved(self, on_object: bool) -> str:
        """Say what ``auto`` means for a patch on an object, or for one by itself; else return the goal."""
        if self.goal != "auto":
            return self.goal
        return "hide" if self.target is None else "relabel" if on_object else "appear"


@dataclass(frozen=True)
class Outcome:
    """What one view's boxes say; None where it cannot be said.

    Attributes:
        wrong: the true class is not found where it counts.
        hidden: nor is anything else on the object.
        relabelled: only other classes are found on it.
        target: the target class is found as the goal asks.
    """

    wrong: bool | None
    hidden: bool | None
    relabelled: bool | None
    target: bool | None

    @property
    def success(self) -> bool | None:
        """Whether the patch did what it shall do: reach its target, or, without one, have the true class not found."""
        return self.wrong if self.target is None else self.target


def judge(
    boxes: Iterable[FoundBox],
    aim: Aim,
    *,
    object_xyxy: Edges | None = None,
    patch_xyxy: Edges | None = None,
    on_object: bool | None = None,
) -> Outcome:
    """Judge what a detector found in one view.

    Args:
        boxes: of any confidence; those below :data:`DETECTION_THRESHOLD` do not count.
        aim: what the patch shall do. With the scope ``image`` the classes wanted and unwanted count anywhere.
        object_xyxy: where the object is; None where that is not known, and then boxes anywhere are taken for the object's.
        patch_xyxy: the upright box around the patch, in which the middle of a phantom lies; None: anywhere.
        on_object: whether the patch is on an object; by default, whether its place is known.
    """
    sure = [box for box in boxes if box.score >= DETECTION_THRESHOLD]
    there = sure if object_xyxy is None else [box for box in sure if is_on(box.xyxy, object_xyxy)]
    counted = {box.label for box in (sure if aim.scope == "image" else there)}
    lost = None if aim.own is None else aim.own not in counted
    hidden = relabelled = None
    if lost is not None and object_xyxy is not None:
        another = any(box.label != aim.own for box in there)
        hidden, relabelled = lost and not another, lost and another
    if aim.target is None:
        return Outcome(lost, hidden, relabelled, None)
    if aim.resolved(object_xyxy is not None if on_object is None else on_object) == "appear":
        anywhere = aim.scope == "image" or patch_xyxy is None
        reached = any(box.label == aim.target and (anywhere or is_centred(box.xyxy, patch_xyxy or ())) for box in sure)
    else:
        reached = lost is not False and aim.target in counted
    return Outcome(lost, hidden, relabelled, reached)


def judge_answer(answer: Hashable, own: Hashable | None, target: Hashable | None) -> Outcome:
    """Judge a classifier's answer: the class that came first."""
    wrong = None if own is None else answer != own
    return Outcome(wrong, None, None, None if target is None else answer == target)


def false_boxes(boxes: Iterable[FoundBox], harmless: Sequence[FoundBox], own: Edges | None = None) -> list[FoundBox]:
    """List the boxes that a patch brings: neither on the object at ``own``, nor there without the patch.

    A box is there already where one of its class lies on the same place, by :func:`is_on`, in ``harmless``: what is found in
    the same view with nothing, or with the grey control. An unlabelled person is no phantom.
    """
    sure = [box for box in boxes if box.score >= DETECTION_THRESHOLD]
    known = [box for box in harmless if box.score >= DETECTION_THRESHOLD]
    return [
        box
        for box in sure
        if (own is None or not is_on(box.xyxy, own))
        and not any(box.label == other.label and is_on(box.xyxy, other.xyxy) for other in known)
    ]


def is_on(box: Edges, place: Edges) -> bool:
    """Tell whether a box is on a place: :func:`overlap` of at least :data:`ON_OBJECT`."""
    return overlap(box, place) >= ON_OBJECT


def is_centred(box: Edges, place: Edges) -> bool:
    """Tell whether the middle of a box lies in a place: a phantom may be larger than the patch that calls it up."""
    across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return place[0] <= across <= place[2] and place[1] <= down <= place[3]


def overlap(one: Edges, other: Edges) -> float:
    """Compute the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common) if areas > common else 0.0


def around(points: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """Compute the upright box around points (N, 2)."""
    across, down = zip(*points, strict=True)
    return float(min(across)), float(min(down)), float(max(across)), float(max(down))
