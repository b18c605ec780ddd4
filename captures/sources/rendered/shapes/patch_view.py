"""Which pixels show the patch of a bent sheet: the facets that face the camera and that nothing nearer hides."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.sheet.layout import Rect, SheetLayout

_FACETS = 64  # about as many along each side of the sheet, and the patch
_FINER = 4  # parts of a pixel's side, as facets share their borders
_BITS = 4  # of parts of those

Floats = NDArray[np.floating]


def bent_patch_mask(
    layout: SheetLayout,
    area: Rect,
    placed: Callable[[Floats], Floats],
    projected: Callable[[Floats], Floats],
    size_wh: tuple[int, int],
    nearest_mm: float,
) -> NDArray[np.bool_]:
    """Mark the pixels (H, W) that show the patch of a bent sheet, and neither its back nor another part of it.

    Facets of the sheet are painted one over the other, the farthest first.

    Args:
        layout: of the sheet.
        area: what is bent, in millimetres on the sheet: the sheet, or cloth around it as well.
        placed: bends places (N, 2), in millimetres on the sheet, to points (N, 3) of the camera's axes.
        projected: brings these to pixels (N, 2).
        size_wh: of the frame.
        nearest_mm: what is nearer to the camera is not seen.
    """
    cut, patch = layout.cut, layout.patch
    across = _borders(cut.width_mm / _FACETS, area.x_mm, area.right_mm, patch.x_mm, patch.right_mm)
    down = _borders(cut.height_mm / _FACETS, area.y_mm, area.bottom_mm, patch.y_mm, patch.bottom_mm)
    x, y = np.meshgrid(across, down)
    points = placed(np.stack([x.ravel(), y.ravel()], axis=1))
    depth = points[:, 2].reshape(x.shape)
    at_px = projected(points.clip([-np.inf, -np.inf, nearest_mm], np.inf)).reshape(*x.shape, 2)
    corners = np.stack([at_px[:-1, :-1], at_px[:-1, 1:], at_px[1:, 1:], at_px[1:, :-1]], axis=2)
    first, second = corners[..., 2, :] - corners[..., 0, :], corners[..., 3, :] - corners[..., 1, :]
    faces = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0] > 0  # corners in turn, as on the sheet
    middle_x, middle_y = (across[:-1] + across[1:]) / 2, (down[:-1] + down[1:]) / 2
    mask = (faces & layout.shows_patch(np.stack(np.meshgrid(middle_x, middle_y), axis=-1))).ravel()
    distance = (depth[:-1, :-1] + depth[1:, 1:] + depth[:-1, 1:] + depth[1:, :-1]).ravel() / 4
    outlines = (((corners + 0.5) * _FINER - 0.5) * 2**_BITS).round().astype(np.int64).reshape(-1, 4, 2)
    lowest, highest = outlines.min(axis=1), outlines.max(axis=1)
    of_patch = mask & (distance > nearest_mm)
    if not of_patch.any():
        return np.zeros(size_wh[::-1], bool)
    left_top, right_bottom = lowest[of_patch].min(axis=0), highest[of_patch].max(axis=0)
    over_patch = (distance > nearest_mm) & (highest >= left_top).all(axis=1) & (lowest <= right_bottom).all(axis=1)
    width, height = size_wh
    canvas = np.zeros((height * _FINER, width * _FINER), np.uint8)
    for i in np.argsort(-distance):
        if over_patch[i]:
            cv2.fillConvexPoly(canvas, outlines[i].clip(-(2**30), 2**30).astype(np.int32), int(mask[i]), shift=_BITS)
    covered = canvas.reshape(height, _FINER, width, _FINER).mean(axis=(1, 3))
    return covered >= 0.5


def _borders(step: float, *stops_at: float) -> Floats:
    """Return the borders of facets along a side, about a step apart, and among them those where it stops."""
    stops = np.unique(stops_at)
    steps = np.maximum(1, np.round(np.diff(stops) / step)).astype(int)
    parts = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(stops, stops[1:], steps, strict=False)]
    return np.concatenate([*parts, stops[-1:]])
