"""A detector's average precision on the object of a session, by the object's distance from the patch."""

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from calibration.common.success import Edges
from captures.results.curves import OBJECT_DISTANCE, object_distance
from captures.results.recorded_session import RecordedSession
from captures.results.success import boxes_of
from captures.sources.frame import NO_SHEET
from captures.storage import FrameRow
from physpatch.evaluation.precision import Matched, Precision, average_precision, match_boxes


@dataclass(frozen=True)
class ObjectPrecision:
    """Average precision of one detector with one sheet.

    Attributes:
        model, condition: the detector, and the sheet.
        low, high: bounds of the object's distance from the patch, in the patch's sides; ``high`` is None without one.
        precision: of the object's class, with the interval over clips.
        frames: in which the object is that far away.
    """

    model: str
    condition: str
    low: float
    high: float | None
    precision: Precision
    frames: int


def object_precision(session: RecordedSession, model: str) -> list[ObjectPrecision]:
    """Compute a detector's average precision by distance and sheet; empty where no object's place is known.

    The object is the sign that carries the patch, or else what the detector finds with the grey control, so that precision is
    then relative to that. Sessions record boxes from the detector's threshold on, so recall beyond it counts as none.
    """
    views: dict[tuple[int, str], list[tuple[Hashable, Matched]]] = defaultdict(list)
    for row in session.rows:
        distance = object_distance(session, row) if row.model == model and row.condition != NO_SHEET else None
        place, unit = session.object_place(row), session.tally.unit(row)
        if distance is not None and place is not None and unit is not None:
            clip = session.tally.scene(session.tally.clip(row))
            views[OBJECT_DISTANCE.bin(distance), row.condition].append((clip, _matched(row, place)))
    order = session.tally.conditions(model)
    return [
        ObjectPrecision(
            model,
            condition,
            *OBJECT_DISTANCE.bounds(part),
            average_precision([matched for _, matched in pairs], [clip for clip, _ in pairs]),
            len(pairs),
        )
        for (part, condition), pairs in sorted(views.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
    ]


def _matched(row: FrameRow, place: Edges) -> Matched:
    return match_boxes([box for box in boxes_of(row) if box.label == row.label], [place])
