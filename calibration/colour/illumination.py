"""Estimate light and blur in a frame from a sheet's white border and markers."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from calibration.camera.edges import SAMPLING_VARIANCE_PX
from calibration.camera.sheet_pose import SheetPose
from calibration.colour.colour_space import LINEAR_LEVELS
from calibration.sheet.layout import MARKER_MODULES, Marker, Rect, SheetLayout
from calibration.sheet.modules import marker_bits

_SAMPLES_PER_SIDE = 60
_MARKER_MARGIN = 0.5  # modules of white paper around a marker that are sampled
_PER_MODULE = 4  # points along each side
_BLUR_STEP = 1.15
_BLURS = 0.04 * _BLUR_STEP ** np.arange(26)  # standard deviations to try, in modules: up to 1.3
_SHARPEST = 0.02
_LEAST_CONTRAST = 0.03  # of full scale, linear


def marker_blur_px(frame: NDArray[np.uint8], pose: SheetPose) -> float | None:
    """Measure the Gaussian blur of the markers in ``frame``, (H, W, 3) RGB uint8.

    The pattern of each marker is known, so it is rendered with a range of blurs, in linear light, and compared with the frame
    at a lattice of points. Edges alone are not enough once the blur approaches the width of a module.

    Returns:
        The median standard deviation over the markers, in pixels; None if no marker in the frame has enough contrast.
    """
    linear = LINEAR_LEVELS.astype(np.float32)[cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)]
    blurs = [_one_marker_blur_px(linear, pose, marker) for marker in pose.layout.markers]
    measured = [sigma for sigma in blurs if sigma is not None]
    return float(np.median(measured)) if measured else None


def mixing(cells: int, points: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
    """Compute the weights (N, cells) of the unit intervals 0 to ``cells`` at ``points`` (N,) after a blur of ``sigma``."""
    edges = norm.cdf((np.arange(cells + 1)[None, :] - points[:, None]) / max(sigma, _SHARPEST))
    return np.diff(edges, axis=1)


def _one_marker_blur_px(linear: NDArray[np.float32], pose: SheetPose, marker: Marker) -> float | None:
    at = (np.arange(-_MARKER_MARGIN, MARKER_MODULES + _MARKER_MARGIN, 1 / _PER_MODULE)) + 0.5 / _PER_MODULE
    module = np.array([marker.rect.width_mm, marker.rect.height_mm]) / MARKER_MODULES
    points = np.stack(np.meshgrid(at, at), axis=-1) * module + (marker.rect.x_mm, marker.rect.y_mm)
    pixels = pose.to_pixels(points.reshape(-1, 2)).reshape(len(at), len(at), 2)
    height, width = linear.shape
    if (pixels < 0).any() or (pixels >= (width, height)).any():
        return None
    observed = cv2.remap(linear, pixels, None, cv2.INTER_LINEAR).ravel()
    dark = 1 - marker_bits(marker.id).astype(float)
    errors = []
    for sigma in _BLURS:
        across = mixing(MARKER_MODULES, at, sigma)
        drawn = np.column_stack([np.ones(observed.size), (across @ dark @ across.T).ravel()])
        fit, *_ = np.linalg.lstsq(drawn, observed, rcond=None)
        if -fit[1] < _LEAST_CONTRAST:
            return None
        errors.append(float(((drawn @ fit - observed) ** 2).sum()))
    best = int(np.argmin(errors))
    sigma = float(_BLURS[best])
    if 0 < best < len(_BLURS) - 1:  # refine between the steps with a parabola
        before, least, after = errors[best - 1 : best + 2]
        sigma *= float(_BLUR_STEP ** (0.5 * (before - after) / (before - 2 * least + after)))
    corners = pose.to_pixels(marker.rect.corners_mm)
    module_px = float(np.sqrt(cv2.contourArea(corners))) / MARKER_MODULES
    return float(np.sqrt(max(0.0, (sigma * module_px) ** 2 - SAMPLING_VARIANCE_PX)))


def white_ring(
    frame: NDArray[np.uint8], pose: SheetPose, *, smooth_px: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sample the white border of a sheet along the middle of what the bleed of a cut-out leaves of it.

    Args:
        frame: (H, W, 3) RGB uint8.
        pose: of the sheet.
        smooth_px: side of the square of pixels over which each colour is averaged.

    Returns:
        Points (N, 2) in mm on the sheet, and their colours (N, 3), 0 to 255.
    """
    layout = pose.layout
    border = layout.face.x_mm - layout.white.x_mm
    points = points_along(layout.face.grown((border + layout.bleed_mm) / 2), _SAMPLES_PER_SIDE)
    at = pose.to_pixels(points)
    interpolation = cv2.INTER_LINEAR if smooth_px > 1 else cv2.INTER_NEAREST
    colours = cv2.remap(cv2.blur(frame, (smooth_px, smooth_px)), at[None], None, interpolation)[0]
    return points, colours.astype(np.float64)


def points_along(ring: Rect, per_side: int) -> NDArray[np.float64]:
    """Return ``per_side`` points along each side of a rectangle: (4 * per_side, 2), in its millimetres."""
    share = (np.arange(per_side) + 0.5) / per_side
    x, y = ring.x_mm + share * ring.width_mm, ring.y_mm + share * ring.height_mm
    return np.concatenate(
        [
            np.column_stack([x, np.full_like(x, ring.y_mm)]),
            np.column_stack([x, np.full_like(x, ring.bottom_mm)]),
            np.column_stack([np.full_like(y, ring.x_mm), y]),
            np.column_stack([np.full_like(y, ring.right_mm), y]),
        ]
    )


class SmoothLight:
    """The light on a sheet as a quadratic surface per channel, fitted to the white border."""

    def __init__(self, points_mm: NDArray[np.floating], linear: NDArray[np.floating]) -> None:
        """Fit to linear colours (N, 3) at points (N, 2) in mm."""
        self._middle, self._reach = points_mm.mean(axis=0), np.ptp(points_mm, axis=0) / 2
        self._table, *_ = np.linalg.lstsq(self._terms(points_mm), linear, rcond=None)

    def __call__(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Evaluate the light at points (N, 2) in mm: (N, 3), linear."""
        return np.asarray(self._terms(points_mm) @ self._table)

    def _terms(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        x, y = ((points_mm - self._middle) / self._reach).T
        return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def cell_centers_mm(layout: SheetLayout) -> NDArray[np.float64]:
    """Return the centres of the cells in mm, (rows * columns, 2), row by row."""
    return np.array([layout.cell_rect(row, column).corners_mm.mean(axis=0) for row, column in np.ndindex(layout.grid)])
