"""A window that stands out in a picture: finding and covering it."""

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 0.42  # of the picture's side: a little more than a patch of 15 % of its area has


def densest_window(energy: Tensor) -> Tensor:
    """Find the square of :data:`SIDE` with the largest sum of an energy (B, 1, H, W), as a 0/1 mask of the same shape."""
    height, width = energy.shape[-2:]
    side = round(SIDE * min(height, width))
    sums = F.avg_pool2d(F.avg_pool2d(energy, (side, 1), stride=1), (1, side), stride=1)  # separable, which is faster
    best = sums.flatten(1).argmax(dim=1)
    top, left = best // sums.shape[-1], best % sums.shape[-1]
    rows, columns = (torch.arange(n, device=energy.device)[None] for n in (height, width))
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None].to(energy)


def covered(images: Tensor, masks: Tensor) -> Tensor:
    """Fill the masks (B, 1, H, W) of images (B, 3, H, W) with the mean colour outside of them."""
    outside = 1 - masks
    mean = (images * outside).sum(dim=(2, 3), keepdim=True) / outside.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return images * outside + mean * masks
