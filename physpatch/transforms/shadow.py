"""A shadow across the patch."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Params, Range, SurfaceTransform

if TYPE_CHECKING:
    from torch import Tensor


_SOFTNESS = 0.08  # of the patch side
_CIRCLE = (0.0, 2 * math.pi)


class Shadow(SurfaceTransform):
    """A shadow over half of the plane, with a soft edge.

    Draws ``shadow`` (B,), its depth, from 0 (none) to 1 (black); ``shadow_angle`` (B,) radians; ``shadow_offset`` (B,) in patch
    sides from the centre.
    """

    name: ClassVar[str] = "shadow"
    summary: ClassVar[str] = "depth of a soft-edged shadow across the patch; 0 is none, 1 is black"
    rank: ClassVar[int] = 40
    parameters: ClassVar[dict[str, Parameter]] = {
        "shadow": Parameter(0.0, (0.0, 1.0), {"mild": (0.0, 0.15), "desk": (0.0, 0.4), "outdoor": (0.0, 0.7)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {
            "shadow": draw.uniform(ranges["shadow"]),
            "shadow_angle": draw.uniform(_CIRCLE),
            "shadow_offset": draw.uniform((-0.4, 0.4)),
        }

    def apply(self, light: "Tensor", x: "Tensor", y: "Tensor", params: Params) -> "Tensor":
        angle, offset, depth = (params[name][:, None, None] for name in ("shadow_angle", "shadow_offset", "shadow"))
        across = x * angle.cos() + y * angle.sin() - offset
        return light * (1 - depth * (across / _SOFTNESS).sigmoid())[:, None].to(light)
