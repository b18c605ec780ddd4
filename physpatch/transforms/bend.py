"""The bend of the paper."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from physpatch.transforms.base import Draw, Parameter, Range, Transform

if TYPE_CHECKING:
    from torch import Tensor


LATTICE_POINTS = 9  # of the displaced 3×3 lattice


class Bend(Transform):
    """A thin plate spline through the displaced points of a 3×3 lattice; ``kernels.lens.bend`` applies it.

    Draws ``bend`` (B,), the largest displacement as a share of the patch side, and ``bend_shape`` (B, 9, 2) in [-1, 1], the
    displacements of the points relative to it.
    """

    name: ClassVar[str] = "bend"
    summary: ClassVar[str] = "largest displacement of the paper's 3×3 lattice, as a share of the patch side"
    rank: ClassVar[int] = 20
    parameters: ClassVar[dict[str, Parameter]] = {
        "bend": Parameter(0.0, (0.0, 0.15), {"mild": (0.0, 0.005), "desk": (0.0, 0.02), "outdoor": (0.0, 0.04)})
    }

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        return {"bend": draw.uniform(ranges["bend"]), "bend_shape": draw.uniform((-1.0, 1.0), LATTICE_POINTS, 2)}
