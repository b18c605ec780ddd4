"""The colours of the cells in print, with a gradient: the torch twin of ``calibration.colour.colour_map.ColourMap``."""

from collections.abc import Sequence
from typing import Any

import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from calibration.colour.colour_map import ColourMap, monomials

_LATTICE = 5  # levels per channel, for the palette


def printed_cells(cells: Tensor, prints: Sequence[ColourMap], light: Tensor) -> Tensor:
    """Map cells to their colours on paper, under each image's light.

    Args:
        cells: (3, rows, columns) sRGB in [0, 1], or (B, 3, rows, columns), a patch per image.
        prints: a map for each measured light.
        light: (B,) in [0, 1), which selects the light of each image.

    Returns:
        (B, 3, rows, columns) sRGB in [0, 1], where 1 is the paper's white.
    """
    index = (light * len(prints)).long().clamp(max=len(prints) - 1).to(cells.device)
    if cells.ndim == 3:
        return torch.stack([apply_map(cells[None], colour_map)[0] for colour_map in prints])[index]
    mapped = torch.stack([apply_map(cells, colour_map) for colour_map in prints])
    return mapped[index, torch.arange(len(cells), device=cells.device)]


def apply_map(cells: Tensor, colour_map: ColourMap) -> Tensor:
    """Apply one map to cells (B, 3, rows, columns), sRGB in [0, 1]; the result has the same form."""
    values = rgb_to_linear_rgb(cells) if colour_map.domain == "linear" else cells
    channels = values.unbind(dim=1)
    terms = []
    for factors in monomials(colour_map.degree):
        term = torch.ones_like(channels[0])
        for channel in factors:
            term = term * channels[channel]
        terms.append(term)
    table = torch.tensor(colour_map.coefficients, dtype=cells.dtype, device=cells.device)
    mapped = _Clip.apply(torch.einsum("bfrc,fk->bkrc", torch.stack(terms, dim=1), table))
    return _Clip.apply(linear_rgb_to_rgb(mapped)) if colour_map.domain == "linear" else mapped


class _Clip(torch.autograd.Function):
    """Clip to [0, 1] with a straight-through gradient (Bengio et al. 2013).

    A fitted map exceeds the range slightly at solid inks and bare paper. Without a gradient, cells could not leave it again.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def printed_palette(prints: Sequence[ColourMap]) -> Tensor:
    """Compute colours of the measured gamut, (N, 3) sRGB in [0, 1], by mapping a lattice of all colours to paper."""
    levels = torch.linspace(0, 1, _LATTICE, dtype=torch.float64)
    lattice = torch.cartesian_prod(levels, levels, levels).T[None, :, :, None]
    printed = [apply_map(lattice, colour_map)[0, :, :, 0].T for colour_map in prints]
    return torch.cat(printed).to(torch.float32)
