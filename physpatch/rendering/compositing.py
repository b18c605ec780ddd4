"""Compositing of a patch into photographs, as a camera would see it.

A photograph has been through a camera already, so the camera's effects are applied to the patch alone, in a camera's order:
the print's colours, the bend of the paper, light, shadow and glare on it, the view, blending with the scene in linear light,
noise, tone, JPEG. Blur and white balance are linear, so they can be applied where they are cheapest: on the patch's small
texture and on its flat cells. Glare is added after that, so it keeps the light's own colour, without the white balance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_linear_rgb
from kornia.geometry.linalg import transform_points
from kornia.geometry.transform import get_perspective_transform
from torch import Tensor

from physpatch.rendering.eot import EotParams, patch_corners
from physpatch.rendering.windows import Windows, group_count, paste, windows_around
from physpatch.transforms import CellTransform, LightTransform, PictureTransform, SurfaceTransform, transforms_of
from physpatch.transforms.kernels.jpeg import BLOCK, NO_JPEG, compress
from physpatch.transforms.kernels.lens import bend, bend_field, blur_kernels
from physpatch.transforms.kernels.tone_curve import develop

_DARK_NOISE = 0.01  # of white's light: here the noise of the light equals the sensor's own
_WIDEST_DIRECT = 15  # texels; wider kernels are applied faster by FFT
_LEAST_COVERAGE = 1e-4  # blurring by FFT leaves traces of this times a thousandth where there is nothing
_GRAIN_SHIFTS = 64  # pixels: the largest shift of the grain between images


def patch_size_px(area: float, grid: tuple[int, int], image_wh: tuple[int, int]) -> tuple[float, float]:
    """Compute width and height, in pixels, of a patch of square cells that covers the share ``area`` of the image."""
    rows, columns = grid
    cell = math.sqrt(area * image_wh[0] * image_wh[1] / (rows * columns))
    return cell * columns, cell * rows


def place_patch(
    images: Tensor, cells: Tensor, params: EotParams, area: float, cover: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Render the patch into a batch of photographs.

    Args:
        images: (B, 3, H, W) RGB, sRGB values in [0, 1].
        cells: (3, rows, columns) sRGB values in [0, 1], or (B, 3, rows, columns), a patch per image; gradients flow to them.
        params: a draw for the B images.
        area: share of the image that the patch covers at scale 1.
        cover: see :func:`place_at`.

    Returns:
        The composites, in the form of ``images``, and the patch's coverage (B, 1, H, W) in [0, 1].
    """
    height, width = images.shape[-2:]
    rows, columns = cells.shape[-2:]
    patch_wh = patch_size_px(area, (rows, columns), (width, height))
    return place_at(images, cells, params, patch_corners(params, patch_wh, (width, height)), patch_wh, cover)


