"""Optimisation from predictions alone, without gradients."""

from typing import ClassVar

import numpy as np
import torch
from cmaes import SepCMA
from torch import Tensor, nn

from physpatch.techniques.base import GradientFree

_POPULATION = 12
_MARGIN = 0.05  # start colours are kept this far from 0 and 1, where the sigmoid is flat


class BlackBox(GradientFree):
    """Separable CMA-ES (Ros and Hansen 2008, the ``cmaes`` library) on the logits of the cells.

    A step evaluates a population of patches on one batch. A checkpoint holds the losses of all steps instead of the library's
    own state: resuming replays them, which gives the same candidates without running a victim.
    """

    name: ClassVar[str] = "black-box"
    summary: ClassVar[str] = "CMA-ES on predictions alone, a population of patches per step"
    default_learning_rate: ClassVar[float] = 1.0  # the initial standard deviation of the logits

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._mean = nn.Parameter(torch.logit(start.clamp(_MARGIN, 1 - _MARGIN)), requires_grad=False)
        self._start = self._mean.detach().clone()
        self._candidates: list[np.ndarray] = []
        self._losses: list[Tensor] = []
        self._begin()

    def cells(self) -> Tensor:
        return self._mean.sigmoid()

    def candidates(self) -> Tensor:
        return torch.stack([self._as_cells(logits) for logits in self._candidates])

    def tell(self, losses: Tensor) -> None:
        self._losses.append(losses.detach().double().cpu())
        self._strategy.tell(list(zip(self._candidates, self._losses[-1].tolist(), strict=True)))
        with torch.no_grad():
            self._mean.copy_(torch.from_numpy(self._strategy.mean.astype(np.float32)).reshape(self._mean.shape))
        self._candidates = [self._strategy.ask() for _ in range(_POPULATION)]

    def state(self) -> dict[str, Tensor]:
        losses = torch.stack(self._losses) if self._losses else torch.zeros(0, _POPULATION, dtype=torch.float64)
        return {"start": self._start.clone(), "told": losses}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._start.copy_(state["start"])
        self._begin()
        for losses in state["told"]:
            self.tell(losses)

    def _begin(self) -> None:
        start = self._start.cpu().double().flatten().numpy()
        self._strategy = SepCMA(start, self.learning_rate, seed=self.seed, population_size=_POPULATION)
        self._losses = []
        with torch.no_grad():
            self._mean.copy_(self._start)
        self._candidates = [self._strategy.ask() for _ in range(_POPULATION)]

    def _as_cells(self, logits: np.ndarray) -> Tensor:
        return torch.from_numpy(logits.astype(np.float32)).reshape(self._mean.shape).to(self._mean.device).sigmoid()
