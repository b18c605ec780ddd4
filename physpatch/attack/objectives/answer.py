"""The answer alone, for a model that says nothing else."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.cross_entropy import TargetedClassification, UntargetedClassification


@dataclass(frozen=True)
class TargetedAnswer(TargetedClassification):
    """The share of images on which the target does not come first."""

    term_names: ClassVar[tuple[str, ...]] = ("failed",)
    sees_answers: ClassVar[bool] = True

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"failed": 1 - self.success(scores, labels).float().mean()}


@dataclass(frozen=True)
class UntargetedAnswer(UntargetedClassification):
    """The share of images on which the true class comes first."""

    term_names: ClassVar[tuple[str, ...]] = ("failed",)
    sees_answers: ClassVar[bool] = True

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"failed": 1 - self.success(scores, labels).float().mean()}


class Answer(ObjectiveFamily):
    """The share of wrong or untargeted answers: hard labels, as of a product that says just its answer."""

    name: ClassVar[str] = "answer"
    summary: ClassVar[str] = "the answer alone, without scores, for techniques without gradients (hard labels)"
    has_gradient: ClassVar[bool] = False

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedAnswer() if target is None else TargetedAnswer(target)
