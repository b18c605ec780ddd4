"""Stochastic depth: residual blocks are left out, so that each scene is seen by a shallower network."""

from contextlib import AbstractContextManager
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from physpatch.attack.transfer.base import TransferMethod, hooked, layers_of
from physpatch.victims.protocol import Victim

_DROPPED = 0.2  # of the last block, as EfficientNets are trained (Tan and Le 2019, section 5.2)
_PROBES = 2  # images from which blocks are told
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


class DroppedBlocks(TransferMethod):
    """Leave out residual blocks, each scene others: the deeper, the more often (Huang et al. 2016, sections 3 and 4).

    A block is left out with the share of its place in the network, up to 0.2 for the last; what it adds to its input is scaled
    so that its mean stays.
    """

    name: ClassVar[str] = "dropped-blocks"
    summary: ClassVar[str] = "residual blocks left out: a shallower network for each scene (Huang et al. 2016)"

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, list[nn.Module]] = WeakKeyDictionary()

    def disturbs(self, victim: Victim) -> bool:
        return bool(self._blocks(victim))

    def inside(self, victim: Victim, images: Tensor, generator: torch.Generator) -> AbstractContextManager[None]:
        blocks = self._blocks(victim)
        dropped = {block: _DROPPED * (number + 1) / len(blocks) for number, block in enumerate(blocks)}

        def leave_out(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            kept = torch.rand(len(output), generator=generator) >= dropped[block]
            scale = (kept / (1 - dropped[block])).to(output).view(-1, *[1] * (output.ndim - 1))
            return inputs[0] + scale * (output - inputs[0])

        return hooked(blocks, leave_out)

    def _blocks(self, victim: Victim) -> list[nn.Module]:
        if victim.module not in self._known:
            self._known[victim.module] = residual_blocks(victim)
        return self._known[victim.module]


@torch.no_grad()
def residual_blocks(victim: Victim) -> list[nn.Module]:
    """Find the innermost parts of a network that add something to their input, in the order in which they are passed.

    These are the parts that return their input if all their convolutions, linear layers and norms return zeros, which is
    tried on two random images. Parts of exported networks cannot be tried.
    """
    found: list[nn.Module] = []
    trying = False

    def silence(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return torch.zeros_like(output) if trying else None

    def examine(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal trying
        shapes = [getattr(value, "shape", None) for value in (*inputs[:1], output)]
        if trying or len(shapes) < 2 or shapes[0] != shapes[1] or any(inner in found for inner in part.modules()):
            return
        trying = True
        if torch.equal(part.forward(*inputs), inputs[0]):
            found.append(part)
        trying = False

    layers = set(layers_of(victim))
    norms = [part for part in victim.module.modules() if isinstance(part, _NORMS)]
    parts = [part for part in victim.module.modules() if part not in layers and not layers.isdisjoint(part.modules())]
    size = victim.preprocessing.size
    images = torch.rand(_PROBES, 3, size, size, generator=torch.Generator().manual_seed(0)).to(victim.device)
    with hooked([*layers, *norms], silence), hooked(parts, examine):
        victim.scores(images)
    return found
