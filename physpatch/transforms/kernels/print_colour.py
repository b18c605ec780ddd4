"""What print and camera make of the cells, with a gradient: the torch twin of ``calibration.colour``'s maps and tables."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from calibration.colour.colour_map import TONED, ColourMap, Print, monomials
from calibration.colour.printing_condition import PrintingCondition
from calibration.colour.tone_mapping import ROOT_OFFSET

_LATTICE = 5  # levels per channel, for the palette


def printed_cells(
    cells: Tensor,
    prints: Sequence[Print],
    light: Tensor,
    *,
    other: Tensor | None = None,
    mix: Tensor | None = None,
    fade: Tensor | None = None,
) -> Tensor:
    """Turn cells into what they look like on paper, each image under its own light or printing condition.

    Args:
        cells: (3, rows, columns) sRGB in [0, 1], or (B, 3, rows, columns), a patch of its own for each image.
        prints: a map for each light that was measured, or the printing conditions that may be.
        light: (B,) in [0, 1): which of them each image has.
        other: (B,) in [0, 1): a second printing condition for each image; None for no mixing.
        mix: (B,) how far to go from the first condition to the second; below 0 and above 1 extrapolate.
        fade: (B,) the share of a condition's paper that shows through its inks; None for none.

    Returns:
        (B, 3, rows, columns) sRGB in [0, 1]; 1 is a map's paper, or a condition's perfect white.
    """
    maps = [colours for colours in prints if isinstance(colours, ColourMap)]
    tables = [colours for colours in prints if isinstance(colours, PrintingCondition)]
    which = selected(light, len(prints)).to(cells.device)
    if not tables:
        return _by_map(cells, maps, which)
    second = None if other is None else selected(other, len(tables)).to(cells.device)
    if not maps:
        return _by_table(cells, tables, which, second, mix, fade)
    is_map = torch.tensor([isinstance(colours, ColourMap) for colours in prints], device=cells.device)
    among = torch.where(is_map, is_map.cumsum(0), (~is_map).cumsum(0)) - 1  # its number among those of its kind
    mapped = _by_map(cells, maps, among[which].where(is_map[which], 0))
    looked_up = _by_table(cells, tables, among[which].where(~is_map[which], 0), second, mix, fade)
    return torch.where(is_map[which][:, None, None, None], mapped, looked_up)


def selected(share: Tensor, count: int) -> Tensor:
    """Turn draws (B,) in [0, 1) into indices below ``count``."""
    return (share * count).long().clamp(max=count - 1)


def shown_prints(prints: Sequence[Print], light: Tensor, other: Tensor, mix: Tensor) -> Tensor:
    """Tell which of the prints each image shows, or has most of: (B,) indices of ``prints``.

    The arguments are those of :func:`printed_cells`. Without prints there is one, number 0.
    """
    if not prints:
        return torch.zeros_like(light, dtype=torch.long)
    first = selected(light, len(prints))
    tables = torch.tensor([n for n, colours in enumerate(prints) if isinstance(colours, PrintingCondition)])
    if not len(tables):
        return first
    mostly_other = torch.isin(first, tables) & (mix > 0.5)
    return torch.where(mostly_other, tables[selected(other, len(tables))], first)


def _by_map(cells: Tensor, maps: Sequence[ColourMap], which: Tensor) -> Tensor:
    batch = cells if cells.ndim == 4 else cells[None]
    printed = torch.stack([apply_map(batch, colour_map) for colour_map in maps])
    if cells.ndim == 3:
        return printed[which, 0]
    return printed[which, torch.arange(len(cells), device=cells.device)]


def _by_table(
    cells: Tensor,
    conditions: Sequence[PrintingCondition],
    which: Tensor,
    second: Tensor | None,
    mix: Tensor | None,
    fade: Tensor | None,
) -> Tensor:
    stacked = _stacked_tables(tuple(conditions), cells.device)
    tables = stacked[which]
    if second is not None and mix is not None:
        tables = tables.lerp(stacked[second], mix.to(tables)[:, None, None, None, None])
    if fade is not None and bool(fade.any()):
        paper = tables[..., -1:, -1:, -1:]
        tables = tables.lerp(paper, fade.to(tables)[:, None, None, None, None])
    batch = cells if cells.ndim == 4 else cells.expand(len(which), -1, -1, -1)
    return linear_rgb_to_rgb(_Clip.apply(_reflected(batch, tables)))


def _reflected(cells: Tensor, tables: Tensor) -> Tensor:
    """Look up what cells (B, 3, rows, columns) reflect, each image by its own table (B, 3, 17, 17, 17): linear light."""
    # Blue, green, red, because a table's last axis is the grid's first.
    at = 2 * cells.permute(0, 2, 3, 1)[:, None].flip(-1) - 1
    # On the table's faces `grid_sample` gives no gradient, and a cell that is black or white could never leave it.
    at = at * (1 - 4 * torch.finfo(at.dtype).eps)
    return F.grid_sample(tables.to(cells), at, align_corners=True, padding_mode="border")[:, :, 0]


@lru_cache(maxsize=8)
def _stacked_tables(conditions: tuple[PrintingCondition, ...], device: torch.device) -> Tensor:
    """Stack the conditions' tables, (K, 3, 17, 17, 17), with the axes red, green, blue."""
    return torch.stack([torch.from_numpy(condition.table).permute(3, 0, 1, 2) for condition in conditions]).to(device)


def apply_map(cells: Tensor, colour_map: ColourMap) -> Tensor:
    """Apply one map to cells (B, 3, rows, columns), sRGB in [0, 1]; the result has the same form."""
    if colour_map.base is not None:
        table = _stacked_tables((colour_map.base,), cells.device).expand(len(cells), -1, -1, -1, -1)
        white = torch.from_numpy(colour_map.base.white).to(cells)
        values = _reflected(cells, table) / white[:, None, None]
    else:
        values = cells if colour_map.domain == "coded" else rgb_to_linear_rgb(cells)
    terms = _toned_terms(values) if colour_map.domain == TONED else _monomials(values, colour_map.degree)
    table = torch.tensor(colour_map.coefficients, dtype=cells.dtype, device=cells.device)
    mapped = _Clip.apply(torch.einsum("bfrc,fk->bkrc", torch.stack(terms, dim=1), table))
    if colour_map.domain == "coded":
        return mapped
    coded = _Clip.apply(linear_rgb_to_rgb(mapped))
    if colour_map.domain == TONED:
        first, second = colour_map.curve
        coded = coded + coded * (1 - coded) * (first + second * (1 - 2 * coded))
    return coded


def _monomials(values: Tensor, degree: int) -> list[Tensor]:
    channels = values.unbind(dim=1)
    terms = []
    for factors in monomials(degree):
        term = torch.ones_like(channels[0])
        for channel in factors:
            term = term * channels[channel]
        terms.append(term)
    return terms


def _toned_terms(values: Tensor) -> list[Tensor]:
    channels = values.unbind(dim=1)
    shifted = [channel + ROOT_OFFSET for channel in channels]
    roots = [(first * second).sqrt() - (first + second) / 2 for first, second in combinations(shifted, 2)]
    return [torch.ones_like(channels[0]), *channels, *roots]


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
