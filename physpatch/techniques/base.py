"""The interface of every technique."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.records.eot_config import EotConfig


class Technique(nn.Module, ABC):
    """A technique holds the cells in its own form, returns them with a gradient, and updates them after each backward pass.

    It learns its module parameters, so that several processes can wrap it.

    Attributes:
        name: as in ``--technique NAME``.
        summary: one line.
        default_learning_rate: where none is given.
        needs_several_victims: whether it weighs the losses of several victims.
        keeps_start: whether it begins with the cells that it is given.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_learning_rate: ClassVar[float]
    needs_several_victims: ClassVar[bool] = False
    keeps_start: ClassVar[bool] = True

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        """Begin at given cells.

        Args:
            start: (3, rows, columns) sRGB in [0, 1].
            learning_rate: None for the technique's default.
            steps: the number planned, for schedules.
            seed: for techniques that draw random numbers.
        """
        super().__init__()
        self.learning_rate = self.default_learning_rate if learning_rate is None else learning_rate
        self.steps, self.seed = steps, seed

    @abstractmethod
    def cells(self) -> Tensor:
        """Return the cells (3, rows, columns), sRGB in [0, 1], with a gradient to the parameters."""

    @abstractmethod
    def step(self) -> None:
        """Apply the gradient of the last backward pass, then clear it."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return everything needed to resume, as tensors."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from the result of :meth:`state`."""

    def ranges(self, full: EotConfig) -> EotConfig:
        """Return the EOT ranges of the next step, within those of the run."""
        return full

    def observe(self, success: float) -> None:
        """Note the share of the step's batch that fooled the victims; called after :meth:`step`."""

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weights (V,) of several victims' losses (V,)."""
        return torch.full_like(losses, 1 / len(losses))


class OnCells(Technique):
    """A technique that learns the cells' colours themselves and projects them onto [0, 1]."""

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._cells = nn.Parameter(start.clone())

    def cells(self) -> Tensor:
        return self._cells

    def _take_gradient(self) -> Tensor:
        """Return the cells' gradient and clear it."""
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
    """Compute the factor on the step size: it falls along a half cosine from 1 to 0.05 over a run of ``steps``."""
    return 0.05 + 0.95 * (1 + math.cos(math.pi * min(taken / steps, 1.0))) / 2


class GradientFree(Technique):
    """A technique that uses the losses of candidate patches, so that predictions alone suffice.

    Attributes:
        judges_one_image: whether it judges most candidates on a single image each.
    """

    judges_one_image: ClassVar[bool] = False

    @abstractmethod
    def candidates(self) -> Tensor:
        """Propose patches for the next batch: (P, 3, rows, columns), sRGB in [0, 1]."""

    def judged_on(self, batch: int) -> Tensor:
        """Choose the images of a batch on which each candidate is judged: (P, n) rows of it. Default: all, in order.

        Every image of every candidate is one query.
        """
        return torch.arange(batch).expand(len(self.candidates()), batch)

    @classmethod
    def steps_within(cls, queries: int, batch: int) -> int:
        """Compute how many steps of ``batch`` images need no more than this number of queries."""
        return queries // cls(torch.zeros(3, 1, 1)).judged_on(batch).numel()

    @abstractmethod
    def tell(self, losses: Tensor) -> None:
        """Receive the candidates' losses (P,) on that batch."""

    def step(self) -> None:
        raise TypeError(f"{type(self).__name__} takes losses, not gradients")
