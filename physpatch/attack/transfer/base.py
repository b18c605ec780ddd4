"""The interface of transfer methods."""

from abc import ABC
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.victims.protocol import Victim

Layer = nn.Conv2d | nn.Linear
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


class TransferMethod(ABC):
    """A disturbance of the scenes, or of the networks, drawn anew in each step.

    Published methods average the gradients of several copies of one image. Here each photograph of a batch gets a draw of its
    own instead, as it gets a pose: the mean over steps is the same, and a step costs no more.

    Attributes:
        name: as in ``--transfer NAME``.
        summary: one line, with its source.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def disturbs(self, victim: Victim) -> bool:
        """Tell whether a network has what this method disturbs."""
        return True

    def scenes(self, composites: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """Disturb the photographs with the patch in them.

        Args:
            composites: (B, 3, S, S) RGB in [0, 1]; gradients flow through them.
            images: the photographs without the patch, in the same form.
            generator: of all random numbers, on the CPU.
        """
        return composites

    def inside(self, victim: Victim, images: Tensor, generator: torch.Generator) -> AbstractContextManager[None]:
        """Disturb a network for the passes in the block.

        Args:
            victim: the network, which is left as it was.
            images: (B, 3, S, S) the photographs without the patch, at the network's own size.
            generator: of all random numbers, on the CPU.
        """
        return nullcontext()


def layers_of(victim: Victim) -> list[Layer]:
    """List the convolutions and linear layers of a network."""
    return [layer for layer in victim.module.modules() if isinstance(layer, Layer)]


@contextmanager
def hooked(layers: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Pass each layer, its inputs and its output to ``hook`` in the block, which returns another output, or None."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
