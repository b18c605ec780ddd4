"""The colours of the cells in print, as measured for a printer and a camera."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import CellTransform, Draw, Parameter, Params, Range

if TYPE_CHECKING:
    from torch import Tensor


class PrintColour(CellTransform):
    """One of the measured colour maps, depending on the light in an image.

    Draws ``light`` (B,) in [0, 1), which selects one of the measured lights; 0 where one or none was measured. It has no
    range: the colour maps, ``EotConfig.prints``, define the transform.
    """

    name: ClassVar[str] = "print-colour"
    summary: ClassVar[str] = "the cells' colours as measured for a printer and a camera, with a map for each light"
    rank: ClassVar[int] = 160
    parameters: ClassVar[dict[str, Parameter]] = {}

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"light": draw.uniform((0.0, 1.0)) if draw.lights > 1 else draw.full(0.0)}

    def is_idle(self, params: Params) -> bool:
        return not params.prints

    def apply(self, cells: "Tensor", params: Params) -> "Tensor":
        from physpatch.transforms.kernels.print_colour import printed_cells

        return printed_cells(cells, params.prints, params["light"])
