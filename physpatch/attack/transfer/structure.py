"""Structure invariant transformations."""

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from physpatch.attack.transfer.base import TransferMethod

_BLOCKS = 3  # along each side
_NOISE = 16 / 255
_DROPPED = 0.1
_LEAST_SCALE = 0.5


class Structure(TransferMethod):
    """Change each block of a scene in a way of its own, and keep the blocks' places (SIA, Wang et al. 2023, section 3.3).

    Three by three blocks; of the paper's ten changes all but the one in the frequency domain.
    """

    name: ClassVar[str] = "structure"
    summary: ClassVar[str] = "each block of a scene changed in a way of its own (SIA, Wang et al. 2023)"

    def scenes(self, composites: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        edges = [round(i * composites.shape[-1] / _BLOCKS) for i in range(_BLOCKS + 1)]
        spans = [slice(first, last) for first, last in pairwise(edges)]
        scenes = [
            torch.cat(
                [torch.cat([_changed(scene[:, down, across], generator) for across in spans], dim=2) for down in spans],
                dim=1,
            )
            for scene in composites
        ]
        return torch.stack(scenes).contiguous(memory_format=torch.channels_last)


def _changed(block: Tensor, generator: torch.Generator) -> Tensor:
    """Change a block (3, h, w) in a random way."""
    way = _WAYS[int(torch.randint(len(_WAYS), (1,), generator=generator))]
    return way(block, generator)


def _shift(axis: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    def shift(block: Tensor, generator: torch.Generator) -> Tensor:
        return block.roll(int(torch.randint(block.shape[axis], (1,), generator=generator)), dims=axis)

    return shift


def _flip(*axes: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda block, generator: block.flip(axes)


def _scale(block: Tensor, generator: torch.Generator) -> Tensor:
    return block * (_LEAST_SCALE + (1 - _LEAST_SCALE) * float(torch.rand(1, generator=generator)))


def _noise(block: Tensor, generator: torch.Generator) -> Tensor:
    noise = _NOISE * (2 * torch.rand(block.shape, generator=generator) - 1)
    return (block + noise.to(block)).clamp(0, 1)


def _resize(block: Tensor, generator: torch.Generator) -> Tensor:
    share = _LEAST_SCALE + (1 - _LEAST_SCALE) * float(torch.rand(1, generator=generator))
    size = [max(1, round(side * share)) for side in block.shape[1:]]
    small = F.interpolate(block[None], size=size, mode="bilinear", antialias=True)
    return F.interpolate(small, size=block.shape[1:], mode="bilinear")[0]


def _drop(block: Tensor, generator: torch.Generator) -> Tensor:
    return block * (torch.rand(block.shape[1:], generator=generator) >= _DROPPED).to(block)


_WAYS = (_shift(1), _shift(2), _flip(1), _flip(2), _flip(1, 2), _scale, _noise, _resize, _drop)
