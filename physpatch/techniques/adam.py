"""Adam on logits."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.techniques.base import Technique

_INSIDE = 1e-3  # start colours are kept this far from 0 and 1, where the sigmoid has no slope


class Adam(Technique):
    """Adam (Kingma and Ba 2015) on the logits of the cells: a sigmoid keeps them printable without clipping."""

    summary: ClassVar[str] = "Adam on the logits of the cells"
    default_learning_rate: ClassVar[float] = 0.2

    def __init__(self, start: Tensor, learning_rate: float | None = None) -> None:
        super().__init__(start, learning_rate)
        self._logits = torch.logit(start.clamp(_INSIDE, 1 - _INSIDE)).requires_grad_()
        self._optimiser = torch.optim.Adam([self._logits], lr=self.learning_rate)

    def cells(self) -> Tensor:
        return self._logits.sigmoid()

    def step(self) -> None:
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        moments = self._optimiser.state_dict()["state"].get(0, {})
        return {"logits": self._logits.detach().clone()} | {f"adam.{k}": v.clone() for k, v in moments.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        self._logits.copy_(state["logits"])
        moments = {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": {0: moments} if moments else {}, "param_groups": groups})
