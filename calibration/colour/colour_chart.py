"""Measure the colour chart in a picture, corrected for uneven light; unreliable pictures are rejected."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from calibration.camera.edges import BLURRED_FRAME_PX, frame_blur_px
from calibration.camera.intrinsics import Intrinsics
from calibration.camera.qr_label import label_of
from calibration.camera.sheet_pose import SheetPose, find_sheet, make_detector, read_markers
from calibration.colour.colour_space import LINEAR_LEVELS, linear_to_srgb, srgb_to_linear
from calibration.colour.illumination import SmoothLight, cell_centers_mm, marker_blur_px, white_ring
from calibration.common.errors import InputError
from calibration.sheet.layout import MARKER_MODULES, SheetLayout, marker_ids

_LEAST_PX_PER_CELL = 8.0
_LEAST_PX_PER_MODULE = 4.0  # below it some markers are not read
_WORST_BLUR = 0.1  # of a cell: above it neighbours affect the middle half of a cell
_CLIPPED, _CLIPPED_SHARE = 250, 0.02
_DARKEST_WHITE = 0.06  # of full scale, linear
_STEEPEST_LIGHT = 3.0
_WORST_LIGHT = 0.06  # largest relative deviation of the white border from a smooth light
_LEAST_LIKENESS = 0.6  # correlation of printed and observed light; a chart in another order has none
_BLURRED = "the picture is blurred: hold still, focus on the sheet, or come closer"
_INNER = 0.5  # of a cell's side: the part that is measured


@dataclass(frozen=True, eq=False)
class ChartShot:
    """The measurement of a sheet's cells in one picture.

    Attributes:
        seen: (rows, columns, 3) camera RGB, linear, relative to the paper at the same place.
        white: (3,) level of the paper at the centre of the chart, linear, in [0, 1].
        white_range: darkest and brightest level of the paper in the picture, averaged over the channels.
        read_noise, shot_noise: standard deviations of Poisson-Gaussian noise at full scale, linear:
            variance = read² + shot² × light.
        blur_px: standard deviation of the blur.
        px_per_cell: side of a cell in pixels.
        frame_wh: size of the picture.
    """

    seen: NDArray[np.float64]
    white: NDArray[np.float64]
    white_range: tuple[float, float]
    read_noise: float
    shot_noise: float
    blur_px: float
    px_per_cell: float
    frame_wh: tuple[int, int]

    @property
    def srgb(self) -> NDArray[np.float64]:
        """Return ``seen`` as sRGB values in [0, 1], (rows, columns, 3)."""
        return np.clip(linear_to_srgb(np.clip(self.seen, 0, 1)), 0, 1)


def read_chart(frame: NDArray[np.uint8], layout: SheetLayout, intrinsics: Intrinsics | None = None) -> ChartShot:
    """Measure the colour chart in a picture.

    Args:
        frame: (H, W, 3) RGB uint8.
        layout: the printed chart, of kind ``chart``.
        intrinsics: of the camera; None assumes a typical field of view.

    Raises:
        InputError: if the chart is missing, incomplete or another sheet, or if it is mirrored, too small, blurred, clipped,
            too dark or unevenly lit.
    """
    detector = make_detector()
    height, width = frame.shape[:2]
    lens = intrinsics.resized(width, height) if intrinsics else Intrinsics.from_hfov(width, height)
    pose = find_sheet(frame, [layout], lens, detector)
    if pose is None or pose.markers_seen < len(layout.markers):
        raise InputError(_failure_reason(frame, layout, detector))
    label = label_of(frame, pose)
    if label is not None and label.patch_id != layout.patch_id:
        raise InputError(
            f"the picture shows chart {label.patch_id}, but the PDF is of {layout.patch_id}: pass the printed PDF to --sheet"
        )
    if label is not None and (mismatch := label.other_size(layout)):
        raise InputError(f"{mismatch}: pass the printed PDF to --sheet")
    if pose.px_per_cell < _LEAST_PX_PER_CELL:
        raise InputError(
            f"the chart is too small in the picture, {pose.px_per_cell:.1f} pixels per cell: come closer, until a cell has "
            f"at least {_LEAST_PX_PER_CELL:g}"
        )
    ring_mm, ring = white_ring(frame, pose)
    if np.median(srgb_to_linear(ring / 255)) < _DARKEST_WHITE:
        raise InputError("the picture is too dark: use more light or a longer exposure")
    if (ring.max(axis=1) >= _CLIPPED).mean() > _CLIPPED_SHARE:
        raise InputError("the paper is clipped to white in the picture: lower the exposure or the light")
    blur = marker_blur_px(frame, pose)
    if blur is None or blur > _WORST_BLUR * pose.px_per_cell:
        raise InputError(_BLURRED)
    light = SmoothLight(ring_mm, srgb_to_linear(ring / 255))
    centers = cell_centers_mm(layout)
    under = light(centers).reshape(*layout.grid, 3)
    if under.mean(axis=2).max() > _STEEPEST_LIGHT * under.mean(axis=2).min():
        raise InputError("the light on the chart is too uneven: turn the chart, or light it from farther away")
    deviation = np.abs(srgb_to_linear(ring / 255) / light(ring_mm) - 1).mean(axis=1)
    if np.percentile(deviation, 90) > _WORST_LIGHT:
        raise InputError("there is a shadow or a reflection on the chart: move the chart or the lamp")
    medians, variances = _cells(frame, pose)
    _check_order(layout, medians / under)
    read, shot = _noise(medians, variances)
    level = under.mean(axis=2)
    return ChartShot(
        seen=medians / under,
        white=light(layout.patch.corners_mm.mean(axis=0, keepdims=True))[0],
        white_range=(float(level.min()), float(level.max())),
        read_noise=read,
        shot_noise=shot,
        blur_px=blur,
        px_per_cell=pose.px_per_cell,
        frame_wh=(width, height),
    )


def _check_order(layout: SheetLayout, seen: NDArray[np.float64]) -> None:
    """Reject a chart whose colours are in another order than ``layout`` has them; its QR code may be too small to read."""
    if layout.cells is None:
        return
    sent = srgb_to_linear(layout.cells / 255).sum(axis=2).ravel()
    if np.corrcoef(sent, seen.sum(axis=2).ravel())[0, 1] < _LEAST_LIKENESS:
        raise InputError("the colours are in another order than on the sheet: pass the printed PDF to --sheet")


def _failure_reason(frame: NDArray[np.uint8], layout: SheetLayout, detector: cv2.aruco.ArucoDetector) -> str:
    """Say why no complete chart was found."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    markers, mirrored = (read_markers(detector, picture) for picture in (grey, cv2.flip(grey, 1)))
    ids, layout_ids = set(markers), {marker.id for marker in layout.markers}
    own = [markers[marker_id] for marker_id in ids & layout_ids]
    if len(mirrored.keys() & layout_ids) > len(own):
        return "the picture is mirrored: turn mirroring off in the camera's settings"
    if len(own) == len(layout_ids):
        return (
            "the markers do not fit this sheet: pass the printed PDF to --sheet, lay the sheet flat, and check the picture's "
            "aspect ratio"
        )
    if own and np.median([cv2.contourArea(quad) for quad in own]) < (_LEAST_PX_PER_MODULE * MARKER_MODULES) ** 2:
        return "the chart is too small in the picture: come closer"
    if frame_blur_px(grey) > BLURRED_FRAME_PX:
        return _BLURRED
    if own:
        return f"only {len(own)} of the chart's {len(layout_ids)} corner markers are visible: show the whole sheet"
    if set(marker_ids("board")) & ids or len(ids) > 8:
        return "this is the lens board: show the page with the colour chart"
    if ids:
        return "this is another sheet, not the colour chart of `physpatch calibrate sheet`"
    return "no colour chart is visible: show the second page of `physpatch calibrate sheet`, large and with all four markers"


