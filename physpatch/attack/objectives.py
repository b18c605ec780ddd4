"""What the patch is trained to bring about. Every objective is minimised; terms are logged apart."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.common.errors import InputError, unknown_name
from calibration.common.success import DETECTION_THRESHOLD, Aim
from physpatch.victims.protocol import Task


class Objective(Protocol):
    """Scores of a batch in, named loss terms out; their sum is minimised."""

    term_names: ClassVar[tuple[str, ...]]

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Scalar terms of the loss for scores (B, K) and true labels (B,)."""
        ...

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Tell which images of the batch are fooled, as ``calibration.common.success`` says: (B,) bool.

        A detector's scores are those of the boxes that count, see ``physpatch.victims.protocol.judged_scores``.
        """
        ...


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
    """-log(1 - p) of the true class: unlike -cross entropy it stops pulling at images that are fooled already."""

    term_names: ClassVar[tuple[str, ...]] = ("true_class",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        true = scores.gather(1, labels[:, None])[:, 0]
        others = scores.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
        return {"true_class": F.softplus(true - others).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.argmax(dim=1) != labels


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


@dataclass(frozen=True)
class TargetedDetection:
    """-log p of the target class's most confident box: a phantom appears."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("appear",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"appear": F.softplus(-scores[:, self.target]).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores[:, self.target].sigmoid() >= DETECTION_THRESHOLD


@dataclass(frozen=True)
class HideDetection:
    """-log(1 - p) of the most confident box of any class: nothing is found."""

    term_names: ClassVar[tuple[str, ...]] = ("hide",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": F.softplus(scores.amax(dim=1)).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.amax(dim=1).sigmoid() < DETECTION_THRESHOLD


@dataclass(frozen=True)
class HideObject:
    """-log(1 - p) of the object's own class, about the object: what stands there is not found for what it is."""

    term_names: ClassVar[tuple[str, ...]] = ("hide",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": F.softplus(scores.gather(1, labels[:, None])).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.gather(1, labels[:, None])[:, 0].sigmoid() < DETECTION_THRESHOLD


@dataclass(frozen=True)
class RelabelObject(HideObject):
    """The object's own class is not found about it, and another is."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("hide", "appear")

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return super().terms(scores, labels) | {"appear": F.softplus(-scores[:, self.target]).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return super().success(scores, labels) & (scores[:, self.target].sigmoid() >= DETECTION_THRESHOLD)


OBJECTIVES = ("cross-entropy", "margin")


def choose_goal(goal: str, target: int | None, on_object: bool) -> str:
    """What ``auto`` of ``config.GOALS`` means for a detector, or the goal itself.

    Raises:
        InputError: a goal that needs a target or an object and has none, or that has no use for the target.
    """
    if goal == "auto":
        return Aim(goal, target=target).resolved(on_object)
    if goal == "hide" and target is not None:
        raise InputError("goal hide takes no target class; give --target none, or --goal relabel or appear")
    if goal != "hide" and target is None:
        raise InputError(f"goal {goal} needs a class to be found; give --target")
    if goal == "relabel" and not on_object:
        raise InputError("goal relabel needs the object that is to be taken for something else; give --object")
    return goal


def choose_objective(
    task: Task, target: int | None, loss: str = "cross-entropy", *, goal: str = "auto", on_object: bool = False
) -> Objective:
    """The objective for a victim's task and a target class, or None for untargeted.

    ``goal`` is one of ``config.GOALS``, for detectors. ``on_object`` is for a detector before an object, the label being
    the object's class.

    Raises:
        InputError: no such loss, none of that name for detectors, or a goal that cannot be had.
    """
    if loss not in OBJECTIVES:
        raise unknown_name("objective", loss, OBJECTIVES)
    if task == "detect":
        if loss != "cross-entropy":
            raise InputError(f"objective {loss} is for classifiers; a detector's scores are not in competition")
        if target is None:
            choose_goal(goal, target, on_object)
            return HideObject() if on_object else HideDetection()
        relabels = choose_goal(goal, target, on_object) == "relabel"
        return RelabelObject(target) if relabels else TargetedDetection(target)
    if goal != "auto":
        raise InputError(f"goal {goal} is for detectors, such as --model signs; a classifier is aimed by --target")
    if loss == "margin":
        return UntargetedMargin() if target is None else TargetedMargin(target)
    return UntargetedClassification() if target is None else TargetedClassification(target)
