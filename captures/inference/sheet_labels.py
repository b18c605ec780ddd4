"""Which sheet is it really? Marker ids tell the kind of a sheet; its QR code tells the patch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.camera.qr_label import SheetLabel, label_of
from calibration.camera.sheet_pose import SheetPose
from calibration.sheet.layout import SheetLayout

_FIRST_TRIES, _THEN_EVERY = 3, 10  # frames: a code that cannot be read must not be paid for in each of them


class LabelWatch:
    """Reads the code of each sheet that comes by, until it was read once, to find sheets of another patch."""

    def __init__(self, layouts: Sequence[SheetLayout]) -> None:
        self._known = {layout.patch_id for layout in layouts}
        self._kind: str | None = None
        self._label: SheetLabel | None = None
        self._seen = 0

    def foreign(self, frame: NDArray[np.uint8], pose: SheetPose | None) -> SheetLabel | None:
        """What the sheet in ``frame`` says of itself where that is none of the session's patches; else None."""
        kind = pose.layout.kind if pose else None
        if kind != self._kind:
            self._kind, self._label, self._seen = kind, None, 0
        if pose is not None and self._label is None:
            self._seen += 1
            if self._seen <= _FIRST_TRIES or self._seen % _THEN_EVERY == 0:
                self._label = label_of(frame, pose)
        return self._label if self._label and self._label.patch_id not in self._known else None
