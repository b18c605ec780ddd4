"""Projected sign steps with momentum."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.techniques.base import OnCells, shrinking

_MOMENTUM = 0.9


class Pgd(OnCells):
    """MI-FGSM (Dong et al. 2018, algorithm 1) on the cells: sign steps with momentum over L1-normalised gradients.

    The cells are projected onto [0, 1]. The step size falls along a half cosine, as fixed steps circle around the optimum.
    """

    name: ClassVar[str] = "pgd"
    summary: ClassVar[str] = "sign steps with momentum, projected onto printable colours"
    default_learning_rate: ClassVar[float] = 0.05

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._momentum = torch.zeros_like(start)
        self._taken = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def step(self) -> None:
        gradient = self._take_gradient()
        scale = gradient.abs().mean().clamp(min=torch.finfo(gradient.dtype).tiny)
        self._momentum.mul_(_MOMENTUM).add_(gradient / scale)
        size = self.learning_rate * shrinking(int(self._taken), self.steps)
        self._cells.sub_(size * self._momentum.sign()).clamp_(0, 1)
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"momentum": self._momentum.clone(), "taken": self._taken.clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._momentum.copy_(state["momentum"])
        self._taken.copy_(state["taken"])
