"""A photograph far away behind everything, as a camera that turns sees it."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from captures.sources.rendered.camera.exposure import Rows


def turned_backdrop(
    photograph: NDArray[np.float32], lens: Intrinsics, turned: NDArray[np.floating], rows: Rows | None = None
) -> NDArray[np.float32]:
    """See a photograph, (H, W, 3), or some rows of it, with the camera turned by ``turned``, (3, 3), to its axes before.

    Before, the photograph fills the frame. To both sides it goes on as its mirror image, each on a plane of its own, which is
    turned by another field of view: a prism around the camera.
    """
    half = math.atan((lens.cx + 0.5) / lens.fx)
    x, y = np.meshgrid(np.arange(lens.width), np.arange(*(rows or (0, lens.height))))
    rays = np.stack([(x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy, np.ones(x.shape)], axis=-1) @ turned.T
    angle = np.arctan2(rays[..., 0], rays[..., 2])
    side = np.round(angle / (2 * half))
    within = angle - 2 * half * side
    depth = np.hypot(rays[..., 0], rays[..., 2]) * np.cos(within)
    across = np.where(side % 2 == 0, 1, -1) * np.tan(within) * lens.fx + lens.cx
    down = rays[..., 1] / depth * lens.fy + lens.cy
    picture = cv2.remap(
        photograph,
        across.astype(np.float32),
        down.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(picture, dtype=np.float32)
