"""What the camera's image processor does unasked."""

from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Parameter, Params, PictureTransform

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

    def apply(self, picture: "Tensor", coverage: "Tensor", params: Params) -> "Tensor":
        more = (params["saturation"][:, None, None, None].to(picture) - 1) * coverage
        return (picture + more * (picture - picture.mean(dim=1, keepdim=True))).clamp(0, 1)


class Sharpening(PictureTransform):
    """An unsharp mask on sRGB values, on the patch alone. Draws ``sharpening`` (B,)."""

    name: ClassVar[str] = "sharpening"
    summary: ClassVar[str] = "amount of an unsharp mask on the patch, as phones apply it"
    rank: ClassVar[int] = 190
    parameters: ClassVar[dict[str, Parameter]] = {
        "sharpening": Parameter(0.0, (0.0, 3.0), {"mild": (0.0, 0.3), "desk": (0.0, 0.6), "outdoor": (0.0, 0.8)})
    }

    def apply(self, picture: "Tensor", coverage: "Tensor", params: Params) -> "Tensor":
        from physpatch.transforms.kernels.sharpening import sharpen

        return sharpen(picture, params["sharpening"][:, None, None, None].to(picture) * coverage)
