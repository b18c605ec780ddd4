"""The camera's view of the patch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Params, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


class View(Transform):
    """Rotation, tilt and distance before a pinhole camera, applied by ``physpatch.rendering.eot.patch_corners``.

    Draws ``roll_deg``, ``yaw_deg``, ``pitch_deg``, ``scale``: (B,).
    """

    name: ClassVar[str] = "view"
    summary: ClassVar[str] = "rotation_deg in the plane, tilt_deg of yaw and pitch, scale of the patch's nominal side"
    rank: ClassVar[int] = 10
    parameters: ClassVar[dict[str, Parameter]] = {
        "rotation_deg": Parameter(
            0.0, (-180.0, 180.0), {"mild": (-10.0, 10.0), "desk": (-20.0, 20.0), "outdoor": (-30.0, 30.0)}
        ),
        "tilt_deg": Parameter(
            0.0, (-75.0, 75.0), {"mild": (-10.0, 10.0), "desk": (-20.0, 20.0), "outdoor": (-40.0, 40.0)}
        ),
        "scale": Parameter(1.0, (0.02, 10.0), {"mild": (0.9, 1.1), "desk": (0.6, 1.2), "outdoor": (0.5, 1.4)}),
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {
            "roll_deg": draw.uniform(ranges["rotation_deg"]),
            "yaw_deg": draw.uniform(ranges["tilt_deg"]),
            "pitch_deg": draw.uniform(ranges["tilt_deg"]),
            "scale": draw.uniform(ranges["scale"]),
        }

    def is_idle(self, params: Params) -> bool:
        return False  # a frontal view needs a projection, too
