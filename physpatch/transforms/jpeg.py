"""The camera's JPEG compression."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


class Jpeg(Transform):
    """Compression and decompression by ``kernels.jpeg.compress``. Draws ``jpeg`` (B,), libjpeg's quality."""

    name: ClassVar[str] = "jpeg"
    summary: ClassVar[str] = "libjpeg's quality, 1 to 100; 100 is no JPEG"
    rank: ClassVar[int] = 100
    parameters: ClassVar[dict[str, Parameter]] = {
        "jpeg": Parameter(100.0, (1.0, 100.0), {"mild": (80.0, 98.0), "desk": (60.0, 95.0), "outdoor": (40.0, 90.0)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"jpeg": draw.uniform(ranges["jpeg"])}
