"""How far a class is from leading (Carlini and Wagner 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.cross_entropy import TargetedClassification, UntargetedClassification


@dataclass(frozen=True)
class TargetedMargin(TargetedClassification):
    """How far the target class is from leading (Carlini and Wagner 2017, section V.A, f6).

    An image on which it leads by ``confidence`` stops pulling, so that the cells serve those not yet won.
    """

    confidence: float = 3.0
    term_names: ClassVar[tuple[str, ...]] = ("margin",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        others = scores.scatter(1, torch.full_like(labels, self.target)[:, None], -torch.inf).amax(dim=1)
        return {"margin": (others - scores[:, self.target] + self.confidence).clamp(min=0).mean()}


@dataclass(frozen=True)
class UntargetedMargin(UntargetedClassification):
    """How far the true class is from falling behind, see :class:`TargetedMargin`."""

    confidence: float = 3.0
    term_names: ClassVar[tuple[str, ...]] = ("margin",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        true = scores.gather(1, labels[:, None])[:, 0]
        others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
        return {"margin": (true - others + self.confidence).clamp(min=0).mean()}


class Margin(ObjectiveFamily):
    """The margin between two logits, for classifiers."""

    name: ClassVar[str] = "margin"
    summary: ClassVar[str] = "the class's distance from leading, no further once it leads (Carlini and Wagner 2017)"

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedMargin() if target is None else TargetedMargin(target)
