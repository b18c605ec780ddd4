"""The update rule of the original project."""

from typing import ClassVar

import torch

from physpatch.techniques.base import OnCells


class Static(OnCells):
    """Steps against the sign of each cell's average gradient, by its relative magnitude, projected onto [0, 1].

    The gradient of a cell is the sum over its pixels. It differs from the average by the same factor for all cells, which
    division by the largest magnitude removes. So the learning rate is the change of the strongest cell, in sRGB units.
    """

    name: ClassVar[str] = "static"
    summary: ClassVar[str] = "the original rule: steps by sign and magnitude of the cell-averaged gradient"
    default_learning_rate: ClassVar[float] = 0.05

    @torch.no_grad()
    def step(self) -> None:
        gradient = self._take_gradient()
        magnitude = gradient.abs()
        move = gradient.sign() * magnitude / magnitude.max().clamp(min=torch.finfo(gradient.dtype).tiny)
        self._cells.sub_(self.learning_rate * move).clamp_(0, 1)
