"""Measure colours, light and blur from any sheet of a session, without a colour chart."""

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.edges import SAMPLING_VARIANCE_PX
from calibration.camera.sheet_pose import SheetPose
from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_map import polynomial_terms
from calibration.colour.colour_space import LINEAR_LEVELS, linear_to_srgb, srgb_to_linear
from calibration.colour.illumination import SmoothLight, marker_blur_px, mixing, points_along, white_ring
from calibration.sheet.layout import SheetLayout

LEAST_PX_PER_CELL = 3.0  # below it a cell's colour cannot be separated from its neighbours'
_LEAST_BORDER_PX = 3.0
_PER_CELL = 3  # samples along each side of a cell
_DAMPING = 0.05  # of the largest singular value: detail that the blur destroyed is not reconstructed
# Cameras and JPEG store chroma at half the resolution: below this size it leaks into neighbouring cells.
_SMEARED_PX = 10.0
_REFINEMENTS = 6
_RINGS = (1, 2)  # of neighbours, in cells
_LEAST_CELLS = 64
_SMEAR_DEGREE = 3
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])  # JFIF: ITU-T T.871
_SIGMA_OF_MAD = 1.4826
_AROUND = 25  # points along each side of a patch on a sign
_CLIPPED, _CLIPPED_SHARE = 254, 0.5  # of one channel: in warm light red alone clips
_WORST_NOISE = 0.05  # above it the pose is wrong or something covers the border


def observe(frame: NDArray[np.uint8], pose: SheetPose) -> ChartShot | None:
    """Measure a located sheet of any kind in ``frame``, (H, W, 3) RGB uint8.

    The result's ``seen`` are the colours of the cells with the blur of the markers removed and, if the printed colours are
    known, with the camera's chroma leakage between cells removed. Its ``shot_noise`` is the total noise at full scale.

    Returns:
        The measurement; None if the white border is too narrow, partly outside the frame, clipped or not plain.
    """
    layout = pose.layout
    per_mm = pose.px_per_cell / layout.cell_mm
    border_mm = layout.face.x_mm - layout.white.x_mm - layout.bleed_mm
    if border_mm * per_mm < _LEAST_BORDER_PX or pose.visible < 0.99:
        return None
    ring_mm, ring = white_ring(frame, pose)
    linear = srgb_to_linear(ring / 255)
    if not (ring.max(axis=1) > 0).all() or (ring >= _CLIPPED).mean(axis=0).max() > _CLIPPED_SHARE:
        return None
    light = SmoothLight(ring_mm, linear)
    white = light(layout.patch.corners_mm.mean(axis=0, keepdims=True))[0]
    level = light(ring_mm).mean(axis=1)
    if white.min() <= 0 or level.min() <= 0:
        return None
    rough = srgb_to_linear(white_ring(frame, pose, smooth_px=1)[1] / 255) - light(ring_mm)
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(rough - np.median(rough, axis=0))))
    if spread > _WORST_NOISE * float(np.sqrt(level.mean())):
        return None
    blur = marker_blur_px(frame, pose) or 0.0
    mixed = float(np.hypot(blur, SAMPLING_VARIANCE_PX**0.5))
    around = np.ones(3)
    if layout.carrier_rect is not None and layout.carrier_rect.overlaps(layout.patch):
        outside = points_along(layout.patch.grown(layout.cell_mm), _AROUND)  # where a blur mixes little of the patch in
        around = np.median(_samples(frame, pose, light, outside[None]), axis=(0, 1))
    seen = _unblurred(_samples(frame, pose, light, _lattice(layout)), mixed / pose.px_per_cell, around)
    if layout.cells is not None and layout.cells.size // 3 >= _LEAST_CELLS:
        seen = _undamped(seen, layout.cells, mixed / pose.px_per_cell, around)
        if pose.px_per_cell < _SMEARED_PX:
            seen = _unsmeared(seen, layout.cells, float(white.mean()))
    height, width = frame.shape[:2]
    return ChartShot(
        seen=seen,
        white=white,
        white_range=(float(level.min()), float(level.max())),
        read_noise=0.0,
        shot_noise=spread / float(np.sqrt(level.mean())),
        blur_px=blur,
        px_per_cell=pose.px_per_cell,
        frame_wh=(width, height),
    )


def _lattice(layout: SheetLayout) -> NDArray[np.float64]:
    """Return the points of the patch in mm on the sheet, (3 * rows, 3 * columns, 2)."""
    rows, columns = (_PER_CELL * n for n in layout.grid)
    x = layout.patch.x_mm + (np.arange(columns) + 0.5) * layout.patch.width_mm / columns
    y = layout.patch.y_mm + (np.arange(rows) + 0.5) * layout.patch.height_mm / rows
    return np.stack(np.meshgrid(x, y), axis=-1)


