"""What a frame's row says happened, by the definitions of ``calibration.common.success``."""

import json
from collections.abc import Iterable

from calibration.common.success import Aim, Edges, FoundBox, around, is_centred, judge
from captures.storage import FrameRow


def boxes_of(row: FrameRow) -> list[FoundBox]:
    """Read the boxes of a detector's row."""
    found = json.loads(row.boxes or "[]")
    return [FoundBox(label, score, (left, top, right, bottom)) for label, score, left, top, right, bottom in found]


def place_of(row: FrameRow) -> Edges | None:
    """Read where the sign that carries the patch is in the frame; None where no such sign was seen."""
    return None if row.object_xyxy is None else [float(edge) for edge in json.loads(row.object_xyxy)]


def frame_success(row: FrameRow, target: str | None) -> dict[str, bool]:
    """Tell which of ``calibration.common.success.MEASURES`` happened; one that cannot be said of this row alone is left out.

    Where the object is not known ``hidden`` and ``relabelled`` need a control's row to tell, see :func:`on_object`; what is a
    false box always does, see :func:`at_patch`.
    """
    said: dict[str, bool] = {}
    if row.success is not None and row.target_score is not None and row.label != target:
        said["target"] = row.success == 1
    if row.label is None:
        return said
    if row.boxes is None:
        said["wrong"] = row.top1 != row.label
        return said
    return said | on_object(boxes_of(row), row.label, place_of(row))


def on_object(boxes: Iterable[FoundBox], label: str, place: Edges | None) -> dict[str, bool]:
    """Tell whether an object of class ``label`` is lost, and where its place is known, whether hidden or relabelled."""
    outcome = judge(boxes, Aim("hide", own=label), object_xyxy=place)
    said = {"wrong": outcome.wrong, "hidden": outcome.hidden, "relabelled": outcome.relabelled}
    return {name: happened for name, happened in said.items() if happened is not None}


def at_patch(row: FrameRow) -> frozenset[str] | None:
    """List the classes other than the true one that a detector found with their middle at the patch; None without a patch."""
    if row.boxes is None or row.patch_xy is None:
        return None
    patch = around(json.loads(row.patch_xy))
    return frozenset(str(box.label) for box in boxes_of(row) if box.label != row.label and is_centred(box.xyxy, patch))
