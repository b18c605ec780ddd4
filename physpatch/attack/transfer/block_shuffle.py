"""Block shuffle and rotation."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from physpatch.attack.transfer.base import TransferMethod

_BLOCKS = 2  # along each side
_LEAST, _MOST_DEG = 0.25, 24.0  # the smallest block, as a share of the side, and the largest rotation


class BlockShuffle(TransferMethod):
    """Cut each scene into two by two blocks, rotate each a little, and shuffle them (BSR, Wang et al. 2024, section 3.3)."""

    name: ClassVar[str] = "block-shuffle"
    summary: ClassVar[str] = "blocks of each scene rotated and shuffled (BSR, Wang et al. 2024)"

    def scenes(self, composites: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        side = composites.shape[-1]
        points = torch.stack([self._points(side, generator) for _ in range(len(composites))])
        return F.grid_sample(composites, points.to(composites), align_corners=False)

    def _points(self, side: int, generator: torch.Generator) -> Tensor:
        """Draw where each pixel of a shuffled scene comes from: (side, side, 2) in half sides from the centre."""
        rows, columns = _shuffled(side, generator), _shuffled(side, generator)
        points = torch.empty(side, side, 2)
        for to_top, top, height in rows:
            for to_left, left, width in columns:
                angle = math.radians(_MOST_DEG * float(2 * torch.rand(1, generator=generator) - 1))
                y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
                y, x = y - height / 2, x - width / 2
                across = left + width / 2 + x * math.cos(angle) - y * math.sin(angle)
                down = top + height / 2 + x * math.sin(angle) + y * math.cos(angle)
                block = torch.stack([across, down], dim=-1) * (2 / side) - 1
                points[to_top : to_top + height, to_left : to_left + width] = block
        return points


def _shuffled(side: int, generator: torch.Generator) -> list[tuple[int, int, int]]:
    """Cut a side into parts and shuffle them: where each goes, where it comes from, and its length, in pixels."""
    shares = torch.rand(_BLOCKS, generator=generator)
    shares = _LEAST + (1 - _BLOCKS * _LEAST) * shares / shares.sum()
    edges = [0, *(shares.cumsum(0) * side).round().int().tolist()]
    edges[-1] = side
    parts = []
    at = 0
    for number in torch.randperm(_BLOCKS, generator=generator).tolist():
        length = edges[number + 1] - edges[number]
        parts.append((at, edges[number], length))
        at += length
    return parts
