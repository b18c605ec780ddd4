"""Penalties that keep a patch printable. They depend on the cells alone."""

from functools import cache
from itertools import product

import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

# sRGB of the eight solid overprints of cyan, magenta and yellow under ISO 12647-2 (FOGRA39), coated paper
_SOLIDS = {
    (0, 0, 0): (246, 246, 246),
    (1, 0, 0): (0, 158, 224),
    (0, 1, 0): (229, 0, 125),
    (0, 0, 1): (255, 236, 0),
    (1, 1, 0): (49, 39, 130),
    (1, 0, 1): (0, 149, 64),
    (0, 1, 1): (226, 0, 26),
    (1, 1, 1): (29, 29, 27),
}
_TINTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def non_printability(cells: Tensor, palette: Tensor) -> Tensor:
    """Compute the non-printability score: the mean distance of the cells to the nearest printable colour.

    Sharif et al. 2016, section 5.2, in the nearest-colour form of Thys et al. 2019, equation 1.

    Args:
        cells: (3, rows, columns) sRGB in [0, 1].
        palette: (N, 3) sRGB in [0, 1].
    """
    colors = cells.flatten(1).T
    # squared, then rooted with a floor: the distance itself has no gradient where it is 0
    squared = (colors[:, None] - palette[None]).square().sum(dim=2).amin(dim=1)
    return (squared + 1e-8).sqrt().mean()


def total_variation(cells: Tensor) -> Tensor:
    """Compute the mean absolute difference of neighbouring cells (3, rows, columns), across and down; 0 for a single cell."""
    across = (cells[:, :, 1:] - cells[:, :, :-1]).abs()
    down = (cells[:, 1:] - cells[:, :-1]).abs()
    differences = torch.cat([across.flatten(), down.flatten()])
    return differences.sum() / max(1, differences.numel())


@cache
def offset_palette() -> Tensor:
    """Compute 125 colours of coated offset printing, for use without a measured printer: (125, 3) sRGB in [0, 1].

    They are tints of cyan, magenta and yellow mixed by Neugebauer's equations (1937): a mean of the solids in linear light,
    weighted by the share of the paper that each covers.
    """
    solids = rgb_to_linear_rgb(torch.tensor(list(_SOLIDS.values())).T[:, :, None] / 255)[:, :, 0].T
    colors = []
    for inks in product(_TINTS, repeat=3):
        shares = [
            torch.tensor([ink if on else 1 - ink for ink, on in zip(inks, solid, strict=True)]).prod()
            for solid in _SOLIDS
        ]
        colors.append((torch.stack(shares)[:, None] * solids).sum(dim=0))
    return linear_rgb_to_rgb(torch.stack(colors).T[:, :, None])[:, :, 0].T
