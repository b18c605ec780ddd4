"""Optimisation of large fields of colour first, of single cells later."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from physpatch.techniques.adam import Adam

_FINEST_FROM = 0.5  # share of the steps after which single cells begin to move


class CoarseToFine(Adam):
    """Adam on a sum of grids of logits, each twice as fine as the previous one; the finer grids join one by one.

    A coarse grid's gradient sums over many cells, so it moves whole fields, which single cells with their own noise do not
    do together.
    """

    name: ClassVar[str] = "coarse-to-fine"
    summary: ClassVar[str] = "Adam on coarse fields of cells first, finer ones later"
    keeps_start: ClassVar[bool] = False

    def first_logits(self, start: Tensor) -> list[Tensor]:
        self._full = (start.shape[1], start.shape[2])
        shapes = [self._full]
        while min(shapes[0]) > 2:
            shapes.insert(0, (-(-shapes[0][0] // 2), -(-shapes[0][1] // 2)))
        coarse = [F.adaptive_avg_pool2d(start, shapes[0])]
        return coarse + [start.new_zeros(3, *shape) for shape in shapes[1:]]

    def cells(self) -> Tensor:
        rows, columns = self._full
        fields = [F.interpolate(z[None], size=(rows, columns), mode="nearest-exact")[0] for z in self._open()]
        total = fields[0]
        for field in fields[1:]:
            total = total + field
        return total.sigmoid()

    def _open(self) -> list[Tensor]:
        share = self._taken / max(1.0, _FINEST_FROM * self.steps)
        return list(self.logits)[: 1 + int(min(share, 1.0) * (len(self.logits) - 1))]
