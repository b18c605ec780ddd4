"""How well views of a board determine a lens: the spread that the fit would have over other views.

Least squares claims its deviations under the assumption that the errors of all corners are independent. They are not: a bent
board, blur and the camera's own sharpening shift the corners of a view together. So the views are resampled, not the corners,
by the delete-one jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11), which approximates the
bootstrap over views. A fit without one view is a Gauss-Newton step from the fit with all of them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

LENS_NAMES = ("fx", "fy", "cx", "cy")
_POSE = 6  # numbers of a view's pose, which come first in OpenCV's Jacobian
_FITTED = 8  # fx, fy, cx, cy, k1, k2, p1, p2: the lens's numbers that follow them


def deviations_over_views(
    points_mm: Sequence[NDArray[np.floating]],
    corners_px: Sequence[NDArray[np.floating]],
    turns: Sequence[NDArray[np.float64]],
    shifts: Sequence[NDArray[np.float64]],
    matrix: NDArray[np.float64],
    distortion: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Compute the standard deviations of fx, fy, cx and cy, (4,) in pixels, from how much each view pulls the fit.

    Args:
        points_mm: the corners of each view on the board, (N, 3).
        corners_px: the same in the frame, (N, 2).
        turns, shifts: the fitted pose of each view, (3,) or (3, 1).
        matrix, distortion: the fitted lens, with k3 fixed.

    Returns:
        The deviations; infinite where the fit without some view is undetermined.
    """
    squares, pulls = [], []
    for points, corners, turn, shift in zip(points_mm, corners_px, turns, shifts, strict=True):
        projected, jacobian = cv2.projectPoints(points, turn, shift, matrix, distortion)
        errors = (np.asarray(corners, dtype=np.float64) - projected.reshape(-1, 2)).ravel()
        pose, lens = jacobian[:, :_POSE], jacobian[:, _POSE : _POSE + _FITTED]
        free = lens - pose @ np.linalg.lstsq(pose, lens, rcond=None)[0]  # what no change of the pose explains
        squares.append(free.T @ free)
        pulls.append(free.T @ errors)
    if len(squares) < 2:
        return np.full(len(LENS_NAMES), np.inf)
    whole = np.sum(squares, axis=0)
    scale = np.sqrt(np.diag(whole)).clip(min=np.finfo(np.float64).tiny)  # focal lengths and coefficients differ by 10^4
    try:
        changes = np.array(
            [
                np.linalg.solve((whole - square) / np.outer(scale, scale), pull / scale) / scale
                for square, pull in zip(squares, pulls, strict=True)
            ]
        )
    except np.linalg.LinAlgError:
        return np.full(len(LENS_NAMES), np.inf)
    count = len(changes)
    spread = np.sqrt((count - 1) / count * (changes**2).sum(axis=0))
    return np.asarray(spread[: len(LENS_NAMES)])


def half_width(std: float, views: int, level: float = 0.95) -> float:
    """Compute half of a confidence interval's width from a deviation over ``views`` views, by Student's t."""
    return float(stats.t.ppf((1 + level) / 2, max(1, views - 1)) * std)
