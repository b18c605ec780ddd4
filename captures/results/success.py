"""Success in one frame's row, by the definitions of ``calibration.common.success``."""

import json
from collections.abc import Iterable, Sequence
from statistics import median

from calibration.common.success import Aim, Edges, FoundBox, around, is_centred, judge
from captures.protocol.plan import Protocol
from captures.storage import FrameRow
from physpatch.victims.labels import normal_name


def boxes_of(row: FrameRow) -> list[FoundBox]:
    """Parse the boxes of a detector's row."""
    boxes = json.loads(row.boxes or "[]")
    return [FoundBox(label, score, (left, top, right, bottom)) for label, score, left, top, right, bottom in boxes]


def place_of(row: FrameRow) -> Edges | None:
    """Parse the box of the sign that carries the patch; return None if the row has none."""
    return None if row.object_xyxy is None else [float(edge) for edge in json.loads(row.object_xyxy)]


def is_counted(row: FrameRow, protocol: Protocol | None) -> bool:
    """Tell whether a frame counts: under a plan, those outside of its steps show a sheet on its way to a pose."""
    return protocol is None or row.step is not None


def frame_success(row: FrameRow, target: str | None) -> dict[str, bool]:
    """Determine the measures of ``calibration.common.success.MEASURES`` in a row.

    Measures that this row alone does not determine are omitted: ``hidden`` and ``relabelled`` if the place of the object is
    unknown, see :func:`on_object`, and always ``false_boxes``, which needs a control, see :func:`at_patch`.
    """
    measures: dict[str, bool] = {}
    if (
        row.success is not None
        and row.target_score is not None
        and (target is None or normal_name(row.label or "") != normal_name(target))
    ):
        measures["target"] = row.success == 1
    if row.label is None:
        return measures
    if row.boxes is None:
        measures["wrong"] = row.top1 != row.label
        return measures
    return measures | on_object(boxes_of(row), row.label, place_of(row))


def on_object(boxes: Iterable[FoundBox], label: str, place: Edges | None) -> dict[str, bool]:
    """Determine whether an object of class ``label`` is missed and, if its place is given, whether hidden or relabelled."""
    outcome = judge(boxes, Aim("hide", own=label), object_xyxy=place, least=0.0)  # only boxes that count are recorded
    measures = {"wrong": outcome.wrong, "hidden": outcome.hidden, "relabelled": outcome.relabelled}
    return {name: happened for name, happened in measures.items() if happened is not None}


def middle_place(places: Sequence[Edges]) -> Edges | None:
    """Compute the median of each edge of boxes; None without any."""
    return [median(edges) for edges in zip(*places, strict=True)] if places else None


def at_patch(row: FrameRow) -> frozenset[str] | None:
    """List the classes, except the true one, of boxes centred on the patch; return None without a patch or detector."""
    if row.boxes is None or row.patch_xy is None:
        return None
    patch = around(json.loads(row.patch_xy))
    return frozenset(str(box.label) for box in boxes_of(row) if box.label != row.label and is_centred(box.xyxy, patch))
