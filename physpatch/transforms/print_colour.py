"""The colours of the cells in print, as measured for a printer and a camera, or under real printing conditions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import CellTransform, Draw, Parameter, Params, Range

if TYPE_CHECKING:
    from torch import Tensor


class PrintColour(CellTransform):
    """One of the measured colour maps, depending on the light in an image, or a printing condition mixed with another.

    Draws ``light`` (B,) in [0, 1), which selects one of ``EotConfig.prints``; 0 where there is one or none. Where several
    printing conditions are given, ``print_other`` (B,) in [0, 1) selects a second one, and ``print_mix`` (B,) says how far an
    image's print goes towards it; beyond 0 and 1 it is unlike any of them. ``print_fade`` (B,) is the share by which the inks
    fail to cover the paper, as on newsprint or in the haze of a gloss. Measured colour maps are neither mixed nor faded.
    """

    name: ClassVar[str] = "print-colour"
    summary: ClassVar[str] = "the cells' colours in print: measured for a light, or of a mixture of printing conditions"
    rank: ClassVar[int] = 160
    parameters: ClassVar[dict[str, Parameter]] = {
        "print_fade": Parameter(0.0, (0.0, 0.9), {"mild": (0.0, 0.05), "desk": (0.0, 0.15), "outdoor": (0.0, 0.2)}),
        "print_mix": Parameter(0.0, (-0.5, 1.5), {"mild": (0.0, 0.0), "desk": (-0.2, 1.0), "outdoor": (-0.2, 1.0)}),
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        drawn = {"light": draw.uniform((0.0, 1.0)) if draw.lights > 1 else draw.full(0.0)}
        drawn["print_fade"] = draw.uniform_if_wide(ranges["print_fade"])
        if draw.lights < 2 or ranges["print_mix"] == (0.0, 0.0):
            return drawn | {"print_other": draw.full(0.0), "print_mix": draw.full(0.0)}
        return drawn | {"print_other": draw.uniform((0.0, 1.0)), "print_mix": draw.uniform(ranges["print_mix"])}

    def is_idle(self, params: Params) -> bool:
        return not params.prints

    def apply(self, cells: "Tensor", params: Params) -> "Tensor":
        from physpatch.transforms.kernels.print_colour import printed_cells

        mix = params["print_mix"]
        second = params["print_other"] if bool(mix.any()) else None
        return printed_cells(cells, params.prints, params["light"], other=second, mix=mix, fade=params["print_fade"])
