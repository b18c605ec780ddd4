"""Freezing a victim, for good or while it is attacked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import nn

from physpatch.victims.networks.batch_norm_folding import fold_batch_norms


class HasModule(Protocol):
    """What is frozen: a victim, of which only the network matters here."""

    @property
    def module(self) -> nn.Module:
        """Return the network."""


def freeze(module: nn.Module, size: int) -> nn.Module:
    """Prepare a network for attacks, in place: eval mode, no parameter gradients, batch norms folded, channels_last.

    ``size`` is the side, in pixels, of the image with which the folded network is checked.
    """
    module.eval().requires_grad_(False)
    fold_batch_norms(module, size)
    return module.requires_grad_(False).to(memory_format=torch.channels_last)


@contextmanager
def untouched(victim: HasModule) -> Iterator[None]:
    """Freeze a victim inside the block; mode, ``requires_grad`` and ``grad`` of every part are restored afterwards."""
    modes = [(m, m.training) for m in victim.module.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in victim.module.parameters()]
    victim.module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, grad in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad
