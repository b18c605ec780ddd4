"""Cross entropy, and its counterpart for detectors, where each score has its own sigmoid."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.detection import HideDetection, HideObject, RelabelObject, TargetedDetection


@dataclass(frozen=True)
class TargetedClassification:
    """Cross entropy towards one class."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("ce",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(scores, torch.full_like(labels, self.target))}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.argmax(dim=1) == self.target


@dataclass(frozen=True)
class UntargetedClassification:
    """-log(1 - p) of the true class. Unlike the negative cross entropy, it fades on images that already fool the victim."""

    term_names: ClassVar[tuple[str, ...]] = ("true_class",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        true = scores.gather(1, labels[:, None])[:, 0]
        wrong = scores.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
        return {"true_class": F.softplus(true - wrong).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.argmax(dim=1) != labels


class CrossEntropy(ObjectiveFamily):
    """The logarithm of the probability, for classifiers and detectors."""

    name: ClassVar[str] = "cross-entropy"
    summary: ClassVar[str] = "the logarithm of the class's probability"

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedClassification() if target is None else TargetedClassification(target)

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        if target is None:
            return HideObject() if on_object else HideDetection()
        return RelabelObject(target) if relabels else TargetedDetection(target)
