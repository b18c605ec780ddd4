"""The protocol that every technique follows."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.records.eot_config import EotConfig


class Technique(nn.Module, ABC):
    """Holds the cells in a form of its own, gives them out differentiably, and moves them after each backward pass.

    What is learned is the module's parameters, so that it can be wrapped for several processes.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_learning_rate: ClassVar[float]
    needs_several_victims: ClassVar[bool] = False

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        """Begin at ``start``: (3, rows, columns) sRGB in [0, 1].

        ``steps`` is how many are planned, for schedules; ``seed`` is for techniques that draw numbers of their own.
        """
        super().__init__()
        self.learning_rate = self.default_learning_rate if learning_rate is None else learning_rate
        self.steps, self.seed = steps, seed

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

    def ranges(self, full: EotConfig) -> EotConfig:
        """The EOT ranges of the next step, within the run's own."""
        return full

    def observe(self, success: float) -> None:
        """Learn which share of the step's batch was fooled; called after :meth:`step`."""

    def weigh(self, losses: Tensor) -> Tensor:
        """Weights (V,) of several victims' losses (V,)."""
        return torch.full_like(losses, 1 / len(losses))


class OnCells(Technique):
    """A technique that learns the cells' colours themselves and projects them onto what can be printed."""

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._cells = nn.Parameter(start.clone())

    def cells(self) -> Tensor:
        return self._cells

    def _take_gradient(self) -> Tensor:
        """What the backward pass left on the cells, which is cleared."""
        gradient, self._cells.grad = self._cells.grad, None
        if gradient is None:
            raise RuntimeError("step() before backward()")
        return gradient

    def state(self) -> dict[str, Tensor]:
        return {"cells": self._cells.detach().clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        self._cells.copy_(state["cells"])


def shrinking(taken: int, steps: int) -> float:
    """A factor on the step size that falls along a half cosine from 1 to 0.05 over a run of ``steps``."""
    return 0.05 + 0.95 * (1 + math.cos(math.pi * min(taken / steps, 1.0))) / 2


class GradientFree(Technique):
    """A technique that asks for the losses of whole candidates: the victim gives predictions alone."""

    @abstractmethod
    def candidates(self) -> Tensor:
        """Patches to be judged on the next batch: (P, 3, rows, columns), sRGB in [0, 1]."""

    @abstractmethod
    def tell(self, losses: Tensor) -> None:
        """The candidates' losses (P,) on that batch."""

    def step(self) -> None:
        raise TypeError(f"{type(self).__name__} takes losses, not gradients")
