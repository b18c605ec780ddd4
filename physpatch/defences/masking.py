"""Finding one window of a picture that stands out, and covering it."""

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 0.42  # of the picture's side: a little more than a patch of 15 % of its area has


def densest_window(energy: Tensor) -> Tensor:
    """The square of :data:`SIDE` that holds most of an energy (B, 1, H, W), as a mask of 0 and 1 of the same shape."""
    height, width = energy.shape[-2:]
    side = round(SIDE * min(height, width))
    sums = F.avg_pool2d(F.avg_pool2d(energy, (side, 1), stride=1), (1, side), stride=1)  # one way, then the other: fast
    best = sums.flatten(1).argmax(dim=1)
    top, left = best // sums.shape[-1], best % sums.shape[-1]
    rows, columns = (torch.arange(n, device=energy.device)[None] for n in (height, width))
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None].to(energy)


def covered(images: Tensor, masks: Tensor) -> Tensor:
    """Images (B, 3, H, W) with each mask (B, 1, H, W) filled with the mean colour of the rest."""
    outside = 1 - masks
    mean = (images * outside).sum(dim=(2, 3), keepdim=True) / outside.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return images * outside + mean * masks
