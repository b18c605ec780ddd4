"""The logit itself (Zhao et al. 2021)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.cross_entropy import TargetedClassification, UntargetedClassification


@dataclass(frozen=True)
class TargetedLogit(TargetedClassification):
    """The target's logit, negated: unlike that of the cross entropy, its gradient does not fade as the target comes first."""

    term_names: ClassVar[tuple[str, ...]] = ("logit",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"logit": -scores[:, self.target].mean()}


@dataclass(frozen=True)
class UntargetedLogit(UntargetedClassification):
    """The true class's logit."""

    term_names: ClassVar[tuple[str, ...]] = ("logit",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"logit": scores.gather(1, labels[:, None]).mean()}


class Logit(ObjectiveFamily):
    """The logit of one class, for classifiers."""

    name: ClassVar[str] = "logit"
    summary: ClassVar[str] = "the class's logit, which transfers better between networks (Zhao et al. 2021)"

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedLogit() if target is None else TargetedLogit(target)
