"""What any sheet of a session tells of print, light and lens, without a colour chart."""

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.chart import ChartShot
from calibration.colour import srgb_to_linear
from calibration.paperlight import SmoothLight, marker_blur_px, mixing, white_ring
from calibration.pose import SheetPose

LEAST_PX_PER_CELL = 3.0  # below it a cell's colour cannot be told from its neighbours'
_LEAST_BORDER_PX = 3.0
_PER_CELL = 3  # samples along each side of a cell
_DAMPING = 0.05  # of the largest singular value: what the blur took away for good is not guessed
_SIGMA_OF_MAD = 1.4826
_WORST_NOISE = 0.05  # beyond it the border is not where the pose has it, or something lies on it


def observe(frame: NDArray[np.uint8], pose: SheetPose) -> ChartShot | None:
    """Read a sheet that was found in ``frame`` (H, W, 3) RGB uint8, whatever it shows.

    Its ``seen`` are the cells freed from the blur that the markers' edges have; its ``shot_noise`` is all noise at full scale.
    None where the white border is too narrow in the frame, partly outside of it, clipped, or not plain.
    """
    layout = pose.layout
    per_mm = pose.px_per_cell / layout.cell_mm
    if (layout.patch.x_mm - layout.white.x_mm) * per_mm < _LEAST_BORDER_PX or pose.visible < 0.99:
        return None
    ring_mm, ring = white_ring(frame, pose)
    linear = srgb_to_linear(ring / 255)
    if not (ring.max(axis=1) > 0).all() or (ring >= 254).mean() > 0.5:
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
    height, width = frame.shape[:2]
    return ChartShot(
        seen=_unblurred(_samples(frame, pose, light), blur / pose.px_per_cell),
        white=white,
        white_range=(float(level.min()), float(level.max())),
        read_noise=0.0,
        shot_noise=spread / float(np.sqrt(level.mean())),
        blur_px=blur,
        px_per_cell=pose.px_per_cell,
        frame_wh=(width, height),
    )


def _samples(frame: NDArray[np.uint8], pose: SheetPose, light: SmoothLight) -> NDArray[np.float64]:
    """Linear light relative to the paper at a lattice of points, (3 rows, 3 columns, 3)."""
    layout = pose.layout
    rows, columns = (_PER_CELL * n for n in layout.grid)
    x = layout.patch.x_mm + (np.arange(columns) + 0.5) * layout.patch.width_mm / columns
    y = layout.patch.y_mm + (np.arange(rows) + 0.5) * layout.patch.height_mm / rows
    points = np.stack(np.meshgrid(x, y), axis=-1)
    at = pose.to_pixels(points.reshape(-1, 2)).reshape(rows, columns, 2)
    linear = srgb_to_linear(np.arange(256) / 255).astype(np.float32)[frame]
    seen = cv2.remap(linear, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return seen / light(points.reshape(-1, 2)).reshape(rows, columns, 3)


def _unblurred(samples: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """The cells' own colours (rows, columns, 3) from samples of them that a Gaussian of ``sigma`` cells has mixed.

    The mixing is the same across and down, and all around is paper, which is 1: so what departs from 1 is mixed by a matrix
    from each side, and unmixed by their damped pseudo-inverses.
    """
    rows, columns = (n // _PER_CELL for n in samples.shape[:2])
    return 1 + np.einsum("rm,mnc,kn->rkc", _unmixing(rows, sigma), samples - 1, _unmixing(columns, sigma))


def _unmixing(cells: int, sigma: float) -> NDArray[np.float64]:
    """(cells, samples): the damped pseudo-inverse (Tikhonov) of how a row of cells is mixed in its samples."""
    at = (np.arange(_PER_CELL * cells) + 0.5) / _PER_CELL
    left, values, right = np.linalg.svd(mixing(cells, at, sigma), full_matrices=False)
    damped = values / (values**2 + (_DAMPING * values[0]) ** 2)
    return (right.T * damped) @ left.T
