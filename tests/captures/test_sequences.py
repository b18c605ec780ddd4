"""Measures along a sequence, on frames made by hand, whose answers are known."""

from pathlib import Path

import pandas
import pytest
from support import frame_row

from captures.report import write_report
from captures.results.aggregation import Tally, tally_of
from captures.results.recorded_session import RecordedSession
from captures.results.sequence_summary import (
    DISTANCE_EDGES_M,
    distance_middle_m,
    success_by_distance,
    summaries_of,
)
from captures.results.sequences import ClipSequence, sequences_of
from captures.storage import FrameRow, SessionStore
from physpatch.stats.intervals import median_over

TARGET = "blue thing"
ANSWERS = {"1": TARGET, "0": "red thing"}


def filmed(
    hits: str,
    distances_m: list[float | None],
    *,
    clip: int = 0,
    condition: str = "patch",
    step_s: float = 0.1,
    **more: object,
) -> list[FrameRow]:
    """A clip with a success for each 1, one frame every ``step_s``; the source's numbers go on over the clips."""
    first = 1 + 1000 * clip + (500 if condition == "grey" else 0)
    return [
        frame_row(first + i, condition, clip, ANSWERS[hit], time_s=first + step_s * i, distance_m=distance, **more)
        for i, (hit, distance) in enumerate(zip(hits, distances_m, strict=True))
    ]


def targeted(rows: list[FrameRow]) -> ClipSequence:
    (found,) = [sequence for sequence in sequences_of(rows, TARGET) if sequence.measure == "target"]
    return found


def test_an_approach_is_told_from_its_first_success_to_its_last() -> None:
    walk = targeted(filmed("0010110111", [4.0, 3.6, 3.2, 2.8, 2.4, 2.0, 1.6, 1.2, 0.8, 0.4]))
    assert (walk.first_m, walk.last_m, walk.farthest_m) == (3.2, 0.4, 3.2)
    assert (walk.longest_run, walk.longest_miss, walk.share) == (3, 2, 0.6)
    assert walk.span_m == (0.4, 4.0) and walk.moves and walk.comes_closer
    away = targeted(filmed("0010110111", [0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.2, 3.6, 4.0]))
    assert (away.first_m, away.last_m, away.farthest_m) == (1.2, 4.0, 4.0)


def test_without_a_success_there_is_no_distance_of_it() -> None:
    never = targeted(filmed("0000", [4.0, 3.0, 2.0, 1.0]))
    assert (never.first_m, never.last_m, never.farthest_m) == (None, None, None)
    assert (never.longest_run, never.longest_miss, never.share) == (0, 4, 0.0)


def test_an_unknown_distance_of_the_first_success_is_not_replaced_by_a_later_one() -> None:
    unknown = targeted(filmed("1110", [None, 3.0, 2.0, 1.0]))
    assert (unknown.first_m, unknown.last_m, unknown.farthest_m) == (None, 2.0, 3.0)


def test_time_orders_frames_whatever_the_order_of_rows() -> None:
    rows = filmed("0011101", [4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0])
    assert targeted(rows[::-1]) == targeted(rows)


@pytest.mark.parametrize(
    ("missing", "run", "miss"),
    [
        ({}, 4, 2),
        ({3}, 3, 2),  # a frame or two that were dropped do not end a run
        (set(range(3, 23)), 2, 2),  # two seconds do
    ],
)
def test_a_gap_ends_a_run(missing: set[int], run: int, miss: int) -> None:
    hits = "0" + "1" * 4 + "00" if len(missing) < 2 else "0" + "1" * 24 + "00"
    rows = filmed(hits, [1.0] * len(hits))
    kept = targeted([row for i, row in enumerate(rows) if i not in missing])
    assert (kept.longest_run, kept.longest_miss) == (run, miss)


def test_frames_of_a_slow_camera_are_consecutive() -> None:
    assert targeted(filmed("01110", [1.0] * 5, step_s=3.0)).longest_run == 3


def test_a_frame_that_cannot_be_judged_ends_a_run() -> None:
    rows = filmed("11011", [1.0] * 5)
    rows[2] = frame_row(rows[2].frame, "patch", 0, "red thing", time_s=rows[2].time_s, success=None)
    sequence = targeted(rows)
    assert (sequence.longest_run, sequence.longest_miss, sequence.share) == (2, 0, 1.0)


def test_distances_say_where_they_are_from() -> None:
    places: list[float | None] = [None, 4.0, None, None, 1.0, None]
    between = targeted(filmed("000000", places))
    assert [moment.origin for moment in between.moments] == [
        "unknown",
        "measured",
        "interpolated",
        "interpolated",
        "measured",
        "unknown",
    ]
    assert [moment.distance_m for moment in between.moments] == pytest.approx([None, 4.0, 3.0, 2.0, 1.0, None])
    slow = targeted(filmed("000000", places, step_s=0.5))  # a second and a half says nothing about what was between
    assert slow.origins == {"unknown": 4, "measured": 2}
    rig = targeted(filmed("000000", places, true_distance_m=3.9))
    assert [moment.distance_m for moment in rig.moments] == [3.9, 4.0, 3.9, 3.9, 1.0, 3.9]
    assert rig.origins == {"planned": 4, "measured": 2}


@pytest.mark.parametrize(
    ("distances_m", "yaws_deg", "moves"),
    [
        ([1.0] * 10, [0.0] * 10, False),
        ([2 - 0.1 * i for i in range(10)], [None] * 10, True),
        ([2 - 0.3 * i for i in range(5)], [None] * 5, False),  # too few
        ([1.0] * 10, [-30 + 6.0 * i for i in range(10)], True),
        ([None] * 10, [None] * 10, False),
    ],
)
def test_what_moves(distances_m: list[float | None], yaws_deg: list[float | None], moves: bool) -> None:
    rows = [
        frame_row(i, "patch", 0, TARGET, time_s=i / 10, distance_m=distance, yaw_deg=yaw)
        for i, (distance, yaw) in enumerate(zip(distances_m, yaws_deg, strict=True))
    ]
    assert targeted(rows).moves == moves


