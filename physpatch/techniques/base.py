"""The protocol that every technique follows."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Technique(ABC):
    """Holds the cells in a form of its own, gives them out differentiably, and moves them after each backward pass."""

    summary: ClassVar[str]
    default_learning_rate: ClassVar[float]

    def __init__(self, start: Tensor, learning_rate: float | None = None) -> None:
        """Begin at ``start``: (3, rows, columns) sRGB in [0, 1]."""
        self.learning_rate = self.default_learning_rate if learning_rate is None else learning_rate

    @abstractmethod
    def cells(self) -> Tensor:
        """The cells (3, rows, columns), sRGB in [0, 1], connected to what is learned."""

    @abstractmethod
    def step(self) -> None:
        """Use the gradient that the backward pass left, then clear it."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on later, as tensors."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
