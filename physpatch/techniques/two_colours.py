"""Patches of two colours, from predictions alone."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.techniques.evolution import PAIRS, Evolution

_DOUBT = 0.1  # the probability, at first and at the end, that a cell has the other colour


class TwoColours(Evolution):
    """Learn which cells have the second of two colours: a probability for each, from pairs of drawn patches.

    The natural gradient of independent Bernoulli variables (Ollivier et al. 2017, section 2.3, PBIL), with pairs drawn from
    opposite numbers and judged on the same photograph. Every patch that is judged has full contrast, while :class:`Evolution`
    loses some on its way between the colours.

    The colours and the first probabilities are those of the opening's best patch.
    """

    name: ClassVar[str] = "two-colours"
    summary: ClassVar[str] = "which cells have the second of two colours, from predictions alone (PBIL)"

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._marked = torch.full(start.shape[1:], 0.5).to(start)  # the probability of the second colour
        self._tendency = torch.zeros_like(self._marked)
        self._colours = torch.zeros(2, 3, 1, 1).to(start)

    def candidates(self) -> Tensor:
        return super().candidates() if self._round is not None else self._coloured(self._masks())

    @torch.no_grad()
    def tell(self, losses: Tensor) -> None:
        if self._round is not None:
            super().tell(losses)
            return
        masks = self._masks().view(PAIRS, 2, *self._marked.shape)
        gradient = torch.einsum("p,pij->ij", self._differences(losses), masks[:, 0] - masks[:, 1])
        self._descend(self._marked, gradient, self._tendency, margin=_DOUBT)
        self._cells.copy_(self._coloured((self._marked > 0.5).to(self._cells)[None])[0])
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        own = {"marked": self._marked, "tendency": self._tendency, "colours": self._colours}
        return super().state() | {name: tensor.clone() for name, tensor in own.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._marked.copy_(state["marked"])
        self._tendency.copy_(state["tendency"])
        self._colours.copy_(state["colours"])

    def _halve(self, losses: Tensor) -> None:
        super()._halve(losses)
        if len(self._openings) == 1:
            self._take_colours()

    def _take_colours(self) -> None:
        """Part the cells of the best patch in two along their principal axis, and take the means of the parts."""
        colours = self._cells.flatten(1).T
        centred = colours - colours.mean(dim=0)
        axis = torch.linalg.svd(centred, full_matrices=False).Vh[0]
        second = centred @ axis > 0
        for number, part in enumerate((~second, second)):
            self._colours[number, :, 0, 0] = colours[part].mean(dim=0) if part.any() else colours.mean(dim=0)
        marked = second.view_as(self._marked).to(self._marked)
        self._marked.copy_(_DOUBT + (1 - 2 * _DOUBT) * marked)

    def _masks(self) -> Tensor:
        """Draw the masks of this step, (2 * pairs, rows, columns), 0 or 1; those of a pair from opposite numbers."""
        numbers = torch.rand(PAIRS, *self._marked.shape, generator=self._generator(1 + int(self._taken)))
        opposite = torch.stack([numbers, 1 - numbers], dim=1).flatten(0, 1).to(self._marked)
        return (opposite < self._marked).to(self._marked)

    def _coloured(self, masks: Tensor) -> Tensor:
        """Colour masks (N, rows, columns): (N, 3, rows, columns)."""
        return torch.where(masks[:, None] > 0, self._colours[1], self._colours[0])
