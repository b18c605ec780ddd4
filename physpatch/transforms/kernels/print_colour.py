"""What print and camera make of the cells, with a gradient: the torch twin of ``calibration.colour``'s maps and tables."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from calibration.colour.colour_map import ColourMap, monomials
from calibration.colour.printing_condition import Print, PrintingCondition

_LATTICE = 5  # levels per channel, for the palette


def printed_cells(cells: Tensor, prints: Sequence[Print], light: Tensor) -> Tensor:
    """Turn cells into what they look like on paper, each image under its own light or printing condition.

    Args:
        cells: (3, rows, columns) sRGB in [0, 1], or (B, 3, rows, columns), a patch of its own for each image.
        prints: a map for each light that was measured, or the printing conditions that may be.
        light: (B,) in [0, 1): which of them each image has.

    Returns:
        (B, 3, rows, columns) sRGB in [0, 1]; 1 is a map's paper, or a condition's perfect white.
    """
    which = (light * len(prints)).long().clamp(max=len(prints) - 1).to(cells.device)
    batch = cells if cells.ndim == 4 else cells[None]
    tables = [colours for colours in prints if isinstance(colours, PrintingCondition)]
    looked_up = iter(apply_tables(batch, tables)) if tables else iter(())
    printed = torch.stack(
        [apply_map(batch, colours) if isinstance(colours, ColourMap) else next(looked_up) for colours in prints]
    )
    if cells.ndim == 3:
        return printed[which, 0]
    return printed[which, torch.arange(len(cells), device=cells.device)]


def apply_tables(cells: Tensor, conditions: Sequence[PrintingCondition]) -> Tensor:
    """Print cells (B, 3, rows, columns) under each of K conditions: (K, B, 3, rows, columns) sRGB in [0, 1]."""
    tables = _stacked_tables(tuple(conditions)).to(cells)
    at = 2 * cells.permute(0, 2, 3, 1)[None].flip(-1) - 1  # blue, green, red: a table's last axis is the grid's first
    light = F.grid_sample(tables[None], at, align_corners=True, padding_mode="border")
    seen = light.reshape(len(conditions), 3, *at.shape[1:4]).transpose(1, 2)
    return linear_rgb_to_rgb(_Clip.apply(seen))


@lru_cache(maxsize=8)
def _stacked_tables(conditions: tuple[PrintingCondition, ...]) -> Tensor:
    """Stack the conditions' tables as channels of one volume, (3 K, 17, 17, 17), red, green, blue."""
    return torch.cat([torch.from_numpy(condition.table).permute(3, 0, 1, 2) for condition in conditions])


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


def printed_palette(prints: Sequence[Print]) -> Tensor:
    """Return colours within the gamut of prints, (N, 3) sRGB in [0, 1]: a lattice of all colours, as printed."""
    levels = torch.linspace(0, 1, _LATTICE, dtype=torch.float64)
    lattice = torch.cartesian_prod(levels, levels, levels).T[:, :, None]
    light = (torch.arange(len(prints)) + 0.5) / len(prints)
    return printed_cells(lattice, prints, light)[..., 0].transpose(1, 2).reshape(-1, 3).to(torch.float32)
