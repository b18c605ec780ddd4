"""Adam on the logits of the cells."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.techniques.base import Technique, shrinking

_MARGIN = 1e-3  # start colours are kept this far from 0 and 1, where the sigmoid has no slope


class Adam(Technique):
    """Adam (Kingma and Ba 2015) on the logits of the cells: a sigmoid keeps them printable without clipping."""

    name: ClassVar[str] = "adam"
    summary: ClassVar[str] = "Adam on the logits of the cells"
    default_learning_rate: ClassVar[float] = 0.2

    def __init__(self, start: Tensor, learning_rate: float | None = None, *, steps: int = 200, seed: int = 0) -> None:
        super().__init__(start, learning_rate, steps=steps, seed=seed)
        self.logits = nn.ParameterList(self.first_logits(torch.logit(start.clamp(_MARGIN, 1 - _MARGIN))))
        self._optimiser = torch.optim.Adam(self.logits, lr=self.learning_rate)
        self._taken = 0

    def first_logits(self, start: Tensor) -> list[Tensor]:
        """Create the parameters from the logits of the start (3, rows, columns)."""
        return [start]

    def cells(self) -> Tensor:
        return self.logits[0].sigmoid()

    def step(self) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate * shrinking(self._taken, self.steps)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._taken += 1

    def state(self) -> dict[str, Tensor]:
        tensors = {f"logits.{i}": logits.detach() for i, logits in enumerate(self.logits)}
        for i, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{name}": value for name, value in moments.items()}
        return {name: tensor.clone() for name, tensor in tensors.items()} | {"taken": torch.tensor(self._taken)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        for i, logits in enumerate(self.logits):
            logits.copy_(state[f"logits.{i}"])
        self._taken = int(state["taken"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, number, name = key.split(".")
                moments.setdefault(int(number), {})[name] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