def place_at(
    images: Tensor,
    cells: Tensor,
    params: EotParams,
    corners: Tensor,
    patch_wh: tuple[float, float],
    cover: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Render the patch at given corners: :func:`place_patch` without its draw of the view.

    Args:
        images, cells, params: as there; the draw's scale decides only the resolution, its place and angles do not count.
        corners: (B, 4, 2) pixels, clockwise from the patch's own top left, with pixel centres at whole numbers.
        patch_wh: the patch's frontal width and height in pixels at scale 1.
        cover: ([B,] 1, rows, columns) in [0, 1], the opacity of each cell, for shapes other than rectangles; None for 1.

    Returns:
        See :func:`place_patch`.
    """
    height, width = images.shape[-2:]
    columns = cells.shape[-1]
    per_cell = max(1, round(patch_wh[0] / columns))  # about a texel per pixel, so that bilinear sampling does not alias
    density = per_cell * columns / patch_wh[0]  # texels per pixel, at scale 1
    kernels = _kernels(params, density)
    margin = kernels.shape[-1] // 2 + 1
    texture = _texture(_printed(cells, params), params, per_cell)
    kernels = kernels.to(texture)
    opacity = torch.ones_like(texture[:, :1])
    if cover is not None:
        opacity = opacity * cover.repeat_interleave(per_cell, dim=-2).repeat_interleave(per_cell, dim=-1).to(opacity)
        texture = texture * opacity
    # The opacity is blurred separately, as it needs no gradient.
    patch = _LitPatch(_blurred(texture, kernels, margin), _blurred(opacity, kernels, margin), margin)

    block = BLOCK if bool((params.jpeg < NO_JPEG).any()) else 1
    short = (-width % block, -height % block)
    canvas = F.pad(images, (0, short[0], 0, short[1]), mode="replicate") if any(short) else images
    canvas_wh = (canvas.shape[3], canvas.shape[2])
    sides = (corners.roll(-1, dims=1) - corners).norm(dim=2) / torch.tensor(patch_wh).repeat(2)
    magnified = sides.amax(dim=1)  # at the near edge of a tilted patch
    reach = (margin / density + 2 * params.bend * max(patch_wh)) * magnified
    outline = corners if cover is None else _covered_corners(corners, cover)
    windows = windows_around(outline, reach, canvas_wh, block, group_count(images.device))
    grain = _grain(params, canvas_wh)
    pictures, alphas = zip(
        *(
            _exposed(canvas, part, corners[group.images], params.part(group.images), group, grain)
            for part, group in zip(patch.parts([group.images for group in windows]), windows, strict=True)
        ),
        strict=True,
    )
    composite = paste(canvas, windows, pictures)
    coverage = paste(torch.zeros_like(canvas[:, :1]), windows, alphas)
    return composite[..., :height, :width], coverage[..., :height, :width]


@dataclass(frozen=True, eq=False)
class _LitPatch:
    """The lit and blurred patch, on its texels.

    Attributes:
        light: (B, 3, h, w) linear light, multiplied by the opacity.
        opacity: (B, 1, h, w) in [0, 1].
        margin: texels on each side, into which the blur spreads.
    """

    light: Tensor
    opacity: Tensor
    margin: int

    def parts(self, images: Sequence[Tensor]) -> "list[_LitPatch]":
        """Divide the batch into the patches of these images, (N,) each."""
        order, counts = torch.cat(list(images)).to(self.light.device), [len(some) for some in images]
        planes = (plane.index_select(0, order).split(counts) for plane in (self.light, self.opacity))
        return [_LitPatch(light, opacity, self.margin) for light, opacity in zip(*planes, strict=True)]

    def sampled(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Sample light and opacity at points (B, H, W, 2), in half sides of the patch from its centre."""
        height, width = self.light.shape[2:]
        inner = torch.tensor([(side - 2 * self.margin) / side for side in (width, height)])
        points = points * inner.to(points)
        light, opacity = (F.grid_sample(plane, points, align_corners=False) for plane in (self.light, self.opacity))
        return light, opacity


def _exposed(
    canvas: Tensor, patch: _LitPatch, corners: Tensor, params: EotParams, windows: Windows, grain: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Take the pictures in some windows: (N, 3, h, w) sRGB, and the patch's coverage (N, 1, h, w) without a gradient.

    ``canvas`` is the whole batch of photographs; patch, corners and draw are those of the windows' N images.
    """
    points = _patch_points(corners, windows.rows_columns(canvas.device), params).to(patch.light)
    color, alpha = patch.sampled(points)

    behind = windows.cut(canvas)
    light = color + (1 - alpha) * rgb_to_linear_rgb(behind)
    if grain is not None:
        light = light + _noise(light, alpha, params, windows, grain)
    # The camera's tone curve is applied to the patch alone: the photograph has its own.
    developed = develop(light, 1 + (params.gamma[:, None, None, None].to(light) - 1) * alpha.detach())
    for transform in transforms_of(PictureTransform):
        if not transform.is_idle(params):
            developed = transform.apply(developed, alpha, params)
    if bool((params.jpeg < NO_JPEG).any()):
        developed = compress(developed, params.jpeg)
    return torch.where(alpha > _LEAST_COVERAGE, developed, behind), alpha.detach()


def _printed(cells: Tensor, params: EotParams) -> Tensor:
    """Apply the print's colours to cells: ([B,] 3, R, C) sRGB."""
    for transform in transforms_of(CellTransform):
        if not transform.is_idle(params):
            cells = transform.apply(cells, params)
    return cells


def _texture(cells: Tensor, params: EotParams, per_cell: int) -> Tensor:
    """Light the printed cells: ([B,] 3, R, C) sRGB to (B, 3, h, w) linear light."""
    balance = torch.ones(params.batch, 3)
    for light in transforms_of(LightTransform):
        balance = balance * light.factors(params)
    lit = rgb_to_linear_rgb(cells) * balance[:, :, None, None].to(cells)
    flat = lit.repeat_interleave(per_cell, dim=2).repeat_interleave(per_cell, dim=3)
    height, width = flat.shape[2:]
    y = torch.linspace(-0.5, 0.5, height)[None, :, None].to(params.place)
    x = torch.linspace(-0.5, 0.5, width)[None, None, :].to(params.place)
    for surface in transforms_of(SurfaceTransform):
        if not surface.is_idle(params):
            flat = surface.apply(flat, x, y, params)
    return flat


def _kernels(params: EotParams, density: float) -> Tensor:
    """Compute blur kernels (B, k, k) in texels, including the averaging of a pixel that spans more than a texel."""
    texels_per_pixel = density / params.scale
    footprint = 0.25 * (texels_per_pixel**2 - 1).clamp(min=0)
    sigma = ((params.blur_px * texels_per_pixel) ** 2 + footprint).sqrt()
    return blur_kernels(sigma, params.motion_px * texels_per_pixel, params.motion_angle)


def _blurred(texture: Tensor, kernels: Tensor, margin: int) -> Tensor:
    """Convolve each sample of (B, C, h, w) with its own kernel, after adding an empty margin for the spread."""
    layer = F.pad(texture, [margin] * 4)
    if kernels.shape[-1] == 1:
        return layer
    batch, channels, height, width = layer.shape
    if kernels.shape[-1] > _WIDEST_DIRECT:
        spectrum = torch.fft.rfft2(layer) * torch.fft.rfft2(kernels, s=(height, width))[:, None]
        half = kernels.shape[-1] // 2
        return torch.fft.irfft2(spectrum, s=(height, width)).roll((-half, -half), dims=(2, 3))
    weights = kernels.repeat_interleave(channels, dim=0)[:, None]
    flat = layer.reshape(1, batch * channels, height, width)
    return F.conv2d(flat, weights, padding="same", groups=batch * channels).reshape(layer.shape)


def _covered_corners(corners: Tensor, cover: Tensor) -> Tensor:
    """Project the rectangle around the cells that are not transparent: (B, 4, 2) pixels.

    ``corners`` (B, 4, 2) are those of all cells, ``cover`` ([B,] 1, rows, columns) is their opacity.
    """
    visible = (cover > 0).flatten(0, -3).any(dim=0)
    bounds = []
    for along in (1, 0):  # columns, then rows
        at = visible.any(dim=1 - along).nonzero()[:, 0]
        bounds.append(
            (int(at[0]) / visible.shape[along], (int(at[-1]) + 1) / visible.shape[along]) if len(at) else (0.0, 1.0)
        )
    (left, right), (top, bottom) = bounds
    unit, inner = (
        torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]).to(corners).expand(len(corners), 4, 2)
        for x0, x1, y0, y1 in ((0.0, 1.0, 0.0, 1.0), (left, right, top, bottom))
    )
    return transform_points(get_perspective_transform(unit, corners), inner)


