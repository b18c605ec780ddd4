"""The interfaces of objectives and of their families."""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from torch import Tensor

from calibration.common.errors import InputError


class Objective(Protocol):
    """A loss on the scores of a batch, as named terms whose sum is minimised.

    One whose terms are to be computed from the scores by which success is judged, as it sees answers alone, has an attribute
    ``sees_answers`` of True.
    """

    term_names: ClassVar[tuple[str, ...]]

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the scalar terms of the loss for scores (B, K) and true labels (B,)."""
        ...

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Tell which images of the batch fool the victim, as ``calibration.common.success`` defines it: (B,) bool.

        The scores are those by which success is judged, see ``physpatch.victims.protocol.Victim.judged``: a detector's are of
        the boxes that count, see ``physpatch.victims.boxes.judged_scores``; a classifier that is not sure of any class has a
        further one for that.
        """
        ...


class ObjectiveFamily(ABC):
    """Objectives that share one loss, for each effect that a patch may have.

    Attributes:
        name: as in ``--objective NAME``.
        summary: one line, with its source.
        has_gradient: whether the scores get a gradient; techniques that need one are refused else.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    has_gradient: ClassVar[bool] = True

    @abstractmethod
    def for_classifier(self, target: int | None) -> Objective:
        """Create the objective towards a class; without a target, away from the true class."""

    def for_detector(self, target: int | None, *, relabels: bool, on_object: bool) -> Objective:
        """Create the objective for a detector.

        Args:
            target: the class to detect; None to hide.
            relabels: whether the object's own class must also go undetected.
            on_object: whether the patch lies on an object, whose class the labels give.

        Raises:
            InputError: the family is for classifiers.
        """
        raise InputError(
            f"objective {self.name} is for classifiers, as a detector's classes do not compete; give another --objective"
        )
