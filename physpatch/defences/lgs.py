"""Local gradients smoothing (Naseer et al. 2019), a defence that darkens areas with many strong gradients."""

from typing import ClassVar

import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence

# The paper's values, for inputs of 299 pixels.
BLOCK, OVERLAP = 15, 5  # pixels
THRESHOLD = 0.1  # the mean normalised gradient above which a block counts as noise
STRENGTH = 2.3  # lambda
_NONE = 1e-12
_FAINTEST = 1 / 255  # a picture with no step above one grey level counts as free of gradients


def smooth(images: Tensor) -> Tensor:
    """Multiply images (B, 3, H, W) in [0, 1] by 1 - lambda g, clipped to [0, 1], with g from :func:`noise`."""
    return images * (1 - STRENGTH * noise(images)).clamp(0, 1)


def noise(images: Tensor) -> Tensor:
    """Compute the gradients (B, 1, H, W) of images, normalised to [0, 1] per image; 0 outside of crowded blocks."""
    gradients = _normalised(_gradients(images))
    height, width = gradients.shape[-2:]
    stride = BLOCK - OVERLAP
    crowded = F.avg_pool2d(gradients, BLOCK, stride, ceil_mode=True) > THRESHOLD
    blocks = F.conv_transpose2d(crowded.to(images), images.new_ones(1, 1, BLOCK, BLOCK), stride=stride)
    return gradients * (blocks[..., :height, :width] > 0)


def _gradients(images: Tensor) -> Tensor:
    """Compute the lengths of the first differences of luma, (B, 1, H, W); the last row and column have no successor."""
    grey = rgb_to_grayscale(images)
    down, across = F.pad(grey.diff(dim=2), (0, 0, 0, 1)), F.pad(grey.diff(dim=3), (0, 1))
    return (down.square() + across.square()).clamp(min=_NONE).sqrt()  # which has a slope where there is no step


def _normalised(gradients: Tensor) -> Tensor:
    least, most = gradients.amin(dim=(2, 3), keepdim=True), gradients.amax(dim=(2, 3), keepdim=True)
    return (gradients - least) / (most - least).clamp(min=_FAINTEST)


class LocalGradientsSmoothing(Defence):
    """Defence by :func:`smooth`."""

    name: ClassVar[str] = "lgs"
    summary: ClassVar[str] = "darken areas with many strong gradients: local gradients smoothing (Naseer et al. 2019)"

    def __call__(self, images: Tensor) -> Tensor:
        return smooth(images)

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Darken: the gradient says how much darker each step of brightness makes its pixel, which blocks are crowded fixed."""
        return Attacked(smooth(images))
