"""The reflection of a lamp on the paper."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Params, Range, SurfaceTransform

if TYPE_CHECKING:
    from torch import Tensor


class Glare(SurfaceTransform):
    """A soft white reflection, independent of the printed colours.

    Draws ``glare`` (B,), the added light as a share of white; ``glare_place`` (B, 2) in patch sides from the centre;
    ``glare_size`` (B,), its standard deviation in patch sides.
    """

    name: ClassVar[str] = "glare"
    summary: ClassVar[str] = "light that a soft reflection adds, as a share of white"
    rank: ClassVar[int] = 50
    parameters: ClassVar[dict[str, Parameter]] = {
        "glare": Parameter(0.0, (0.0, 1.0), {"mild": (0.0, 0.05), "desk": (0.0, 0.2), "outdoor": (0.0, 0.5)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {
            "glare": draw.uniform(ranges["glare"]),
            "glare_place": draw.uniform((-0.6, 0.6), 2),
            "glare_size": draw.uniform((0.1, 0.3)),
        }

    def apply(self, light: "Tensor", x: "Tensor", y: "Tensor", params: Params) -> "Tensor":
        left, top = params["glare_place"].unbind(dim=1)
        size = params["glare_size"][:, None]
        profile_x = (-0.5 * ((x[:, 0] - left[:, None]) / size) ** 2).exp()
        profile_y = (-0.5 * ((y[:, :, 0] - top[:, None]) / size) ** 2).exp()
        added = params["glare"][:, None, None] * profile_y[:, :, None] * profile_x[:, None, :]
        return light + added[:, None].to(light)
