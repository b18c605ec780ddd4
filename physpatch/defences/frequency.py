"""A defence that covers the window with the most fine detail, if it has much more than the rest.

Patches are recognised by their high frequencies. Naseer et al. (2019) darken these; here the whole window is covered, as
digital watermarking does with the window that it finds by saliency (Hayes 2018).
"""

from typing import ClassVar

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window

SIGMA = 2.0  # pixels: fine detail is what a blur of this standard deviation removes
RATIO = 3.5  # detail per pixel inside the window over that outside, above which the window is covered
_REACH = 2 * round(3 * SIGMA) + 1
_FAINTEST = 1e-6


def cover_detail(images: Tensor) -> Tensor:
    """Cover that window in images (B, 3, H, W) in [0, 1]; images without one are unchanged."""
    ratio, window = _detail_ratio(images)
    return torch.where((ratio > RATIO)[:, None, None, None], covered(images, window), images)


def _detail_ratio(images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the detail inside the window with most of it over that outside, (B,), and the window (B, 1, H, W)."""
    fine = (images - gaussian_blur2d(images, (_REACH, _REACH), (SIGMA, SIGMA))).square().mean(dim=1, keepdim=True)
    window = densest_window(fine)
    inside, outside = ((fine * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)) for mask in (window, 1 - window))
    return inside / (outside + _FAINTEST), window


class CoverDetail(Defence):
    """Defence by :func:`cover_detail`."""

    name: ClassVar[str] = "frequency"
    summary: ClassVar[str] = "cover the window with the most fine detail (after Hayes 2018)"
    suspects: ClassVar[bool] = True

    def __call__(self, images: Tensor) -> Tensor:
        return cover_detail(images)

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Leave the images uncovered, and say by how much their detail crowds."""
        ratio, _ = _detail_ratio(images)
        return Attacked(images, (ratio.clamp(min=_FAINTEST) / RATIO).log())
