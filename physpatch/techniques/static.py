"""The original project's rule."""

from typing import ClassVar

import torch

from physpatch.techniques.base import OnCells


class Static(OnCells):
    """Average the gradient over each cell and channel, step against its sign by its relative magnitude, stay printable.

    The gradient that reaches a cell is the sum over its pixels; their average differs by one factor for all cells, which
    dividing by the largest magnitude removes. So the learning rate is the change of the strongest cell, in sRGB units.
    """

    name: ClassVar[str] = "static"
    summary: ClassVar[str] = "the original rule: cell-averaged gradient, step by sign and magnitude"
    default_learning_rate: ClassVar[float] = 0.05

    @torch.no_grad()
    def step(self) -> None:
        gradient = self._take_gradient()
        magnitude = gradient.abs()
        move = gradient.sign() * magnitude / magnitude.max().clamp(min=torch.finfo(gradient.dtype).tiny)
        self._cells.sub_(self.learning_rate * move).clamp_(0, 1)
