"""What lens and movement take away."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


class Blur(Transform):
    """Defocus and motion blur in one kernel, computed by ``kernels.lens.blur_kernels``.

    Draws ``blur_px`` and ``motion_px`` (B,) in pixels of the image, and ``motion_angle`` (B,) radians.
    """

    name: ClassVar[str] = "blur"
    summary: ClassVar[str] = (
        "blur_px, the standard deviation of the defocus, and motion_px, the length of the motion blur"
    )
    rank: ClassVar[int] = 60
    parameters: ClassVar[dict[str, Parameter]] = {
        "blur_px": Parameter(0.0, (0.0, 10.0), {"mild": (0.2, 0.6), "desk": (0.2, 1.0), "outdoor": (0.3, 1.8)}),
        "motion_px": Parameter(0.0, (0.0, 30.0), {"mild": (0.0, 0.5), "desk": (0.0, 1.5), "outdoor": (0.0, 5.0)}),
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {
            "blur_px": draw.uniform(ranges["blur_px"]),
            "motion_px": draw.uniform(ranges["motion_px"]),
            "motion_angle": draw.uniform((0.0, 2 * math.pi)),
        }
