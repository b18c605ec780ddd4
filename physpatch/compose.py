"""Placing a patch in photographs as a camera would see it.

A photograph has been through a camera already, so what a camera does is done to the patch alone: light, tone, shadow
and blur on a small texture of the patch, one warp of it into the image, and the meeting of both in linear light.
"""

import math

import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from torch import Tensor

from physpatch.eot import EotParams, patch_corners

_SHADOW_SOFTNESS = 0.08  # of the patch side
_DARKEST = 1e-4  # keeps the slope of x**gamma finite at black


def patch_size_px(area: float, grid: tuple[int, int], image_wh: tuple[int, int]) -> tuple[float, float]:
    """Width and height in pixels of a patch of square cells that covers ``area`` of the image."""
    rows, columns = grid
    cell = math.sqrt(area * image_wh[0] * image_wh[1] / (rows * columns))
    return cell * columns, cell * rows


def place_patch(images: Tensor, cells: Tensor, params: EotParams, area: float) -> tuple[Tensor, Tensor]:
    """Render the patch into a batch of photographs.

    Args:
        images: (B, 3, H, W) RGB, sRGB values in [0, 1].
        cells: (3, rows, columns) sRGB values in [0, 1]; gradients flow to it.
        params: a draw for the B images.
        area: share of the image that the patch covers at scale 1.

    Returns:
        The composited images, as ``images``; and the patch's coverage (B, 1, H, W) in [0, 1].
    """
    height, width = images.shape[-2:]
    grid = (cells.shape[1], cells.shape[2])
    patch_wh = patch_size_px(area, grid, (width, height))
    corners = patch_corners(params, patch_wh, (width, height))
    layer, margin = _patch_texture(cells, params, patch_wh)
    window, size = _window(corners, margin, (width, height))
    warped = _warp(layer, margin, corners - window[:, None], size)
    color, alpha = warped[:, :3], warped[:, 3:]

    rows = window[:, 1, None] + torch.arange(size[1], device=images.device)
    columns = window[:, 0, None] + torch.arange(size[0], device=images.device)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    where = (batch, slice(None), rows[:, :, None], columns[:, None, :])
    behind = images[where].permute(0, 3, 1, 2)
    seen = linear_rgb_to_rgb(color + (1 - alpha) * rgb_to_linear_rgb(behind)) + _grain(params, alpha)
    composite = images.clone()
    composite[where] = seen.clamp(0, 1).permute(0, 2, 3, 1)
    coverage = images.new_zeros(len(images), 1, height, width)
    coverage[where] = alpha.detach().permute(0, 2, 3, 1)
    return composite, coverage


def _patch_texture(cells: Tensor, params: EotParams, patch_wh: tuple[float, float]) -> tuple[Tensor, int]:
    """The lit, shadowed and blurred patch: (B, 4, h, w) linear RGB times coverage, and coverage; and its empty margin."""
    columns = cells.shape[2]
    per_cell = max(2, round(patch_wh[0] / columns))  # about a texel a pixel, so that bilinear sampling does not alias
    lit = _light(rgb_to_linear_rgb(cells), params)
    texture = lit.repeat_interleave(per_cell, dim=2).repeat_interleave(per_cell, dim=3)
    texture = texture * _shadow(params, texture.shape[2], texture.shape[3])
    alpha = texture.new_ones(len(params), 1, *texture.shape[2:])
    sigma = params.blur_px * per_cell * columns / patch_wh[0]  # from pixels to texels
    widest = float(sigma.max())
    radius = math.ceil(2.5 * widest)
    margin = radius + 1
    layer = torch.nn.functional.pad(torch.cat([texture, alpha], dim=1), [margin] * 4)
    if widest > 0:
        layer = gaussian_blur2d(
            layer, 2 * radius + 1, sigma.clamp(min=1e-3)[:, None].expand(-1, 2), border_type="constant"
        )
    return layer, margin


def _light(linear: Tensor, params: EotParams) -> Tensor:
    """Gain, colour temperature and tone on flat cells: (3, R, C) linear to (B, 3, R, C) linear, in [0, 1]."""
    warm = params.temperature
    balance = torch.stack([warm, torch.ones_like(warm), 1 / warm], dim=1) * params.gain[:, None]
    lit = (linear[None] * balance[:, :, None, None]).clamp(_DARKEST, 1)
    return lit ** params.gamma[:, None, None, None]


def _shadow(params: EotParams, height: int, width: int) -> Tensor:
    """A half plane in shadow with a soft edge: factors (B, 1, height, width)."""
    device = params.place.device
    y = torch.linspace(-0.5, 0.5, height, device=device)[None, :, None]
    x = torch.linspace(-0.5, 0.5, width, device=device)[None, None, :]
    angle, offset = params.shadow_angle[:, None, None], params.shadow_offset[:, None, None]
    across = x * angle.cos() + y * angle.sin() - offset
    return (1 - params.shadow[:, None, None] * torch.sigmoid(across / _SHADOW_SOFTNESS))[:, None]


def _window(corners: Tensor, margin: int, image_wh: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """The smallest window, of one size for the whole batch, that holds each patch: top left corners (B, 2) and (w, h).

    Composing inside it instead of the whole image saves most of the pixels.
    """
    limits = torch.tensor(image_wh, device=corners.device)
    first = (corners.amin(dim=1) - margin).floor().clamp(min=0)
    last = (corners.amax(dim=1) + margin).ceil().minimum(limits - 1)
    width, height = (int(n) for n in (last - first).amax(dim=0) + 1)
    size = (min(width, image_wh[0]), min(height, image_wh[1]))
    return first.minimum(limits - torch.tensor(size, device=corners.device)).long(), size


def _warp(layer: Tensor, margin: int, corners: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Warp textures (B, C, h, w) so that their inner square lands on ``corners`` (B, 4, 2): (B, C, H, W)."""
    low = margin - 0.5
    right, bottom = layer.shape[3] - margin - 0.5, layer.shape[2] - margin - 0.5
    inner = torch.tensor([[low, low], [right, low], [right, bottom], [low, bottom]]).to(corners)
    transform = get_perspective_transform(inner.expand(len(corners), 4, 2), corners)
    return warp_perspective(layer, transform, (size_wh[1], size_wh[0]))


def _grain(params: EotParams, alpha: Tensor) -> Tensor:
    """Sensor noise on the patch alone: the photograph has its own."""
    if not params.noise.any():
        return torch.zeros_like(alpha)
    generator = torch.Generator().manual_seed(params.noise_seed)
    noise = torch.randn(len(params), 3, *alpha.shape[2:], generator=generator).to(alpha.device)
    return noise * params.noise[:, None, None, None] * alpha.detach()
