"""Identify sheets of other patches and sizes: marker ids give the kind of a sheet, its QR code the patch and the size."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.camera.qr_label import SheetLabel, label_of
from calibration.camera.sheet_pose import SheetPose
from calibration.sheet.layout import SheetLayout

_FIRST_TRIES, _THEN_EVERY = 3, 10  # frames: reading is slow, so an unreadable code is not tried in every frame


class LabelWatch:
    """Read the QR code of each new sheet, until it was read once, to detect sheets of other patches and sizes."""

    def __init__(self, layouts: Sequence[SheetLayout]) -> None:
        self._patch_ids = {layout.patch_id for layout in layouts}
        self._kind: str | None = None
        self._label: SheetLabel | None = None
        self._frames = 0

    def foreign(self, frame: NDArray[np.uint8], pose: SheetPose | None) -> str:
        """Say why the sheet in ``frame``, (H, W, 3) RGB uint8, is not of this session, in words; "" if nothing says so."""
        kind = pose.layout.kind if pose else None
        if kind != self._kind:
            self._kind, self._label, self._frames = kind, None, 0
        if pose is not None and self._label is None:
            self._frames += 1
            if self._frames <= _FIRST_TRIES or self._frames % _THEN_EVERY == 0:
                self._label = label_of(frame, pose)
        if pose is None or self._label is None:
            return ""
        if self._label.patch_id not in self._patch_ids:
            return f"this sheet shows patch {self._label.patch_id}, which is not part of this session"
        return self._label.other_size(pose.layout)
