"""Defocus and motion blur in one kernel, and the bend of the paper."""

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

_SHARPEST = 0.05  # texels; narrower Gaussians are a single texel anyway
_SHORTEST = 0.05  # texels; keeps the motion's integral from dividing by zero
_CONTROLS = 3  # control points of the bend along each side
BEND_POINTS = _CONTROLS**2
_FIELD = 13  # points along each side at which the bend is computed, with interpolation between them
_REACH = 1.5  # the bend is computed up to this distance from the patch's centre, in half sides


def blur_kernels(sigma: Tensor, length: Tensor, angle: Tensor) -> Tensor:
    """Compute the convolution of defocus and motion blur in closed form: a Gaussian moved evenly along a line.

    Args:
        sigma: (B,) standard deviation in texels.
        length: (B,) of the movement in texels.
        angle: (B,) of the movement in radians.

    Returns:
        (B, k, k) kernels that sum to 1; k is odd and fits the widest one of the batch.
    """
    reach = (2.5 * sigma + length / 2).ceil()
    radius = math.ceil(float(reach.max()))
    offsets = torch.arange(-radius, radius + 1, dtype=sigma.dtype)
    x, y = offsets[None, None, :], offsets[None, :, None]
    sigma, length = sigma.clamp(min=_SHARPEST)[:, None, None], length.clamp(min=_SHORTEST)[:, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    scale = sigma * math.sqrt(2)
    moved = torch.erf((along + length / 2) / scale) - torch.erf((along - length / 2) / scale)
    kernels = moved * torch.exp(-((across / scale) ** 2))
    # Each sample is cut at its own radius, so that the rest of the batch does not change it.
    kernels = kernels * (torch.maximum(x.abs(), y.abs()) <= reach[:, None, None])
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def bend_field(amount: Tensor, shape: Tensor) -> Tensor:
    """Compute a thin plate spline (Bookstein 1989) through the displaced points of a 3×3 lattice.

    Args:
        amount: (B,) largest displacement, as a share of the patch side.
        shape: (B, 9, 2) displacements in [-1, 1], relative to that amount.

    Returns:
        (B, 2, 13, 13) displacements (x, y) in half sides, over the square of 1.5 times the patch's size around its centre.
    """
    moved = 2 * amount[:, None, None] * shape
    displaced = _spline().to(shape) @ moved
    return displaced.transpose(1, 2).reshape(len(amount), 2, _FIELD, _FIELD)


def bend(points: Tensor, field: Tensor) -> Tensor:
    """Displace points (B, h, w, 2), in half sides of the patch from its centre, by a :func:`bend_field`."""
    positions = points / _REACH
    return points + torch.nn.functional.grid_sample(
        field, positions, padding_mode="border", align_corners=True
    ).permute(0, 2, 3, 1)


@cache
def _spline() -> Tensor:
    """Compute the contribution of each control point's displacement to each point of the field: (169, 9)."""
    controls = np.eye(BEND_POINTS)
    spline = RBFInterpolator(_lattice(_CONTROLS, 1.0), controls, kernel="thin_plate_spline")
    return torch.from_numpy(spline(_lattice(_FIELD, _REACH))).float()


def _lattice(side: int, reach: float) -> NDArray[np.float64]:
    """Create the points (side², 2), x and y, of a regular lattice over [-reach, reach]², row by row."""
    positions = np.linspace(-reach, reach, side)
    return np.stack(np.meshgrid(positions, positions), axis=-1).reshape(-1, 2)
