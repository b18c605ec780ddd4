"""How colourful the camera renders."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Params, PictureTransform, Range

if TYPE_CHECKING:
    from torch import Tensor


class Saturation(PictureTransform):
    """A factor on the distance of sRGB values from their grey, on the patch alone. Draws ``saturation`` (B,)."""

    name: ClassVar[str] = "saturation"
    summary: ClassVar[str] = "factor on the colourfulness of the patch, as phones raise it"
    rank: ClassVar[int] = 180
    parameters: ClassVar[dict[str, Parameter]] = {
        "saturation": Parameter(1.0, (0.0, 3.0), {"mild": (0.95, 1.1), "desk": (0.9, 1.25), "outdoor": (0.8, 1.35)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"saturation": draw.uniform_if_wide(ranges["saturation"])}

    def apply(self, picture: "Tensor", coverage: "Tensor", params: Params) -> "Tensor":
        more = (params["saturation"][:, None, None, None].to(picture) - 1) * coverage
        return (picture + more * (picture - picture.mean(dim=1, keepdim=True))).clamp(0, 1)
