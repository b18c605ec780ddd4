"""Sign steps towards flat minima."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.techniques.pgd import Pgd

_RADIUS = 0.15  # of the neighbourhood, in sRGB, where the loss should be low too
_BALANCE = 0.5  # the share of the second gradient


class FlatMinimum(Pgd):
    """PGD on the penalised gradient norm (PGN, Ge et al. 2023, algorithm 1): low loss in a whole neighbourhood.

    Two steps of training make one move: the first takes the gradient at a random neighbour, the second one at the point to
    which the loss rises from there, and the cells move along their mean: the gradient of the loss and, to first order, of its
    gradient's norm. So a move costs two gradients and comes half as often.
    """

    name: ClassVar[str] = "flat-minimum"
    summary: ClassVar[str] = "pgd towards flat minima, two gradients a move (PGN, Ge et al. 2023)"
    default_learning_rate: ClassVar[float] = 0.07

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._first = torch.zeros_like(start)  # the first gradient of a move
        self._halves = torch.zeros((), dtype=torch.int64)

    def cells(self) -> Tensor:
        """Return the probed cells of this step while gradients are taken, and the patch itself otherwise."""
        if not torch.is_grad_enabled():
            return self._cells
        return (self._cells + self._offset()).clamp(0, 1)

    @torch.no_grad()
    def step(self) -> None:
        gradient = self._take_gradient()
        self._halves += 1
        if int(self._halves) % 2:
            self._first.copy_(gradient)
            return
        self._cells.grad = (1 - _BALANCE) * self._first + _BALANCE * gradient
        super().step()
        self._taken += 1  # the schedule counts gradients

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"first": self._first.clone(), "halves": self._halves.clone()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._first.copy_(state["first"])
        self._halves.copy_(state["halves"])

    def _offset(self) -> Tensor:
        """Compute where this step's gradient is taken, relative to the cells."""
        move = int(self._halves) // 2
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + move)
        offset = _RADIUS * (2 * torch.rand(self._cells.shape, generator=generator) - 1).to(self._cells)
        if int(self._halves) % 2:
            offset = offset + _RADIUS * self._first.sign()  # uphill, as what falls steeply from there is sharp
        return offset
