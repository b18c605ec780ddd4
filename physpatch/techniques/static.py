"""The original project's rule."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.techniques.base import Technique


class Static(Technique):
    """Average the gradient over each cell and channel, step against its sign by its relative magnitude, stay printable.

    The gradient that reaches a cell is the sum over its pixels; their average differs by one factor for all cells, which
    dividing by the largest magnitude removes. So the learning rate is the change of the strongest cell, in sRGB units.
    """

    summary: ClassVar[str] = "the original rule: cell-averaged gradient, step by sign and magnitude"
    default_learning_rate: ClassVar[float] = 0.05

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._cells = nn.Parameter(start.clone())

    def cells(self) -> Tensor:
        return self._cells

    @torch.no_grad()
    def step(self) -> None:
        gradient = self._cells.grad
        if gradient is None:
            raise RuntimeError("step() before backward()")
        magnitude = gradient.abs()
        move = gradient.sign() * magnitude / magnitude.max().clamp(min=torch.finfo(gradient.dtype).tiny)
        self._cells.sub_(self.learning_rate * move).clamp_(0, 1)
        self._cells.grad = None

    def state(self) -> dict[str, Tensor]:
        return {"cells": self._cells.detach().clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        self._cells.copy_(state["cells"])
