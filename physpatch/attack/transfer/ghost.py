"""Ghost networks."""

from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.attack.transfer.base import TransferMethod, hooked, layers_of
from physpatch.victims.protocol import Victim

_DROPPED = 0.012  # the paper's rate for dropout after every layer


class Ghost(TransferMethod):
    """Drop features after every convolution, so that each step sees another network (Li et al. 2020, section 3.2)."""

    name: ClassVar[str] = "ghost"
    summary: ClassVar[str] = "dropout after every convolution: another network in each step (Li et al. 2020)"

    def inside(self, victim: Victim, images: Tensor, generator: torch.Generator) -> AbstractContextManager[None]:
        def erode(layer: nn.Module, output: Tensor) -> Tensor:
            kept = torch.rand(output.shape, generator=generator) >= _DROPPED
            return output * (kept / (1 - _DROPPED)).to(output)

        return hooked((layer for layer in layers_of(victim) if isinstance(layer, nn.Conv2d)), erode)
