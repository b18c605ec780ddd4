"""The null of a sign that is taken for another one: a harmless drawing of that one in the patch's place.

A detector that is shown a sticker of another sign may well call the sign by that name. Where a patch does no more than such a
drawing, its training has found the drawing, and nothing that the detector should not see.
"""

import numpy as np

from calibration.sheet.road_signs import sign
from physpatch.records.patch_exchange import to_cells
from physpatch.records.patch_file import Patch

_DRAWN_PX = 400
_MIDDLE = 0.7  # of a sign's side, which a sticker shows: without the border, whose shape the other sign lacks


def drawing(name: str, grid: tuple[int, int]) -> Patch:
    """Draw the middle of a sign in the cells of a patch, see :func:`to_cells`.

    Args:
        name: of a sign in ``calibration.sheet.road_signs.SIGNS``.
        grid: rows and columns of the patch.

    Raises:
        InputError: no such sign.
    """
    edge = round((1 - _MIDDLE) / 2 * _DRAWN_PX)
    middle = np.ascontiguousarray(sign(name).draw(_DRAWN_PX)[edge:-edge, edge:-edge, :3])
    return Patch(to_cells(middle, grid), None, {"control": "drawing", "sign": sign(name).name})
