"""Local gradients smoothing (Naseer et al. 2019): pixels are darkened where strong gradients crowd."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from torch import Tensor

from physpatch.defences.base import Defence

# The paper's values, for inputs of 299 pixels.
BLOCK, OVERLAP = 15, 5  # pixels
THRESHOLD = 0.1  # the mean normalised gradient above which a block is taken for noise
STRENGTH = 2.3  # lambda
_FAINTEST = 1 / 255  # a picture with no step larger than a grey level has no gradients to speak of


def smooth(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] times 1 - lambda g, clipped to [0, 1], with g from :func:`noise`."""
    return images * (1 - STRENGTH * noise(images)).clamp(0, 1)


def noise(images: Tensor) -> Tensor:
    """The gradients (B, 1, H, W) of images, normalised to [0, 1] over each, and 0 outside of blocks that are full of them."""
    gradients = _normalised(_gradients(images))
    height, width = gradients.shape[-2:]
    stride = BLOCK - OVERLAP
    crowded = F.avg_pool2d(gradients, BLOCK, stride, ceil_mode=True) > THRESHOLD
    blocks = F.conv_transpose2d(crowded.to(images), images.new_ones(1, 1, BLOCK, BLOCK), stride=stride)
    return gradients * (blocks[..., :height, :width] > 0)


def _gradients(images: Tensor) -> Tensor:
    """The lengths of the first differences of luma, (B, 1, H, W); 0 over the last pixel of a row or column."""
    grey = rgb_to_grayscale(images)
    down, across = F.pad(grey.diff(dim=2), (0, 0, 0, 1)), F.pad(grey.diff(dim=3), (0, 1))
    return torch.hypot(down, across)


def _normalised(gradients: Tensor) -> Tensor:
    least, most = gradients.amin(dim=(2, 3), keepdim=True), gradients.amax(dim=(2, 3), keepdim=True)
    return (gradients - least) / (most - least).clamp(min=_FAINTEST)


class LocalGradientsSmoothing(Defence):
    """Clean images by :func:`smooth`."""

    name: ClassVar[str] = "lgs"
    summary: ClassVar[str] = "darken where strong gradients crowd: local gradients smoothing (Naseer et al. 2019)"

    def __call__(self, images: Tensor) -> Tensor:
        return smooth(images)
