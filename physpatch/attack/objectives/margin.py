"""The margin by which a class leads (Carlini and Wagner 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.cross_entropy import TargetedClassification, UntargetedClassification


@dataclass(frozen=True)
class TargetedMargin(TargetedClassification):
    """The margin by which the target class fails to lead (Carlini and Wagner 2017, section V.A, f6).

    Images on which the target leads by ``confidence`` no longer contribute, so that the others decide.
    """

    confidence: float = 3.0
    term_names: ClassVar[tuple[str, ...]] = ("margin",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        runner_up = scores.scatter(1, torch.full_like(labels, self.target)[:, None], -torch.inf).amax(dim=1)
        return {"margin": (runner_up - scores[:, self.target] + self.confidence).clamp(min=0).mean()}


@dataclass(frozen=True)
class UntargetedMargin(UntargetedClassification):
    """The margin by which the true class leads, see :class:`TargetedMargin`."""

    confidence: float = 3.0
    term_names: ClassVar[tuple[str, ...]] = ("margin",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        true = scores.gather(1, labels[:, None])[:, 0]
        runner_up = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
        return {"margin": (true - runner_up + self.confidence).clamp(min=0).mean()}


class Margin(ObjectiveFamily):
    """The margin between two logits, for classifiers."""

    name: ClassVar[str] = "margin"
    summary: ClassVar[str] = "the margin to the leading class, up to a limit (Carlini and Wagner 2017)"

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedMargin() if target is None else TargetedMargin(target)