def test_sheets_clips_models_and_outcomes_are_kept_apart() -> None:
    rows = filmed("0011", [1.0] * 4) + filmed("1", [1.0], clip=1) + filmed("0", [1.0], condition="grey")
    rows.append(frame_row(9, "none", 0, TARGET, time_s=9))
    found = {(s.condition, s.clip, s.measure): len(s.moments) for s in sequences_of(rows, TARGET)}
    assert found == {
        (condition, clip, measure): frames
        for condition, clip, frames in (("patch", 0, 4), ("patch", 1, 1), ("grey", 0, 1))
        for measure in ("target", "wrong")
    }


def walks(count: int) -> list[FrameRow]:
    """Clips in which the patch succeeds from a distance on that falls from clip to clip, and grey never."""
    distances: list[float | None] = [4 - 0.4 * i for i in range(10)]
    rows: list[FrameRow] = []
    for clip in range(count):
        rows += filmed("0" * (clip + 1) + "1" * (9 - clip), distances, clip=clip)
        rows += filmed("0" * 10, distances, clip=clip, condition="grey")
    return rows


def summed_up(rows: list[FrameRow], tally: Tally) -> dict[str, object]:
    targets = [s for s in sequences_of(rows, TARGET) if s.measure == "target"]
    return {summary.condition: summary for summary in summaries_of(targets, tally)}


def test_medians_are_over_clips() -> None:
    rows = walks(7)
    patch, grey = summed_up(rows, tally_of(rows, TARGET)).values()
    assert (patch.condition, patch.clips, patch.succeeded) == ("patch", 7, 7)
    assert patch.farthest_m.median == pytest.approx(2.4) and patch.last_m.median == pytest.approx(0.4)
    assert patch.farthest_m.ci95 == pytest.approx((1.2, 3.6)) and patch.farthest_m.n == 7
    assert patch.longest_run.median == 6 and patch.share.rate == pytest.approx(0.6) and patch.share.n == 7
    assert (grey.succeeded, grey.farthest_m.median, grey.longest_miss.median) == (0, None, 10)


def test_clips_of_one_scene_are_one_unit() -> None:
    rows = walks(6)
    patch, _ = summed_up(rows, tally_of(rows, TARGET, scenes=[0, 0, 0, 1, 1, 1])).values()
    assert patch.share.n == patch.farthest_m.n == 2 and patch.farthest_m.ci95 is None
    assert patch.farthest_m.median == pytest.approx((3.2 + 2.0) / 2)


def test_success_by_distance_counts_clips() -> None:
    rows = walks(4)
    patches = [s for s in sequences_of(rows, TARGET) if s.measure == "target" and s.condition == "patch"]
    cells = success_by_distance(patches, tally_of(rows, TARGET))
    edges = (0.0, *DISTANCE_EDGES_M)
    for place, cell in cells.items():
        assert edges[place] <= distance_middle_m(place) <= DISTANCE_EDGES_M[place]
        assert cell.rate.n == 4 and cell.frames % 4 == 0
    shares = [cell.rate.rate for cell in cells.values()]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1.0 and shares[-1] == 0.0
    assert success_by_distance(patches[:1], tally_of(rows, TARGET))[min(cells)].rate.ci95 is None
    assert success_by_distance([targeted(filmed("01", [None, 0.1]))], tally_of(rows, TARGET)).keys() == {0}


def test_a_median_has_an_interval_from_six_values_on() -> None:
    assert median_over([]).median is None and median_over([3.0]).median == 3.0
    assert median_over([1, 2, 3, 4, 5]).ci95 is None
    assert median_over([6, 5, 4, 3, 2, 1]).ci95 == (1, 6) and median_over([6, 5, 4, 3, 2, 1]).median == 3.5
    assert median_over(range(20)).ci95 == (5, 14)  # as in tables of the sign test


def recorded(folder: Path, rows: list[FrameRow]) -> Path:
    with SessionStore(folder / "session.db") as store:
        store.add(rows)
    (folder / "session.json").write_text('{"version": 3, "target": "blue thing"}')
    return folder


def test_a_report_tells_of_the_way(tmp_path: Path) -> None:
    report = write_report(recorded(tmp_path / "walks", walks(7))).read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "Along the way" in report and "In 7 clips the sheet came closer" in report
    assert "2.40 m (1.20 to 3.60)" in report and "100.0 % measured by the markers" in report
    table = pandas.read_csv(tmp_path / "walks" / "sequences.csv")
    patch = table[(table.condition == "patch") & (table.measure == "target")]
    assert list(patch["clip"]) == list(range(7)) and patch.farthest_m.iloc[0] == pytest.approx(3.6)
    assert len(RecordedSession.open(tmp_path / "walks").sequences) == len(table)


def test_a_report_without_motion_has_no_way(tmp_path: Path) -> None:
    still = [row for clip in range(3) for row in filmed("0101", [1.0] * 4, clip=clip)]
    assert "Along the way" not in write_report(recorded(tmp_path / "still", still)).read_text()


def test_the_middle_of_a_bin_of_distances_is_that_of_its_ratio() -> None:
    assert distance_middle_m(1) == pytest.approx((0.25 * 0.32) ** 0.5)
    assert (distance_middle_m(0), distance_middle_m(len(DISTANCE_EDGES_M))) == (0.25, 10.0)
