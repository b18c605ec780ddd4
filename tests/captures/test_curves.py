"""Success along what varies, on frames made by hand, whose rates are known."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import assert_follows_schema, frame_row

from captures.report import write_report
from captures.results.curves import (
    ANGLE,
    CELL_SIZE,
    DISTANCE,
    THRESHOLD,
    Curve,
    _view_share,
    accuracy_drop,
    curves_of,
    every_view,
)
from captures.results.object_precision import object_precision
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SessionModel, SessionRecord
from captures.storage import FrameRow, SessionStore

TARGET, RIGHT = "blue thing", "red thing"


def recorded(rows: list[FrameRow], folder: Path = Path("none")) -> RecordedSession:
    return RecordedSession(folder, SessionRecord(target=TARGET), rows)


def clips(hits: int, n: int = 10, **more: object) -> list[FrameRow]:
    """Clips of a grey and a patch frame each, of which so many succeed; each 10 cm farther away and 10 degrees turned."""
    rows = []
    for clip in range(n):
        where = {"distance_m": 0.5 + 0.1 * clip, "yaw_deg": 10.0 * clip, "pitch_deg": 0.0, "px_per_cell": 12.0 - clip}
        rows.append(frame_row(2 * clip, "grey", clip, RIGHT, **where | more))
        top = TARGET if clip < hits else RIGHT
        rows.append(frame_row(2 * clip + 1, "patch", clip, top, target_score=0.05 + 0.1 * clip, **where | more))
    return rows


def one(curves: list[Curve], condition: str) -> Curve:
    (found,) = [curve for curve in curves if curve.condition == condition]
    return found


def test_success_falls_where_it_was_made_to_fall() -> None:
    found = curves_of(recorded(clips(5)), "m", "target")
    for factor, beyond in ((DISTANCE, 1.0), (ANGLE, 50.0)):
        patch, grey = (one(found[factor.name], condition) for condition in ("patch", "grey"))
        assert {point.right.rate for point in grey.points} == {0.0}
        assert all(point.right.rate == (0.0 if point.low >= beyond else 1.0) for point in patch.points)
        assert sum(point.frames for point in patch.points) == 10
        assert sum(point.right.n for point in patch.points) == 10  # clips
    sizes = one(found[CELL_SIZE.name], "patch").points
    assert [(point.low, point.high) for point in sizes] == [(2, 4), (4, 6), (6, 8), (8, 12), (12, 16)]
    assert "view_share" not in found and "object_distance" not in found  # nothing is known of these


def test_turns_about_both_axes_make_one_angle() -> None:
    rows = [replace(row, yaw_deg=35.0, pitch_deg=30.0 * (row.clip % 2)) for row in clips(5)]
    points = one(curves_of(recorded(rows), "m", "target")[ANGLE.name], "patch").points
    assert [(point.low, point.frames) for point in points] == [(30, 5), (40, 5)]  # 35 and 44.8 degrees


def test_all_views_stand_beside_those_that_are_right_with_grey() -> None:
    """In four of ten clips the model is wrong with grey already, and the patch works in three of these."""
    rows = [
        replace(row, top1="kite" if row.condition == "grey" and row.clip in (0, 1, 2, 9) else row.top1)
        for row in clips(5)
    ]
    session = recorded(rows)
    assert session.tally.rate("m", "target", "patch").rate == pytest.approx(2 / 6)
    every = every_view(session, "m", "target")
    assert every["patch"].rate == pytest.approx(0.5) and every["patch"].n == 10
    assert every_view(session, "m", "wrong")["grey"].rate == pytest.approx(0.4)
    near = one(curves_of(session, "m", "target")[DISTANCE.name], "patch").points[0]
    assert (near.right.n, near.every.n) == (0, 2) or near.right.n < near.every.n


def test_the_accuracy_that_is_lost_is_of_all_views() -> None:
    """Right with grey in two clips of ten and with the patch in none: a fifth is lost, not all."""
    rows = [replace(row, top1=RIGHT if row.condition == "grey" and row.clip < 2 else "kite") for row in clips(0)]
    drop = accuracy_drop(recorded(rows), "m")
    assert drop.difference == pytest.approx(0.2) and drop.n == 10
    assert drop.ci95 is not None and drop.ci95[0] < 0.2 < drop.ci95[1] < 0.6
    assert accuracy_drop(recorded([row for row in rows if row.condition == "patch"]), "m").n == 0


def test_an_object_that_was_never_detected_has_no_curves_of_its_loss() -> None:
    never = [replace(row, label="stop sign", boxes="[]", top1="") for row in clips(0)]
    session = recorded(never)
    assert session.tally.rate("m", "wrong", "patch").rate is None
    assert curves_of(session, "m", "wrong") == {} == every_view(session, "m", "wrong")


def test_by_threshold_only_confident_answers_count() -> None:
    """The target's scores in the five successes are 0.05 to 0.45; a wrong answer's is 0.9."""
    session = recorded(clips(5))
    points = one(curves_of(session, "m", "target")[THRESHOLD], "patch").points
    rates = {point.low: point.right.rate for point in points}
    assert len(points) == 20
    assert [rates[at] for at in (0.0, 0.1, 0.3, 0.45, 0.5)] == pytest.approx([0.5, 0.4, 0.2, 0.1, 0.0])
    wrong = {point.low: point.right.rate for point in one(curves_of(session, "m", "wrong")[THRESHOLD], "patch").points}
    assert wrong[0.9] == 0.5 and wrong[0.95] == 0.0


def boxed(frame: int, condition: str, clip: int, score: float, left: float = 100.0) -> FrameRow:
    """A detector's row with one box of the true class, 100 pixels from the patch, which is 50 wide."""
    boxes = json.dumps([[RIGHT, score, left, 0.0, left + 50, 50.0]])
    patch = json.dumps([[0, 0], [50, 0], [50, 50], [0, 50]])
    top = RIGHT if score >= 0.25 else ""
    return frame_row(frame, condition, clip, top, boxes=boxes if top else "[]", patch_xy=patch, success=None)