def _cells(frame: NDArray[np.uint8], pose: SheetPose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure the median and variance of the linear light in the middle of each cell, (rows, columns, 3)."""
    layout = pose.layout
    rows, columns = layout.grid
    medians, variances = np.zeros((rows, columns, 3)), np.zeros((rows, columns, 3))
    for row, column in np.ndindex(rows, columns):
        cell = layout.cell_rect(row, column)
        inner = cell.grown(-(1 - _INNER) / 2 * min(cell.width_mm, cell.height_mm))
        quad = pose.to_pixels(inner.corners_mm)
        left, top = np.floor(quad.min(axis=0)).astype(int)
        right, bottom = np.ceil(quad.max(axis=0)).astype(int) + 1
        mask = np.zeros((bottom - top, right - left), dtype=np.uint8)
        cv2.fillConvexPoly(mask, (quad - (left, top)).round().astype(np.int32), 1)
        pixels = LINEAR_LEVELS[frame[top:bottom, left:right][mask.astype(bool)]]
        medians[row, column] = np.median(pixels, axis=0)
        variances[row, column] = pixels.var(axis=0)
    return medians, variances


def _noise(means: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[float, float]:
    """Estimate read and shot noise from a non-negative linear fit of the variance over the light."""
    light = means.ravel()
    (constant, slope), _ = nnls(np.column_stack([np.ones_like(light), light]), variances.ravel())
    return float(np.sqrt(constant)), float(np.sqrt(slope))


def mean_shot(shots: Sequence[ChartShot]) -> NDArray[np.float64]:
    """Average shots under one light, in linear light; return sRGB values in [0, 1], (rows, columns, 3)."""
    return np.clip(linear_to_srgb(np.clip(np.mean([shot.seen for shot in shots], axis=0), 0, 1)), 0, 1)


def chart_picture(
    sent: NDArray[np.floating], seen: NDArray[np.floating], predicted: NDArray[np.floating], *, cell_px: int = 28
) -> NDArray[np.uint8]:
    """Draw the chart as sent, as seen and as predicted, side by side, (H, W, 3) RGB uint8.

    Args:
        sent, seen, predicted: sRGB values in [0, 1], (rows, columns, 3).
        cell_px: side of a cell in the picture.
    """
    parts = []
    gap = np.full((sent.shape[0] * cell_px + 30, cell_px // 2, 3), 255, dtype=np.uint8)
    for title, values in (("as sent", sent), ("as seen", seen), ("as predicted", predicted)):
        cells = (np.clip(values, 0, 1) * 255).round().astype(np.uint8).repeat(cell_px, 0).repeat(cell_px, 1)
        head = np.full((30, cells.shape[1], 3), 255, dtype=np.uint8)
        cv2.putText(head, title, (2, 21), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
        parts += [gap, np.concatenate([head, cells])]
    return np.concatenate([*parts, gap], axis=1)