def _samples(
    frame: NDArray[np.uint8], pose: SheetPose, light: SmoothLight, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sample the linear light relative to the paper at points (H, W, 2) in mm on the sheet, (H, W, 3)."""
    at = pose.to_pixels(points.reshape(-1, 2)).reshape(points.shape)
    linear = LINEAR_LEVELS.astype(np.float32)[frame]
    observed = cv2.remap(linear, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return observed / light(points.reshape(-1, 2)).reshape(*points.shape[:2], 3)


def _unblurred(samples: NDArray[np.float64], sigma: float, around: NDArray[np.float64]) -> NDArray[np.float64]:
    """Recover the colours of the cells (rows, columns, 3) from samples that a Gaussian blur of ``sigma`` cells has mixed.

    The blur is separable and the patch is surrounded by one colour ``around`` (3,): paper, whose value is 1, or a sign's. So
    the deviations from it are mixed by one matrix from each side, and the damped pseudo-inverses of these matrices separate
    them again.
    """
    rows, columns = (n // _PER_CELL for n in samples.shape[:2])
    return around + _from_both_sides(_unmixing(rows, sigma), samples - around, _unmixing(columns, sigma))


def _from_both_sides(
    down: NDArray[np.float64], values: NDArray[np.float64], across: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Multiply ``down`` (R, M) by each channel of ``values`` (M, N, 3) and by ``across`` (K, N) transposed: (R, K, 3).

    Computed as two matrix products, because summing over both indices at once is hundreds of times slower.
    """
    return np.asarray(np.einsum("rm,mnc,kn->rkc", down, values, across, optimize=True))


def _unmixing(cells: int, sigma: float) -> NDArray[np.float64]:
    """Compute the damped (Tikhonov) pseudo-inverse of the mixing of a row of cells, (cells, samples)."""
    left, values, right = np.linalg.svd(mixing(cells, _sampled(cells), sigma), full_matrices=False)
    damped = values / (values**2 + (_DAMPING * values[0]) ** 2)
    return (right.T * damped) @ left.T


def _sampled(cells: int) -> NDArray[np.float64]:
    """Return the sample positions along a row of cells, in cells from its edge."""
    return (np.arange(_PER_CELL * cells) + 0.5) / _PER_CELL


def _undamped(
    seen: NDArray[np.float64], sent: NDArray[np.uint8], sigma: float, around: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Restore the contrast that the damping removed from cells (rows, columns, 3), linear.

    The loss is estimated from the printed colours: a smooth function of each cell's own colour is mixed and unmixed like the
    samples, and the contrast that it loses is added to the observed colours. This repeats until it converges.
    """
    rows, columns = seen.shape[:2]
    across, down = (_unmixing(n, sigma) @ mixing(n, _sampled(n), sigma) for n in (columns, rows))
    terms = polynomial_terms(srgb_to_linear(sent.reshape(-1, 3) / 255), _SMEAR_DEGREE)
    smooth = np.linalg.pinv(terms)
    lost = np.zeros_like(seen)
    for _ in range(_REFINEMENTS):
        own = (terms @ (smooth @ (seen + lost).reshape(-1, 3))).reshape(seen.shape)
        lost = own - around - _from_both_sides(down, own - around, across)
    return seen + lost


def _unsmeared(seen: NDArray[np.float64], sent: NDArray[np.uint8], level: float) -> NDArray[np.float64]:
    """Replace the chroma that leaked into cells (rows, columns, 3) from neighbouring ones by their own.

    The leakage is estimated from the printed colours: a smooth function of each cell's own colour predicts its chroma, and a
    linear fit gives the shares of the cell and of the rings of cells around it. ``level`` is the paper's white in the frame.
    """
    white = linear_to_srgb(np.full(3, level)) @ _YCC.T
    coded = linear_to_srgb(seen * level) @ _YCC.T - white  # keeps noise below 0, or its mean would be above 0
    chroma = coded[..., 1:]
    terms = polynomial_terms(sent.reshape(-1, 3) / 255, _SMEAR_DEGREE)
    own = (terms @ np.linalg.lstsq(terms, chroma.reshape(-1, 2), rcond=None)[0]).reshape(chroma.shape)
    rings = [_ring_mean(own, radius) for radius in _RINGS]
    shares, *_ = np.linalg.lstsq(np.column_stack([part.ravel() for part in (own, *rings)]), chroma.ravel(), rcond=None)
    carried = sum(share * (ring - own) for share, ring in zip(shares[1:], rings, strict=True))
    coded[..., 1:] = chroma - carried
    return np.asarray(srgb_to_linear((coded + white) @ np.linalg.inv(_YCC).T) / level)


def _ring_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return the mean over the cells at Chebyshev distance ``radius``; paper, outside the patch, is 0."""
    outer, inner = (2 * radius + 1) ** 2, (2 * radius - 1) ** 2
    whole, within = (
        cv2.boxFilter(values, -1, (2 * r + 1,) * 2, normalize=False, borderType=cv2.BORDER_CONSTANT) if r else values
        for r in (radius, radius - 1)
    )
    return np.asarray((whole - within) / (outer - inner))
