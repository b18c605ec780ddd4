"""The strength and colour of the light on the patch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, LightTransform, Parameter, Params, Range

if TYPE_CHECKING:
    from torch import Tensor


class Gain(LightTransform):
    """A factor on the light, in linear light. Draws ``gain`` (B,)."""

    name: ClassVar[str] = "gain"
    summary: ClassVar[str] = "factor on the light that falls on the patch, in linear light"
    rank: ClassVar[int] = 30
    parameters: ClassVar[dict[str, Parameter]] = {
        "gain": Parameter(1.0, (0.01, 10.0), {"mild": (0.9, 1.1), "desk": (0.8, 1.2), "outdoor": (0.4, 1.6)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"gain": draw.uniform(ranges["gain"])}

    def factors(self, params: Params) -> "Tensor":
        return params["gain"][:, None].expand(-1, 3)


class Temperature(LightTransform):
    """A factor on red and its inverse on blue. Draws ``temperature`` (B,)."""

    name: ClassVar[str] = "temperature"
    summary: ClassVar[str] = "white balance as a factor on red and its inverse on blue"
    rank: ClassVar[int] = 70
    parameters: ClassVar[dict[str, Parameter]] = {
        "temperature": Parameter(1.0, (0.5, 2.0), {"mild": (0.97, 1.03), "desk": (0.92, 1.08), "outdoor": (0.85, 1.18)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"temperature": draw.uniform(ranges["temperature"])}

    def factors(self, params: Params) -> "Tensor":
        from torch import ones_like, stack

        warm = params["temperature"]
        return stack([warm, ones_like(warm), 1 / warm], dim=1)


class Tint(LightTransform):
    """A factor on green, from lamps whose colour is not a black body's and from cameras. Draws ``tint`` (B,)."""

    name: ClassVar[str] = "tint"
    summary: ClassVar[str] = "white balance as a factor on green, independent of the temperature"
    rank: ClassVar[int] = 170
    parameters: ClassVar[dict[str, Parameter]] = {
        # Outdoor: white lamps may deviate by 0.006 from the black body in CIE 1960 (u, v), ANSI C78.377. The desk's range is
        # half of that, because a camera's white balance compensates for part of it.
        "tint": Parameter(1.0, (0.5, 2.0), {"mild": (0.98, 1.02), "desk": (0.95, 1.05), "outdoor": (0.9, 1.11)})
    }

    def factors(self, params: Params) -> "Tensor":
        from torch import ones_like, stack

        green = params["tint"]
        return stack([ones_like(green), green, ones_like(green)], dim=1)
