"""The noise of the sensor."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


class Noise(Transform):
    """Noise that grows with the root of the light; compositing applies it to the patch alone.

    Draws ``noise`` (B,), its standard deviation where the image is white, as a share of white's light, and ``grain_place``
    (B, 2) in [0, 1], the position of the image in the grain of the step.
    """

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = (
        "standard deviation of the sensor noise where the image is white, as a share of white's light"
    )
    rank: ClassVar[int] = 80
    parameters: ClassVar[dict[str, Parameter]] = {
        "noise": Parameter(0.0, (0.0, 0.5), {"mild": (0.0, 0.01), "desk": (0.0, 0.03), "outdoor": (0.0, 0.06)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"noise": draw.uniform(ranges["noise"]), "grain_place": draw.uniform((0.0, 1.0), 2)}
