"""What a measured printer and camera make of the cells' colours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import CellTransform, Draw, Parameter, Params, Range

if TYPE_CHECKING:
    from torch import Tensor


class PrintColour(CellTransform):
    """One of the measured colour maps, by the light that an image is under.

    Draws ``light`` (B,) in [0, 1): under which of the measured lights the print is seen; 0 where one or none was measured. It
    has no range: the maps themselves, ``EotConfig.prints``, say what happens.
    """

    name: ClassVar[str] = "print-colour"
    summary: ClassVar[str] = "the colours that a measured printer and camera make of the cells', a map for each light"
    rank: ClassVar[int] = 160
    parameters: ClassVar[dict[str, Parameter]] = {}

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"light": draw.uniform((0.0, 1.0)) if draw.lights > 1 else draw.full(0.0)}

    def is_idle(self, params: Params) -> bool:
        return not params.prints

    def apply(self, cells: "Tensor", params: Params) -> "Tensor":
        from physpatch.transforms.kernels.print_colour import printed_cells

        return printed_cells(cells, params.prints, params["light"])
