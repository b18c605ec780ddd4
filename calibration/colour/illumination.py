"""What a sheet's white border and markers tell of the light and the lens in one frame."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from calibration.camera.edges import SAMPLING_VARIANCE_PX
from calibration.camera.sheet_pose import SheetPose
from calibration.colour.colour_map import srgb_to_linear
from calibration.sheet.layout import ARUCO_DICTIONARY, MARKER_MODULES, Marker, SheetLayout

_SAMPLES_PER_SIDE = 60
_DICTIONARY = cv2.aruco.getPredefinedDictionary(ARUCO_DICTIONARY)
_MARKER_MARGIN = 0.5  # modules of white paper around a marker that are looked at
_PER_MODULE = 4  # points along each side
_BLUR_STEP = 1.15
_BLURS = 0.04 * _BLUR_STEP ** np.arange(26)  # standard deviations to try, in modules: up to 1.3
_SHARPEST = 0.02
_LEAST_CONTRAST = 0.03  # of full scale, linear


def marker_blur_px(frame: NDArray[np.uint8], pose: SheetPose) -> float | None:
    """Standard deviation in pixels of the Gaussian blur, from how the markers look in ``frame`` (H, W, 3) RGB uint8.

    What each marker shows is known, so it is drawn with one blur after another, in linear light, and compared with the frame
    at a lattice of points; the median over the markers. Edges alone tell too little once the blur nears a module's width.
    None where no marker lies in the frame with enough contrast.
    """
    linear = srgb_to_linear(np.arange(256) / 255).astype(np.float32)[cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)]
    found = [_one_marker_blur_px(linear, pose, marker) for marker in pose.layout.markers]
    known = [sigma for sigma in found if sigma is not None]
    return float(np.median(known)) if known else None


def mixing(cells: int, points: NDArray[np.floating], sigma: float) -> NDArray[np.float64]:
    """How much of each of ``cells`` unit intervals from 0 on is seen at points (N,), blurred by ``sigma``: (N, cells)."""
    edges = norm.cdf((np.arange(cells + 1)[None, :] - points[:, None]) / max(sigma, _SHARPEST))
    return np.diff(edges, axis=1)


def _one_marker_blur_px(linear: NDArray[np.float32], pose: SheetPose, marker: Marker) -> float | None:
    at = (np.arange(-_MARKER_MARGIN, MARKER_MODULES + _MARKER_MARGIN, 1 / _PER_MODULE)) + 0.5 / _PER_MODULE
    module = np.array([marker.rect.width_mm, marker.rect.height_mm]) / MARKER_MODULES
    points = np.stack(np.meshgrid(at, at), axis=-1) * module + (marker.rect.x_mm, marker.rect.y_mm)
    where = pose.to_pixels(points.reshape(-1, 2)).reshape(len(at), len(at), 2)
    height, width = linear.shape
    if (where < 0).any() or (where >= (width, height)).any():
        return None
    seen = cv2.remap(linear, where, None, cv2.INTER_LINEAR).ravel()
    dark = 1 - _DICTIONARY.generateImageMarker(marker.id, MARKER_MODULES).astype(float) / 255
    errors = []
    for sigma in _BLURS:
        across = mixing(MARKER_MODULES, at, sigma)
        drawn = np.column_stack([np.ones(seen.size), (across @ dark @ across.T).ravel()])
        fit, *_ = np.linalg.lstsq(drawn, seen, rcond=None)
        if -fit[1] < _LEAST_CONTRAST:
            return None
        errors.append(float(((drawn @ fit - seen) ** 2).sum()))
    best = int(np.argmin(errors))
    sigma = float(_BLURS[best])
    if 0 < best < len(_BLURS) - 1:  # between the steps, by a parabola
        before, here, after = errors[best - 1 : best + 2]
        sigma *= float(_BLUR_STEP ** (0.5 * (before - after) / (before - 2 * here + after)))
    corners = pose.to_pixels(marker.rect.corners_mm)
    module_px = float(np.sqrt(cv2.contourArea(corners))) / MARKER_MODULES
    return float(np.sqrt(max(0.0, (sigma * module_px) ** 2 - SAMPLING_VARIANCE_PX)))


def white_ring(
    frame: NDArray[np.uint8], pose: SheetPose, *, smooth_px: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (N, 2) in millimetres along the middle of the white border, and the colour there (N, 3), 0 to 255.

    ``smooth_px`` is the side of the square of pixels that each colour is the mean of.
    """
    layout = pose.layout
    border = layout.face.x_mm - layout.white.x_mm
    ring = layout.face.grown(border / 2)
    share = (np.arange(_SAMPLES_PER_SIDE) + 0.5) / _SAMPLES_PER_SIDE
    x, y = ring.x_mm + share * ring.width_mm, ring.y_mm + share * ring.height_mm
    points = np.concatenate(
        [
            np.column_stack([x, np.full_like(x, ring.y_mm)]),
            np.column_stack([x, np.full_like(x, ring.bottom_mm)]),
            np.column_stack([np.full_like(y, ring.x_mm), y]),
            np.column_stack([np.full_like(y, ring.right_mm), y]),
        ]
    )
    at = pose.to_pixels(points)
    way = cv2.INTER_LINEAR if smooth_px > 1 else cv2.INTER_NEAREST
    seen = cv2.remap(cv2.blur(frame, (smooth_px, smooth_px)), at[None], None, way)[0]
    return points, seen.astype(np.float64)


class SmoothLight:
    """A smooth light, a quadratic surface for each channel, through the white border."""

    def __init__(self, points_mm: NDArray[np.floating], linear: NDArray[np.floating]) -> None:
        self._middle, self._reach = points_mm.mean(axis=0), np.ptp(points_mm, axis=0) / 2
        self._table, *_ = np.linalg.lstsq(self._terms(points_mm), linear, rcond=None)

    def __call__(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(self._terms(points_mm) @ self._table)

    def _terms(self, points_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        x, y = ((points_mm - self._middle) / self._reach).T
        return np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def cell_centers_mm(layout: SheetLayout) -> NDArray[np.float64]:
    """(rows * columns, 2), row by row."""
    return np.array([layout.cell_rect(row, column).corners_mm.mean(axis=0) for row, column in np.ndindex(layout.grid)])
