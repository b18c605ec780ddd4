"""The definition of success, shared by training, evaluation, live sessions, reports and replays.

A classifier is fooled if the target class comes first, or, without a target, if the true class does not. For a detector it
depends on the goal and on where boxes count; see :func:`judge`. With one definition, rates from different packages can be
compared. Plain Python only, because printing and calibration load this module too.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from calibration.common.errors import InputError

# The lowest confidence at which a box counts, unless a model has its own threshold: ultralytics' default for prediction.
DETECTION_THRESHOLD = 0.25
ON_OBJECT = 0.5  # lowest IoU at which a box is on an object, as in COCO's mAP50
GOALS = (
    "auto",
    "hide",
    "relabel",
    "appear",
)  # the object is not detected; detected as the target; the target is detected
SCOPES = ("patch", "image")  # boxes count at the patch and its object only, or anywhere in the image
MEASURES = {  # worded to follow "with the patch, ..."
    "target": "the target class came first",
    "wrong": "the answer was wrong",
    "hidden": "nothing was detected on the object",
    "relabelled": "the object was detected only as something else",
    "false_boxes": "something was detected at the patch that is not detected with the grey control",
}

Edges = Sequence[float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class FoundBox:
    """A detected box: its class, by name or index, its confidence in [0, 1] and its edges in pixels."""

    label: Hashable
    score: float
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class Aim:
    """The intended effect of a patch on a detector.

    Attributes:
        goal: one of :data:`GOALS`. ``auto`` is ``hide`` without a target; with one, it is ``relabel`` for a patch on an
            object and ``appear`` otherwise.
        scope: one of :data:`SCOPES`.
        own: the true class; None if it is not known.
        target: the target class; None without a target.
    """

    goal: str = "auto"
    scope: str = "patch"
    own: Hashable | None = None
    target: Hashable | None = None

    def resolved(self, on_object: bool) -> str:
        """Return the goal, with ``auto`` resolved for a patch on an object or for a patch by itself."""
        if self.goal != "auto":
            return self.goal
        return "hide" if self.target is None else "relabel" if on_object else "appear"


@dataclass(frozen=True)
class Outcome:
    """The effect of a patch in one view; None if it cannot be determined.

    Attributes:
        wrong: the true class is not detected where it counts.
        hidden: nothing at all is detected on the object.
        relabelled: only other classes are detected on the object.
        target: the target class is detected as the goal demands.
    """

    wrong: bool | None
    hidden: bool | None
    relabelled: bool | None
    target: bool | None

    @property
    def success(self) -> bool | None:
        """Return whether the patch succeeded: the target is reached, or, without a target, the answer is wrong."""
        return self.wrong if self.target is None else self.target


def check_threshold(threshold: float | None) -> None:
    """Check the lowest confidence at which a model's answers count; None for the model's own.

    Raises:
        InputError: it is no confidence between 0 and 1.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"threshold {threshold} out of range; expected a confidence, above 0 and below 1")


def judge(
    boxes: Iterable[FoundBox],
    aim: Aim,
    *,
    object_xyxy: Edges | None = None,
    patch_xyxy: Edges | None = None,
    on_object: bool | None = None,
    least: float = DETECTION_THRESHOLD,
) -> Outcome:
    """Judge the boxes that a detector found in one view.

    Args:
        boxes: of any confidence; those below ``least`` do not count.
        aim: the intended effect. With the scope ``image``, the true class and the target count anywhere.
        object_xyxy: the box of the object. If None, a box anywhere counts as the object's.
        patch_xyxy: the upright box around the patch, which must contain the centre of a phantom detection; None accepts
            a phantom anywhere.
        on_object: whether the patch is on an object; by default, whether ``object_xyxy`` is given.
        least: the threshold of the detector.
    """
    sure = [box for box in boxes if box.score >= least]
    object_boxes = sure if object_xyxy is None else [box for box in sure if is_on(box.xyxy, object_xyxy)]
    counted = {box.label for box in (sure if aim.scope == "image" else object_boxes)}
    lost = None if aim.own is None else aim.own not in counted
    hidden = relabelled = None
    if lost is not None and object_xyxy is not None:
        another = any(box.label != aim.own for box in object_boxes)
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
    """Judge the answer of a classifier, which is its top class."""
    wrong = None if own is None else answer != own
    return Outcome(wrong, None, None, None if target is None else answer == target)


def false_boxes(
    boxes: Iterable[FoundBox],
    harmless: Sequence[FoundBox],
    own: Edges | None = None,
    least: float = DETECTION_THRESHOLD,
) -> list[FoundBox]:
    """List the boxes that the patch causes: neither on the object nor present without the patch.

    Args:
        boxes: detected with the patch.
        harmless: detected in the same view without a patch or with the grey control. A box of the same class at the same
            place, by :func:`is_on`, is not counted: an unlabelled person is not a phantom.
        own: the box of the object; None without one.
        least: the lowest confidence at which a box counts.
    """
    sure = [box for box in boxes if box.score >= least]
    expected = [box for box in harmless if box.score >= least]
    return [
        box
        for box in sure
        if (own is None or not is_on(box.xyxy, own))
        and not any(box.label == before.label and is_on(box.xyxy, before.xyxy) for before in expected)
    ]


def is_on(box: Edges, place: Edges) -> bool:
    """Return whether a box covers a place: :func:`overlap` of at least :data:`ON_OBJECT`."""
    return overlap(box, place) >= ON_OBJECT


def is_centred(box: Edges, place: Edges) -> bool:
    """Return whether the centre of a box lies in a place; a phantom may be larger than the patch that causes it."""
    across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return place[0] <= across <= place[2] and place[1] <= down <= place[3]


def overlap(first: Edges, second: Edges) -> float:
    """Compute the intersection over union of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return common / (areas - common) if areas > common else 0.0


def around(points: Iterable[Sequence[float]]) -> tuple[float, float, float, float]:
    """Compute the upright box around points (N, 2)."""
    across, down = zip(*points, strict=True)
    return float(min(across)), float(min(down)), float(max(across)), float(max(down))
