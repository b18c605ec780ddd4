"""Transformations that widen as the patch succeeds."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.records.eot_config import EotConfig
from physpatch.techniques.adam import Adam

_WIDER = 0.02  # of the whole range, after each sufficiently successful step
_OFTEN = 0.25  # share of the batch that makes a step sufficiently successful
_WHOLE_AFTER = 0.6  # share of the steps after which the ranges are whole, as in the evaluation


class Curriculum(Adam):
    """Adam that begins with no transformation but a print's colours; the ranges widen with success, and are whole at last."""

    name: ClassVar[str] = "curriculum"
    summary: ClassVar[str] = "Adam with transformations that widen as success grows"

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self._width = 0.0

    def ranges(self, full: EotConfig) -> EotConfig:
        due = self._taken / max(1.0, _WHOLE_AFTER * self.steps)
        return full.narrowed(min(1.0, max(self._width, due)))

    def observe(self, success: float) -> None:
        if success >= _OFTEN:
            self._width = min(1.0, self._width + _WIDER)

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"width": torch.tensor(self._width, dtype=torch.float64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        super().restore(state)
        self._width = float(state["width"])
