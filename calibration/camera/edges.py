"""How blurred a picture is, from edges whose place is known."""

import cv2
import numpy as np
from numpy.typing import NDArray

_STEP_PX = 0.25
_CONTRAST = 40.0
_DENOISE_PX, _REBLUR_PX = 1.0, 2.0
SAMPLING_VARIANCE_PX = (
    1 / 12 + 1 / 6
)  # sampling between pixels blurs by itself: a pixel's box and the interpolation's triangle
_LEAST_SLOPE = 3.0  # grey steps a pixel; less is noise
BLURRED_FRAME_PX = 2.5  # markers are lost from here on, whatever else is wrong


def edge_blur_px(
    grey: NDArray[np.uint8], points: NDArray[np.floating], normals: NDArray[np.floating], half_px: float
) -> float | None:
    """Standard deviation in pixels of the Gaussian that blurs straight black-white edges; None where none has contrast.

    The steepest slope of a step of height C blurred by sigma is C / (sigma sqrt(2 pi)). The mean of the slope's square over
    its sum gives the same without trusting a single pixel: sum(slope^2) = C^2 / (2 sigma sqrt(pi)).

    Args:
        grey: (H, W) uint8.
        points: (N, 2) pixels on the edges.
        normals: (N, 2) unit vectors across them.
        half_px: how far the profile may reach on either side, without meeting another edge.
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
    """Standard deviation in pixels of the blur on a frame's strongest edges, wherever they are.

    Blurring once more by a known Gaussian lowers an edge's slope by sqrt(sigma^2 + known^2) / sigma (Zhuo and Sim 2011,
    section 3). Rough: good for telling a blurred frame from a sharp one.
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
