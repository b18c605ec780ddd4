"""Measure the blur of a picture at edges."""

import cv2
import numpy as np
from numpy.typing import NDArray

_STEP_PX = 0.25
_CONTRAST = 40.0
_DENOISE_PX, _REBLUR_PX = 1.0, 2.0
SAMPLING_VARIANCE_PX = (
    1 / 12 + 1 / 6
)  # blur that sampling itself adds: the pixel's box and the triangle of the interpolation
_LEAST_SLOPE = 3.0  # grey levels per pixel; less is noise
BLURRED_FRAME_PX = 2.5  # above it markers are not detected


def edge_blur_px(
    grey: NDArray[np.uint8], points: NDArray[np.floating], normals: NDArray[np.floating], half_px: float
) -> float | None:
    """Measure the Gaussian blur of straight black-white edges at known places.

    The steepest slope of a step of height C blurred by sigma is C / (sigma sqrt(2 pi)). The energy of the slope gives the
    same without relying on a single pixel: sum(slope^2) = C^2 / (2 sigma sqrt(pi)).

    Args:
        grey: (H, W) uint8.
        points: (N, 2) pixels on the edges.
        normals: (N, 2) unit vectors across the edges.
        half_px: half the length of a profile, short enough not to reach another edge.

    Returns:
        The standard deviation of the blur in pixels; None if no edge has enough contrast.
    """
    reach = np.arange(-half_px, half_px + _STEP_PX / 2, _STEP_PX)
    at = (points[:, None] + reach[None, :, None] * normals[:, None]).astype(np.float32)
    profiles = cv2.remap(
        grey.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    ends = max(1, len(reach) // 8)
    height = profiles[:, -ends:].mean(axis=1) - profiles[:, :ends].mean(axis=1)
    slopes = np.diff(profiles, axis=1) / _STEP_PX
    energy = (slopes**2).sum(axis=1) * _STEP_PX
    good = np.abs(height) > _CONTRAST
    if not good.any():
        return None
    sigma = height[good] ** 2 / (2 * np.sqrt(np.pi) * energy[good])
    return float(np.sqrt(max(0.0, np.median(sigma) ** 2 - SAMPLING_VARIANCE_PX)))


def frame_blur_px(grey: NDArray[np.uint8]) -> float:
    """Estimate the standard deviation, in pixels, of the blur at the strongest edges of a frame (H, W) uint8.

    Blurring again by a known Gaussian lowers the slope of an edge by sqrt(sigma^2 + known^2) / sigma (Zhuo and Sim 2011,
    section 3). The estimate is rough, but separates blurred frames from sharp ones.
    """
    steep = _slopes(cv2.GaussianBlur(grey, (0, 0), _DENOISE_PX))
    again = _slopes(cv2.GaussianBlur(grey, (0, 0), float(np.hypot(_DENOISE_PX, _REBLUR_PX))))
    edges = steep >= max(_LEAST_SLOPE, float(np.percentile(steep, 99.5)))
    if not edges.any():
        return 0.0
    ratio = float(np.median(steep[edges] / np.maximum(again[edges], 1e-6)))
    sigma = _REBLUR_PX / np.sqrt(max(ratio**2 - 1, 1e-6))
    return float(np.sqrt(max(0.0, sigma**2 - _DENOISE_PX**2)))


def _slopes(grey: NDArray[np.uint8]) -> NDArray[np.floating]:
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axes, scale=1 / 8) for axes in ((1, 0), (0, 1)))
    return np.hypot(across, down)
