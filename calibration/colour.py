"""The sRGB transfer curve (IEC 61966-2-1) in numpy. Light adds up in linear values only."""

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """Decode sRGB values in [0, 1], any shape, to linear light in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """Encode linear light in [0, 1], any shape, as sRGB in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)
