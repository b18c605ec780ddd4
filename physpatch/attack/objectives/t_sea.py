"""The confidence itself (T-SEA, Huang et al. 2023)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from calibration.common.errors import InputError
from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.detection import HideDetection, HideObject, RelabelObject, TargetedDetection


@dataclass(frozen=True)
class ConfidenceOfSurest(HideDetection):
    """The confidence of the most confident box."""

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": scores.amax(dim=1).sigmoid().mean()}


@dataclass(frozen=True)
class ConfidenceOfObject(HideObject):
    """The confidence of the object's own class."""

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": scores.gather(1, labels[:, None]).sigmoid().mean()}


@dataclass(frozen=True)
class DoubtOfTarget(TargetedDetection):
    """What the confidence of the target class lacks of 1."""

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"appear": 1 - scores[:, self.target].sigmoid().mean()}


@dataclass(frozen=True)
class RelabelByConfidence(RelabelObject):
    """The confidence of the object's own class, and what that of the target class lacks of 1."""

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return ConfidenceOfObject().terms(scores, labels) | DoubtOfTarget(self.target).terms(scores, labels)


class TSea(ObjectiveFamily):
    """The loss of T-SEA without its ensembling of networks and patches: ``--tv`` is its other term, there with a floor.

    Checked against the published code: the mean, over images, of the most confident box's confidence.

    Unlike the logarithm, its gradient fades where a box is certain, and where it is gone.
    """

    name: ClassVar[str] = "t-sea"
    summary: ClassVar[str] = "a detector's confidence itself, as T-SEA minimises it (Huang et al. 2023)"

    def for_classifier(self, target: int | None) -> Objective:
        raise InputError("objective t-sea is for detectors; give --objective cross-entropy, margin or logit")

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        if target is None:
            return ConfidenceOfObject() if on_object else ConfidenceOfSurest()
        return RelabelByConfidence(target) if relabels else DoubtOfTarget(target)
