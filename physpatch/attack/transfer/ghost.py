"""Ghost networks."""

from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.attack.transfer.base import Layer, TransferMethod, hooked, layers_of
from physpatch.victims.protocol import Victim

_DROPPED = 0.012  # the paper's rate for dropout after every layer


class Ghost(TransferMethod):
    """Drop features after every convolution, so that each step sees another network (Li et al. 2020, section 3.2)."""

    name: ClassVar[str] = "ghost"
    summary: ClassVar[str] = "dropout after every convolution: another network in each step (Li et al. 2020)"

    def disturbs(self, victim: Victim) -> bool:
        return bool(_convolutions(victim))

    def inside(self, victim: Victim, images: Tensor, generator: torch.Generator) -> AbstractContextManager[None]:
        seed = int(torch.randint(2**62, (), generator=generator))
        fast = torch.Generator(victim.device).manual_seed(seed)  # a network has millions of features to draw for

        def erode(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            keep_mask = torch.rand(output.shape, generator=fast, device=output.device) >= _DROPPED
            return output * (keep_mask / (1 - _DROPPED)).to(output)

        return hooked(_convolutions(victim), erode)


def _convolutions(victim: Victim) -> list[Layer]:
    return [layer for layer in layers_of(victim) if isinstance(layer, nn.Conv2d)]
