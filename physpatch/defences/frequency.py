"""A defence that covers the window with the most fine detail, if it has much more than the rest.

Patches are recognised by their high frequencies. Naseer et al. (2019) darken these; here the whole window is covered, as
digital watermarking does with the window that it finds by saliency (Hayes 2018).
"""

from typing import ClassVar

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window

SIGMA = 2.0  # pixels: fine detail is what a blur of this standard deviation removes
RATIO = 3.5  # detail per pixel inside the window over that outside, above which the window is covered
_REACH = 2 * round(3 * SIGMA) + 1
_FAINTEST = 1e-6


def cover_detail(images: Tensor) -> Tensor:
    """Cover that window in images (B, 3, H, W) in [0, 1]; images without one are unchanged."""
    fine = (images - gaussian_blur2d(images, (_REACH, _REACH), (SIGMA, SIGMA))).square().mean(dim=1, keepdim=True)
    window = densest_window(fine)
    inside, outside = ((fine * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)) for mask in (window, 1 - window))
    crowded = inside > RATIO * (outside + _FAINTEST)
    return torch.where(crowded[:, None, None, None], covered(images, window), images)


class CoverDetail(Defence):
    """Defence by :func:`cover_detail`."""

    name: ClassVar[str] = "frequency"
    summary: ClassVar[str] = "cover the window with the most fine detail (after Hayes 2018)"

    def __call__(self, images: Tensor) -> Tensor:
        return cover_detail(images)
