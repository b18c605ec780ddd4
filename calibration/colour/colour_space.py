"""The sRGB transfer function and perceptual colour differences."""

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """Decode sRGB values in [0, 1], any shape, to linear light in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """Encode linear light in [0, 1], any shape, as sRGB in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


LINEAR_LEVELS: NDArray[np.floating] = srgb_to_linear(np.arange(256) / 255)
"""The linear light of each 8-bit sRGB value, (256,): index it with a picture."""


def delta_e00(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute CIEDE2000 between sRGB values (..., 3) in [0, 1], with white (1, 1, 1) under D65."""
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(lab(np.clip(first, 0, 1)), lab(np.clip(second, 0, 1))))


def lab(srgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert sRGB values (..., 3) to CIELAB, with white (1, 1, 1) under D65."""
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(srgb))
