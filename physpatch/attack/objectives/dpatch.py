"""The detector's own loss (DPatch, Liu et al. 2019)."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from calibration.common.errors import InputError
from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.detection import HideDetection, HideObject, RelabelObject, TargetedDetection


def detector_loss(scores: Tensor, classes: Tensor) -> Tensor:
    """Compute the loss (B,) with which a detector learns its classes (B,): binary cross entropies of scores (B, K)."""
    truth = F.one_hot(classes, scores.shape[1]).to(scores)
    return F.binary_cross_entropy_with_logits(scores, truth, reduction="none").sum(dim=1)


@dataclass(frozen=True)
class DetectorLossOfTarget(TargetedDetection):
    """The detector's loss where the target class alone were the truth: lowered, as by their targeted DPatch."""

    term_names: ClassVar[tuple[str, ...]] = ("detector",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"detector": detector_loss(scores, labels.new_full(labels.shape, self.target)).mean()}


@dataclass(frozen=True)
class RelabelByDetectorLoss(RelabelObject):
    """The same, where success is that the object is detected as the target class alone."""

    term_names: ClassVar[tuple[str, ...]] = ("detector",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return DetectorLossOfTarget(self.target).terms(scores, labels)


@dataclass(frozen=True)
class DetectorLossOfObject(HideObject):
    """The detector's loss on the object's own class: raised, as by their untargeted DPatch."""

    term_names: ClassVar[tuple[str, ...]] = ("detector",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"detector": -detector_loss(scores, labels).mean()}


@dataclass(frozen=True)
class DetectorLossOfSurest(HideDetection):
    """The detector's loss on the class of its most confident box: raised."""

    term_names: ClassVar[tuple[str, ...]] = ("detector",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"detector": -detector_loss(scores, scores.argmax(dim=1)).mean()}


class DPatch(ObjectiveFamily):
    """The detector's loss, of its classes: what a victim says of its boxes has no loss of their corners."""

    name: ClassVar[str] = "dpatch"
    summary: ClassVar[str] = (
        "a detector's own loss, raised to hide and lowered towards a target (DPatch, Liu et al. 2019)"
    )

    def for_classifier(self, target: int | None) -> Objective:
        raise InputError("objective dpatch is for detectors; give --objective cross-entropy, margin or logit")

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        if target is None:
            return DetectorLossOfObject() if on_object else DetectorLossOfSurest()
        return RelabelByDetectorLoss(target) if relabels else DetectorLossOfTarget(target)
