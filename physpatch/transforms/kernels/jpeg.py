"""JPEG of a camera, with a gradient: ITU-T T.81 with libjpeg's tables and 4:2:0 chroma.

The forward pass quantises. The backward pass treats rounding as the identity, which it is on average over photographs, whose
content dithers it, but keeps the loss that always occurs: that of fine chroma detail.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 16  # side, in pixels, of a coded unit with 4:2:0 chroma
NO_JPEG = 100.0  # a quality of 100 or more leaves a picture unchanged

# T.81, tables K.1 and K.2
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF: RGB to Y, Cb, Cr, the last two centred at 0, and back
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Compress and decompress pictures.

    Args:
        images: (B, 3, H, W) sRGB in [0, 1]; H and W multiples of :data:`BLOCK`.
        quality: (B,) libjpeg's 1 to 100; from :data:`NO_JPEG` on, a picture is unchanged.

    Returns:
        Pictures in the form of ``images``; the gradient is that of :func:`subsample_chroma`.
    """
    return _Jpeg.apply(images, quality)


def subsample_chroma(images: Tensor) -> Tensor:
    """Average chroma over 2×2 pixels and keep luma: JPEG without rounding. (B, 3, H, W) sRGB to the same."""
    chroma = _mix(images, _TO_YCC[1:])
    return images + _mix(_doubled(F.avg_pool2d(chroma, 2)) - chroma, _TO_RGB[:, 1:])


def quantisation_tables(quality: Tensor) -> Tensor:
    """Compute libjpeg's tables for qualities (B,): (B, 2, 64), luma and chroma, in levels of [0, 255]."""
    base = torch.tensor([_LUMA, _CHROMA]).to(quality)
    quality = quality.round().clamp(1, 100)
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    return ((base * percent[:, None, None] + 50) / 100).floor().clamp(1, 255)


class _Jpeg(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, quality: Tensor) -> Tensor:
        tables = quantisation_tables(quality).to(images)
        ycc = _mix((images.clamp(0, 1) * 255).round_(), _TO_YCC).round_()
        luma = _quantised(ycc[:, :1] - 128, tables[:, :1]) + 128
        chroma = _quantised(F.avg_pool2d(ycc[:, 1:], 2), tables[:, 1:].expand(-1, 2, -1))
        # Bilinear is libjpeg's "fancy" upsampling.
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
        coded = _mix(torch.cat([luma, chroma], dim=1), _TO_RGB).round_().clamp_(0, 255).div_(255)
        untouched = quality >= NO_JPEG
        if untouched.any():
            coded[untouched] = images[untouched]
        return coded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The transpose of subsample_chroma: averaging and repeating is its own transpose.
        chroma = _mix(gradient, _TO_RGB[:, 1:].T)
        return gradient + _mix(_doubled(F.avg_pool2d(chroma, 2)) - chroma, _TO_YCC[1:].T), None


def _quantised(planes: Tensor, tables: Tensor) -> Tensor:
    """Round the cosine coefficients of 8×8 blocks of planes (B, C, H, W) to multiples of tables (B, C, 64)."""
    batch, channels, height, width = planes.shape
    basis = _cosines().to(planes)
    blocks = (
        planes.reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(batch, channels, -1, 64)
    )
    steps = tables[:, :, None]
    rounded = (blocks @ basis.T).div_(steps).round_().mul_(steps) @ basis
    return rounded.reshape(batch, channels, height // 8, width // 8, 8, 8).transpose(3, 4).reshape(planes.shape)


@cache
def _cosines() -> Tensor:
    """Compute the orthonormal two-dimensional DCT-II of 8×8 pixels as a matrix (64, 64) with a coefficient per row."""
    positions = torch.arange(8, dtype=torch.float64)
    rows = torch.cos(torch.pi * (2 * positions[None] + 1) * positions[:, None] / 16) / 2
    rows[0] /= 2**0.5
    return torch.einsum("ui,vj->uvij", rows, rows).reshape(64, 64).float()


def _doubled(planes: Tensor) -> Tensor:
    return planes.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _mix(images: Tensor, matrix: Tensor) -> Tensor:
    """Mix channels: (B, C, H, W) by an (N, C) matrix to (B, N, H, W)."""
    return (matrix.to(images) @ images.flatten(2)).unflatten(2, images.shape[2:])
