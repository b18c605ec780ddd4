"""Estimated gradients, from predictions alone."""

from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from physpatch.techniques.base import GradientFree, OnCells, shrinking

_ROUNDS = ((128, 2), (32, 4), (8, 16))  # the opening: candidates, and images for each
PAIRS = 16
_PROBE = 0.1  # how far a pair lies from the cells, in sRGB
_MOMENTUM = 0.97
_MOMENTUM_OF_NOISE = (1 - _MOMENTUM**2) ** -0.5  # of gradients that have nothing in common, relative to one of them
_MARKED = (0.15, 0.6)  # least and largest share of a two-colour patch that has the second colour


class Evolution(GradientFree, OnCells):
    """Natural evolution strategies: estimate the gradient from pairs of probes, and step along its average.

    Ilyas et al. 2018, section 2: a probe and its mirror image are judged on the same photograph, each pair on another one, and
    the difference of their losses weighs its direction. A step of 16 pairs costs 32 queries. So few pairs say little about 300
    numbers: the momentum averages over about a thousand, and the steps are proportional to it instead of its sign, and short,
    so that noise does not undo what was gained.

    The opening chooses where to begin: the given cells, or one of 127 random patches of two colours, by successive halving
    (Jamieson and Talwalkar 2016) on 2, 4 and 16 photographs, 512 queries. Two colours go far: on EfficientNet-Lite0, the best
    of 20 such patches has a cross entropy that is 1.8 below that of 20 patches of independent colours (docs/results.md).
    """

    name: ClassVar[str] = "evolution"
    summary: ClassVar[str] = (
        "gradients estimated from predictions alone: mirrored probes, after a choice of starts (NES)"
    )
    default_learning_rate: ClassVar[float] = 0.004
    judges_one_image: ClassVar[bool] = True

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._cells.requires_grad_(False)
        self._momentum = torch.zeros_like(start)
        self._taken = torch.zeros((), dtype=torch.int64)
        self._openings = torch.cat([start[None], self._two_coloured(start, _ROUNDS[0][0] - 1)])

    def candidates(self) -> Tensor:
        if self._round is not None:
            return self._openings
        probes = _PROBE * self._directions()
        return torch.stack([self._cells + probes, self._cells - probes], dim=1).flatten(0, 1).clamp(0, 1)

    def judged_on(self, batch: int) -> Tensor:
        if self._round is not None:
            return torch.arange(min(self._round[1], batch)).expand(len(self._openings), -1)
        return torch.arange(PAIRS).remainder(batch).repeat_interleave(2)[:, None]

    @classmethod
    def steps_within(cls, queries: int, batch: int) -> int:
        opening = [number * min(images, batch) for number, images in _ROUNDS]
        if queries < sum(opening):
            return sum(spent <= queries for spent in accumulate(opening))
        return len(_ROUNDS) + (queries - sum(opening)) // (2 * PAIRS)

    @torch.no_grad()
    def tell(self, losses: Tensor) -> None:
        if self._round is not None:
            self._halve(losses)
        else:
            gradient = torch.einsum("p,pcij->cij", self._differences(losses), self._directions())
            self._descend(self._cells, gradient, self._momentum)
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        return super().state() | {
            "momentum": self._momentum.clone(),
            "taken": self._taken.clone(),
            "openings": self._openings.clone(),
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._momentum.copy_(state["momentum"])
        self._taken.copy_(state["taken"])
        self._openings = state["openings"].to(self._cells)

    @property
    def _round(self) -> tuple[int, int] | None:
        """Return the current round of the opening; None after it."""
        number = int(self._taken)
        return _ROUNDS[number] if number < len(_ROUNDS) else None

    def _differences(self, losses: Tensor) -> Tensor:
        """Subtract the losses (2 * pairs,) of each pair, (pairs,)."""
        pairs = losses.to(self._cells).view(PAIRS, 2)
        return pairs[:, 0] - pairs[:, 1]

    def _descend(self, values: Tensor, gradient: Tensor, momentum: Tensor, margin: float = 0.0) -> None:
        """Step along the average of the gradients' directions; the values stay ``margin`` away from 0 and 1."""
        scale = gradient.square().mean().sqrt().clamp(min=torch.finfo(gradient.dtype).tiny)
        momentum.mul_(_MOMENTUM).add_(gradient / scale)
        size = self.learning_rate * shrinking(int(self._taken), self.steps)
        values.sub_(size * momentum / _MOMENTUM_OF_NOISE).clamp_(margin, 1 - margin)

    def _halve(self, losses: Tensor) -> None:
        following = int(self._taken) + 1
        survivor_count = _ROUNDS[following][0] if following < len(_ROUNDS) else 1
        self._openings = self._openings[losses.argsort(stable=True)[:survivor_count].to(self._openings.device)]
        self._cells.copy_(self._openings[0])

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(1_000_003 * self.seed + number)

    def _directions(self) -> Tensor:
        """Draw the pairs' directions of this step: (pairs, 3, rows, columns), 1 or -1 each."""
        coins = torch.randint(2, (PAIRS, *self._cells.shape), generator=self._generator(1 + int(self._taken)))
        return (2 * coins - 1).to(self._cells)

    def _two_coloured(self, start: Tensor, number: int) -> Tensor:
        """Draw patches (number, 3, rows, columns) of a ground with cells of another colour on it."""
        generator = self._generator(0)
        least, most = _MARKED
        share = least + (most - least) * torch.rand(number, 1, 1, 1, generator=generator)
        marked = torch.rand(number, 1, *start.shape[1:], generator=generator) < share
        ground, colour = torch.randint(2, (2, number, 3, 1, 1), generator=generator).float()
        colour = torch.where((colour == ground).all(dim=1, keepdim=True), 1 - ground, colour)
        return torch.where(marked, colour, ground).to(start)