def _patch_points(corners: Tensor, rows_columns: tuple[Tensor, Tensor], params: EotParams) -> Tensor:
    """Map pixels of rows (B, H) and columns (B, W) onto the bent patch: (B, H, W, 2), in half sides from its centre.

    ``corners`` (B, 4, 2) are those of the patch in the images.
    """
    unit = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).to(corners).expand(len(corners), 4, 2)
    to_patch = get_perspective_transform(corners, unit).to(rows_columns[0].device)
    y, x = (pixels.to(to_patch) for pixels in rows_columns)
    # A small sum for each of the three homogeneous coordinates, instead of one over all pixels.
    across, down, scale = (
        to_patch[:, i, 0, None, None] * x[:, None, :]
        + (to_patch[:, i, 1, None] * y + to_patch[:, i, 2, None])[:, :, None]
        for i in range(3)
    )
    points = torch.stack([across / scale, down / scale], dim=-1)
    if params.bend.any():
        points = bend(points, bend_field(params.bend, params.bend_shape).to(points))
    return points


def _grain(params: EotParams, canvas_wh: tuple[int, int]) -> Tensor | None:
    """Draw the sensor's grain, from which each image takes its part: (3, H, W), on the CPU; None without noise."""
    if not params.noise.any():
        return None
    width, height = (side + _GRAIN_SHIFTS for side in canvas_wh)
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(params.grain_seed))


def _noise(light: Tensor, alpha: Tensor, params: EotParams, windows: Windows, grain: Tensor) -> Tensor:
    """Compute sensor noise, which grows with the light, on the patch alone: the photograph has its own."""
    shifts = (params.grain_place * _GRAIN_SHIFTS).long()
    shifted = replace(windows, images=torch.zeros_like(windows.images), corners=windows.corners + shifts)
    noise = shifted.cut(grain.to(light)[None])
    spread = (light.detach().clamp(min=0) + _DARK_NOISE).sqrt_() * params.noise[:, None, None, None].to(light)
    return noise.mul_(spread).mul_(alpha)