def detected(far: float = 200.0) -> RecordedSession:
    """Six clips with a near object and six with a far one; with the patch, the near ones are missed in every other clip."""
    rows = []
    for clip in range(12):
        near = clip < 6
        left = 100.0 if near else far
        rows.append(boxed(2 * clip, "grey", clip, 0.8, left))
        rows.append(boxed(2 * clip + 1, "patch", clip, 0.1 if near and clip % 2 else 0.6, left))
    return RecordedSession(Path("none"), SessionRecord(), rows)


def test_a_detector_loses_objects_near_the_patch_and_at_high_thresholds() -> None:
    session = detected()
    found = curves_of(session, "m", "wrong")
    near, far = one(found["object_distance"], "patch").points
    assert (near.low, near.high, near.right.rate) == (1, 2, 0.5)  # 50 pixels from edge to edge are one side
    assert (far.low, far.high, far.right.rate) == (2, 4, 0.0)
    points = {point.low: point.right.rate for point in one(found[THRESHOLD], "patch").points}
    assert min(points) == 0.25 and points[0.6] == pytest.approx(0.25) and points[0.65] == 1.0
    grey = {point.low: point.right.rate for point in one(found[THRESHOLD], "grey").points}
    assert grey[0.8] == 0.0 and grey[0.85] == 1.0
    stricter = SessionModel(name="m", task="detect", source="", sha256="", threshold=0.4)
    session = replace(session, record=SessionRecord(models=[stricter]))
    points = {point.low: point.right.rate for point in one(curves_of(session, "m", "wrong")[THRESHOLD], "patch").points}
    assert min(points) == 0.4 and points[0.6] == pytest.approx(0.25)


def test_average_precision_by_distance_has_the_controls_beside_it() -> None:
    parts = {(part.low, part.condition): part for part in object_precision(detected(), "m")}
    assert set(parts) == {(1, "patch"), (1, "grey"), (2, "patch"), (2, "grey")}
    near = parts[1, "patch"].precision
    assert near.ap == pytest.approx(51 / 101) and near.objects == 6 and parts[1, "patch"].frames == 6
    assert near.ci95 is not None and near.ci95[0] < 0.5 < near.ci95[1]
    assert {parts[place, "grey"].precision.ap for place in (1, 2)} == {1.0} == {parts[2, "patch"].precision.ap}


def test_a_part_of_a_clip_in_which_the_control_is_always_wrong_is_at_most_all_of_it() -> None:
    """Near it is right and far it is wrong, in one clip: by size its share far off is all, and no more."""
    rows = [frame_row(i, "grey", 0, "kite" if i % 2 else RIGHT) for i in range(6)]
    rows += [frame_row(9 + i, "patch", 0, "kite") for i in range(6)]
    rows = [replace(row, px_per_cell=3.0 if row.frame % 2 else 20.0) for row in rows]
    sizes = curves_of(RecordedSession(Path("none"), SessionRecord(), rows), "m", "wrong")[CELL_SIZE.name]
    assert [point.right.rate for point in one(sizes, "grey").points] == [1.0, 0.0]


def test_result_json_holds_them(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add([replace(row, time_s=0.1 * row.frame) for row in clips(5)])
    (tmp_path / "session.json").write_text(json.dumps({"target": TARGET}))
    write_report(tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert_follows_schema(result, "result")
    (model,) = result["models"]
    assert model["target_first_of_all"]["rate"] == 0.5 and model["made_wrong_of_all"]["n"] == 10
    kept = {(curve["measure"], curve["sheet"], curve["by"]) for curve in model["curves"]}
    by = ("distance_m", "angle_deg", "px_per_cell", "threshold")
    assert kept == {(m, sheet, name) for m in ("target", "wrong") for sheet in ("patch", "grey") for name in by}
    near = next(c for c in model["curves"] if c["by"] == "distance_m" and c["sheet"] == "patch")["points"][0]
    assert (near["from"], near["to"], near["success"]["rate"], near["frames"]) == (0.5, 0.63, 1.0, 2)


def test_the_share_of_the_view_is_of_a_classifiers_region_or_a_detectors_frame() -> None:
    session: Any = SimpleNamespace(frame_size=(200, 100))
    assert _view_share(session, frame_row(0, "patch", 0, "x", patch_px=2000)) == 0.1
    assert _view_share(session, frame_row(0, "patch", 0, "x", patch_px=2000, region="[10, 10, 50, 80]")) == 0.5
    assert _view_share(session, frame_row(0, "patch", 0, "x")) is None
