"""Median blur, one of the feature squeezers of Xu et al. (2018)."""

from typing import ClassVar

import torch.nn.functional as F
from kornia.filters import median_blur
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence

WINDOW = 5  # pixels, odd


def blur(images: Tensor) -> Tensor:
    """Replace each value of images (B, 3, H, W) by the median of its channel in a window of side :data:`WINDOW`."""
    border = WINDOW // 2  # mirrored here, because kornia before 0.9 treats the outside as black
    padded = F.pad(images, (border,) * 4, mode="reflect")
    return median_blur(padded, WINDOW)[..., border:-border, border:-border]


class MedianBlur(Defence):
    """Defence by :func:`blur`."""

    name: ClassVar[str] = "median"
    summary: ClassVar[str] = f"median blur over {WINDOW}x{WINDOW} pixels (Xu et al. 2018)"

    def __call__(self, images: Tensor) -> Tensor:
        return blur(images)

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Blur: the gradient goes to the pixel that is the median."""
        return Attacked(blur(images))
