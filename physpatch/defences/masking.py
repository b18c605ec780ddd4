"""Masks over pictures: finding a window that stands out, and covering places."""

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 0.42  # of the picture's side: a little more than a patch of 15 % of its area has
FILL = 0.5  # grey of what is masked wherever it lies


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


def masked(images: Tensor, masks: Tensor) -> Tensor:
    """Fill the masks ([B,] 1, H, W) of images (B, 3, H, W) with grey."""
    return images * (1 - masks) + FILL * masks


def one_of(masks: Tensor, draws: Tensor) -> Tensor:
    """Choose one of masks (M, 1, H, W) for each draw (B,) in [0, 1): (B, 1, H, W)."""
    return masks[(draws * len(masks)).long().to(masks.device)]
