"""Generalised cross entropy (Zhang and Sabuncu 2018), which does not insist on images that are out of reach."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from physpatch.attack.objectives.base import Objective, ObjectiveFamily
from physpatch.attack.objectives.cross_entropy import TargetedClassification, UntargetedClassification, lead

EXPONENT = 0.5  # between 0, which is the cross entropy, and 1, which is the probability itself


@dataclass(frozen=True)
class TargetedPower(TargetedClassification):
    """(1 - p^q) / q of the target's probability p (Zhang and Sabuncu 2018, equation 6).

    Its gradient is that of the cross entropy times p^q. So an image on which the class is hopeless, as where few pixels show
    the patch, has little say, and the steps go where success can be had.
    """

    exponent: float = EXPONENT
    term_names: ClassVar[tuple[str, ...]] = ("gce",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        log_p = F.log_softmax(scores, dim=1)[:, self.target]
        return {"gce": _loss(log_p, self.exponent)}


@dataclass(frozen=True)
class UntargetedPower(UntargetedClassification):
    """The same of the probability that the answer is not the true class."""

    exponent: float = EXPONENT
    term_names: ClassVar[tuple[str, ...]] = ("gce",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"gce": _loss(F.logsigmoid(-lead(scores, labels)), self.exponent)}


class GeneralisedCrossEntropy(ObjectiveFamily):
    """A power of one class's probability, for classifiers."""

    name: ClassVar[str] = "generalised-cross-entropy"
    summary: ClassVar[str] = (
        "a power of the class's probability, where images out of reach count less (Zhang et al. 2018)"
    )

    def for_classifier(self, target: int | None) -> Objective:
        return UntargetedPower() if target is None else TargetedPower(target)


def _loss(log_probability: Tensor, exponent: float) -> Tensor:
    """(1 - p^q) / q, the mean over images, from log p (N,)."""
    return -((exponent * log_probability).expm1() / exponent).mean()
