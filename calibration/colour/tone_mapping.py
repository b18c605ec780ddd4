"""The colours of a camera that develops for the eye, as phones do: a matrix, a change of saturation, and a tone curve.

The matrix is on linear light. The change of saturation is a matrix too, on the three differences between the geometric and the
arithmetic mean of two channels, which are 0 for greys and proportional to the light, as the terms of root-polynomial colour
correction are (Finlayson, Mackiewicz and Hurlbert 2015, section III). The tone curve is monotone, on sRGB values, and the same
for the three channels; black and white stay.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.colour.colour_space import lab, linear_to_srgb, srgb_to_linear

TERMS = 7
ROOT_OFFSET = 0.005  # of full scale: keeps the roots' gradient finite at black
STEEPEST_BEND = 0.5  # of each coefficient of the curve; the curve is monotone while the two add up to at most 1
_CHROMA_WEIGHT, _HUE_WEIGHT = 0.045, 0.015  # CIE94's: a saturated colour's errors are seen less, above all in chroma
_OFFSET_SPREAD, _BEND_SPREAD = 0.02, 0.2  # usual sizes, for the penalties: of the matrix's constants, and of the curve
_DARKEST = 1e-4  # linear: below it the sRGB curve has no use for a fit
_STEPS, _DIFFERENCE = 30, 1e-6  # of the least squares, and for its Jacobian


def toned_terms(linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the terms (..., 7) of linear colours (..., 3): a constant, the channels, and the mixed roots."""
    shifted = np.asarray(linear, dtype=np.float64) + ROOT_OFFSET
    roots = [
        np.sqrt(shifted[..., i] * shifted[..., j]) - (shifted[..., i] + shifted[..., j]) / 2
        for i, j in combinations(range(3), 2)
    ]
    channels = np.moveaxis(np.asarray(linear, dtype=np.float64), -1, 0)
    return np.stack([np.ones_like(channels[0]), *channels, *roots], axis=-1)


def bent(srgb: NDArray[np.floating], curve: tuple[Any, Any]) -> NDArray[np.float64]:
    """Apply the tone curve to sRGB values in [0, 1]: x + a x (1 - x) + b x (1 - x) (1 - 2 x)."""
    first, second = curve
    return np.asarray(srgb + srgb * (1 - srgb) * (first + second * (1 - 2 * srgb)))


def toned(linear: NDArray[np.floating], table: NDArray[np.floating], curve: tuple[float, float]) -> NDArray[np.float64]:
    """Predict sRGB values (..., 3) from linear colours (..., 3), with coefficients (7, 3) and the curve's."""
    return bent(linear_to_srgb(np.clip(toned_terms(linear) @ table, 0, 1)), curve)


def fit_toned(
    linear: NDArray[np.floating], seen: NDArray[np.floating], ridge: float
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Fit coefficients (7, 3) and the curve's to colours sent (N, 3), linear, and seen (N, 3), sRGB.

    The errors are differences in CIELAB, weighted as in CIE94 by the colour seen, whose minimum is close to CIEDE2000's; the
    larger ``ridge`` is, the less saturation changes.
    """
    terms, target_lab = toned_terms(linear), lab(seen)
    axes = _perceived_axes(target_lab)
    start = np.zeros((TERMS, 3))
    start[1:4] = np.linalg.lstsq(terms[:, 1:4], srgb_to_linear(seen), rcond=None)[0]
    penalties = np.zeros((TERMS, 3))
    penalties[0], penalties[4:] = 1 / _OFFSET_SPREAD, ridge

    def errors(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the residuals (K, R) of K sets of numbers."""
        tables, bends = numbers[:, :-2].reshape(-1, TERMS, 3), numbers[:, -2:]
        # Not clipped at white, where a colour that is too light would have no gradient.
        coded = linear_to_srgb(np.maximum(terms @ tables, _DARKEST))
        predicted = bent(coded, (bends[:, :1, None], bends[:, 1:, None]))
        off = np.einsum("kni,nji->knj", lab(predicted) - target_lab, axes)
        rows = len(numbers)
        return np.hstack([off.reshape(rows, -1), bends / _BEND_SPREAD, (penalties * tables).reshape(rows, -1)])

    def jacobian(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute all differences in one batch, many times faster than one by one."""
        moved = errors(np.vstack([numbers, numbers + _DIFFERENCE * np.eye(numbers.size)]))
        return np.asarray((moved[1:] - moved[0]).T / _DIFFERENCE)

    limits = np.r_[np.full(start.size, np.inf), np.full(2, STEEPEST_BEND)]
    first = np.r_[start.ravel(), np.zeros(2)]
    solution = least_squares(
        lambda numbers: errors(numbers[None])[0],
        first,
        jacobian,
        bounds=(-limits, limits),
        x_scale=0.1,
        max_nfev=_STEPS,
    ).x
    return solution[:-2].reshape(TERMS, 3), (float(solution[-2]), float(solution[-1]))


def _perceived_axes(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Build matrices (N, 3, 3): differences from CIELAB colours (N, 3) to lightness, chroma and hue, weighted as by CIE94."""
    chroma, hue = np.hypot(colours[:, 1], colours[:, 2]), np.arctan2(colours[:, 2], colours[:, 1])
    axes = np.zeros((len(colours), 3, 3))
    axes[:, 0, 0] = 1
    axes[:, 1, 1:] = np.column_stack([np.cos(hue), np.sin(hue)]) / (1 + _CHROMA_WEIGHT * chroma)[:, None]
    axes[:, 2, 1:] = np.column_stack([-np.sin(hue), np.cos(hue)]) / (1 + _HUE_WEIGHT * chroma)[:, None]
    return axes
