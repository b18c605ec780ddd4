"""The camera's tone curve."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


class ToneCurve(Transform):
    """An exponent on sRGB values, applied by ``kernels.tone_curve.develop``. Draws ``gamma`` (B,)."""

    name: ClassVar[str] = "tone"
    summary: ClassVar[str] = "gamma, the exponent of the tone curve on the patch, on sRGB values"
    rank: ClassVar[int] = 90
    parameters: ClassVar[dict[str, Parameter]] = {
        "gamma": Parameter(1.0, (0.2, 5.0), {"mild": (0.95, 1.05), "desk": (0.9, 1.1), "outdoor": (0.8, 1.25)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"gamma": draw.uniform(ranges["gamma"])}
