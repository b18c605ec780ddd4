"""The torch twin of ``calibration.colour.colour_map.ColourMap``: what print and camera make of the cells, with a gradient."""

from collections.abc import Sequence
from typing import Any

import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from calibration.colour.colour_map import ColourMap, monomials

_LATTICE = 5  # levels a channel, for the palette


def printed_cells(cells: Tensor, prints: Sequence[ColourMap], light: Tensor) -> Tensor:
    """Cells as they look on paper, each image under its own light.

    Args:
        cells: (3, rows, columns) sRGB in [0, 1], or (B, 3, rows, columns), a patch of its own for each image.
        prints: a map for each light that was measured.
        light: (B,) in [0, 1): which of them each image has.

    Returns:
        (B, 3, rows, columns) sRGB in [0, 1], the paper's white being 1.
    """
    which = (light * len(prints)).long().clamp(max=len(prints) - 1).to(cells.device)
    if cells.ndim == 3:
        return torch.stack([apply_map(cells[None], one)[0] for one in prints])[which]
    chosen = torch.stack([apply_map(cells, one) for one in prints])
    return chosen[which, torch.arange(len(cells), device=cells.device)]


def apply_map(cells: Tensor, one: ColourMap) -> Tensor:
    """One map on cells (B, 3, rows, columns)."""
    values = rgb_to_linear_rgb(cells) if one.domain == "linear" else cells
    channels = values.unbind(dim=1)
    terms = []
    for factors in monomials(one.degree):
        term = torch.ones_like(channels[0])
        for channel in factors:
            term = term * channels[channel]
        terms.append(term)
    table = torch.tensor(one.coefficients, dtype=cells.dtype, device=cells.device)
    seen = _Clip.apply(torch.einsum("bfrc,fk->bkrc", torch.stack(terms, dim=1), table))
    return _Clip.apply(linear_rgb_to_rgb(seen)) if one.domain == "linear" else seen


class _Clip(torch.autograd.Function):
    """Clip to [0, 1] with a straight-through gradient (Bengio et al. 2013).

    A fitted map leaves the range a little at solid inks and bare paper: without a gradient, cells would stay there for good.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def printed_palette(prints: Sequence[ColourMap]) -> Tensor:
    """Colours within the measured gamut, (N, 3) sRGB in [0, 1]: what a lattice of all colours looks like on paper."""
    levels = torch.linspace(0, 1, _LATTICE, dtype=torch.float64)
    lattice = torch.cartesian_prod(levels, levels, levels).T[None, :, :, None]
    seen = [apply_map(lattice, one)[0, :, :, 0].T for one in prints]
    return torch.cat(seen).to(torch.float32)
