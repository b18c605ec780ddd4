"""Clean feature mixup."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from physpatch.attack.transfer.base import TransferMethod, hooked, layers_of
from physpatch.victims.protocol import Victim

_MIXED = 0.1  # of the layers, in each step
_MOST = 0.75  # the largest share of a clean channel
_CLEAN = 4  # one photograph in so many is passed without the patch, which costs a twelfth of a step


class FeatureMixup(TransferMethod):
    """Mix the features of other, clean photographs into those of the scenes (Byun et al. 2023, section 3.2).

    Each layer is mixed with a probability of 0.1, each of its channels with a share of 0 to 0.75. The paper stores the clean
    features of its batch once; a training has new photographs in each step, so the clean features are of some of these.
    """

    name: ClassVar[str] = "feature-mixup"
    summary: ClassVar[str] = "clean photographs' features mixed into the scenes' (CFM, Byun et al. 2023)"

    def disturbs(self, victim: Victim) -> bool:
        return bool(layers_of(victim))

    @contextmanager
    def inside(self, victim: Victim, images: Tensor, generator: torch.Generator) -> Iterator[None]:
        mixed = [layer for layer in layers_of(victim) if float(torch.rand(1, generator=generator)) < _MIXED]
        clean: dict[nn.Module, Tensor] = {}

        def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            clean[layer] = output.clone()  # activations that follow work in place

        with torch.no_grad(), hooked(mixed, keep):
            victim.scores(images[::_CLEAN])

        def mix(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            clean_outputs = clean[layer]
            shape = [len(output), *[1] * (output.ndim - 1)]
            channels = -1 if isinstance(layer, nn.Linear) else 1
            shape[channels] = output.shape[channels]
            share = (_MOST * torch.rand(shape, generator=generator)).to(output)
            chosen = torch.randint(len(clean_outputs), (len(output),), generator=generator)
            return (1 - share) * output + share * clean_outputs[chosen.to(clean_outputs.device)].to(output)

        with hooked(mixed, mix):
            yield
