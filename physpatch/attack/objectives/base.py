"""What every objective offers, and every way of choosing one."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor

from calibration.common.errors import InputError


class Objective(Protocol):
    """Scores of a batch in, named loss terms out; their sum is minimised."""

    term_names: ClassVar[tuple[str, ...]]

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Scalar terms of the loss for scores (B, K) and true labels (B,)."""
        ...

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Tell which images of the batch are fooled, as ``calibration.common.success`` says: (B,) bool.

        A detector's scores are those of the boxes that count, see ``physpatch.victims.boxes.judged_scores``.
        """
        ...


class ObjectiveFamily(ABC):
    """Objectives of one idea: one for each thing that a patch may be to bring about.

    Attributes:
        name: as in ``--objective NAME``.
        summary: one line, with its source.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def for_classifier(self, target: int | None) -> Objective:
        """Make the objective towards a class, or away from the true one without a target."""

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        """Make the objective before a detector.

        Args:
            target: the class to be found; None hides.
            relabels: the object's own class is not to be found besides.
            on_object: the label is the class of an object, on which the patch lies.

        Raises:
            InputError: this family is for classifiers.
        """
        raise InputError(f"objective {self.name} is for classifiers; a detector's scores are not in competition")
