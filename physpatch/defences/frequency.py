"""Cover the window that is fullest of fine detail, where it is much fuller than the rest.

Patches are told by their high frequencies; Naseer et al. (2019) darken these, here the whole window is taken away, as
digital watermarking does with what it finds by saliency (Hayes 2018).
"""

from typing import ClassVar

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window

SIGMA = 2.0  # pixels: what a blur of this standard deviation takes away is fine detail
RATIO = 3.5  # detail a pixel inside the window over that outside, from which on the window is covered
_REACH = 2 * round(3 * SIGMA) + 1
_FAINTEST = 1e-6


def cover_detail(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1]; those with such a window are covered there, the others stay as they are."""
    fine = (images - gaussian_blur2d(images, (_REACH, _REACH), (SIGMA, SIGMA))).square().mean(dim=1, keepdim=True)
    window = densest_window(fine)
    inside, outside = ((fine * part).sum(dim=(1, 2, 3)) / part.sum(dim=(1, 2, 3)) for part in (window, 1 - window))
    found = inside > RATIO * (outside + _FAINTEST)
    return torch.where(found[:, None, None, None], covered(images, window), images)


class CoverDetail(Defence):
    """Clean images by :func:`cover_detail`."""

    name: ClassVar[str] = "frequency"
    summary: ClassVar[str] = "cover the window that is fullest of fine detail (after Hayes 2018)"

    def __call__(self, images: Tensor) -> Tensor:
        return cover_detail(images)
