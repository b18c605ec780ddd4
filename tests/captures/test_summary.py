"""What rows add up to: units, conditions, controls, maps, and a detector's outcomes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import assert_follows_schema
from support import frame_row as row

from captures.protocol.plan import Protocol
from captures.results.aggregation import Tally, tally_of
from captures.results.session_record import PlanRecord
from captures.session.clips import ClipCutter
from physpatch.stats.clustered import Observation, clustered_difference, clustered_rate


def test_the_summary_counts_clips_that_the_control_gets_right() -> None:
    rows = [row(0, "grey", 0, "red thing"), row(1, "patch", 0, "blue thing"), row(2, "patch", 0, "red thing")]
    rows += [row(3, "grey", 1, "green thing"), row(4, "patch", 1, "blue thing")]  # not recognised: does not count
    rows += [row(5, "grey", 2, "red thing"), row(6, "patch", 2, "blue thing")]
    patch, grey = tally_of(rows, "blue thing").summaries()
    assert (patch.condition, patch.frames, patch.clips) == ("patch", 4, 3)
    assert (patch.target.rate, patch.target.n) == (0.75, 2)
    assert (patch.wrong.rate, grey.wrong.rate) == (0.75, 0.0)


def test_a_detectors_answer_is_not_judged_by_a_classifiers_label() -> None:
    rows = [row(0, "grey", 0, "person", boxes="[]"), row(1, "patch", 0, "blue thing", boxes="[]")]
    patch, _ = tally_of(rows, "blue thing").summaries()
    assert (patch.target.rate, patch.wrong.rate) == (1.0, None)


def test_sheets_shown_one_after_the_other_share_no_clip_and_all_count() -> None:
    rows = [row(0, "grey", 0, "green thing"), row(1, "patch", 1, "blue thing"), row(2, "patch", 3, "red thing")]
    patch, _ = tally_of(rows, "blue thing").summaries()
    assert (patch.target.rate, patch.target.n) == (0.5, 2)


def test_clips_of_one_scene_are_counted_together() -> None:
    rows = []
    for clip in range(8):
        hit = "blue thing" if clip % 4 == 0 else "red thing"  # scene 0 always, the others never
        rows += [row(2 * clip, "grey", clip, "red thing"), row(2 * clip + 1, "patch", clip, hit)]
    alone, together = tally_of(rows, "blue thing"), tally_of(rows, "blue thing", scenes=[0, 1, 2, 3] * 2)
    patch, of_scenes = alone.summaries()[0], together.summaries()[0]
    assert (patch.target.rate, patch.target.n, patch.clips) == (0.25, 8, 8)
    assert (of_scenes.target.rate, of_scenes.target.n, of_scenes.clips) == (0.25, 4, 8)
    low, high = of_scenes.target.ci95 or (0.25, 0.25)
    assert patch.target.ci95 is not None and low < patch.target.ci95[0] and high > patch.target.ci95[1]
    assert (alone.independent_kind, together.independent_kind, together.design().scenes) == ("clip", "scene", 4)
    (difference,) = (c.difference for c in together.comparisons() if c.measure == "target")
    assert (difference.difference, difference.n) == (0.25, 4)


def test_without_a_known_truth_every_clip_counts() -> None:
    (patch,) = tally_of(
        [row(0, "patch", 0, "blue thing", None), row(1, "patch", 1, "red thing", None)], "blue thing"
    ).summaries()
    assert (patch.target.rate, patch.target.n, patch.wrong.rate) == (0.5, 2, None)


def boxes(*found: tuple[str, tuple[float, float, float, float]]) -> str:
    return json.dumps([[label, 0.9, *xyxy] for label, xyxy in found])


PATCH_XY = json.dumps([[100, 100], [140, 100], [140, 140], [100, 140]])
STOP, AT, ELSEWHERE = "stop sign", (10.0, 10.0, 60.0, 60.0), (200.0, 10.0, 260.0, 60.0)


def detector_row(frame: int, condition: str, clip: int, *found, **more):
    return row(frame, condition, clip, "", STOP, boxes=boxes(*found), patch_xy=PATCH_XY, **more)


def test_a_detectors_object_is_hidden_relabelled_or_joined_by_phantoms() -> None:
    rows = []
    for clip in range(4):
        rows += [detector_row(10 * clip + i, "grey", clip, (STOP, AT)) for i in range(2)]
    rows += [
        detector_row(5, "patch", 0),  # hidden
        detector_row(15, "patch", 1, ("clock", AT)),  # relabelled
        detector_row(25, "patch", 2, (STOP, AT), ("kite", (110, 110, 130, 130))),  # a false box at the patch
        detector_row(35, "patch", 3, (STOP, AT), ("kite", ELSEWHERE)),  # a false box, but not at the patch
    ]
    patch, grey = tally_of(rows, None).summaries()
    assert (patch.wrong.rate, patch.hidden.rate, patch.relabelled.rate, patch.wrong.n) == (0.5, 0.25, 0.25, 4)
    assert (grey.wrong.rate, grey.hidden.rate, grey.relabelled.rate, grey.false_boxes.rate) == (0.0, 0.0, 0.0, 0.0)
    assert patch.false_boxes.rate == 0.25


def test_what_is_lost_is_judged_at_the_object_where_its_place_is_known() -> None:
    """Another stop sign in the street does not make up for the one that carries the patch."""
    place = json.dumps(AT)
    rows = [detector_row(i, "grey", i, (STOP, AT), (STOP, ELSEWHERE), object_xyxy=place) for i in range(3)]
    rows += [
        detector_row(10, "patch", 0, (STOP, ELSEWHERE), object_xyxy=place),  # hidden
        detector_row(11, "patch", 1, (STOP, ELSEWHERE), ("clock", AT), object_xyxy=place),  # relabelled
        detector_row(12, "patch", 2, (STOP, AT), object_xyxy=place),
    ]
    patch, grey = tally_of(rows, None).summaries()
    shares = (patch.wrong.rate, patch.hidden.rate, patch.relabelled.rate)
    assert shares == pytest.approx((2 / 3, 1 / 3, 1 / 3)) and grey.wrong.rate == 0


def test_an_unlabelled_person_before_the_camera_is_no_phantom() -> None:
    """A real person whose box centres on the patch is found with the grey control at that pose too."""
    person, kite = ("person", (100, 100, 140, 140)), ("kite", (110, 110, 130, 130))
    rows = [detector_row(i, "grey", i, (STOP, AT), *([person] if i < 2 else [])) for i in range(3)]
    rows += [
        detector_row(10, "patch", 0, (STOP, AT), person),
        detector_row(11, "patch", 1, (STOP, AT), person, kite),
        detector_row(12, "patch", 2, (STOP, AT), person),  # here the control shows none
    ]
    patch, grey = tally_of(rows, None).summaries()
    assert patch.false_boxes.rate == pytest.approx(2 / 3)
    assert grey.false_boxes.rate is None  # with one frame a clip, there is no other one to compare it with
    alone = tally_of([detector_row(0, "patch", 0, person)], None).summaries()[0]
    assert alone.false_boxes.rate is None  # without a control nobody can say what is really there


def test_a_class_that_comes_and_goes_is_no_more_a_phantom_of_the_patch_than_of_the_control() -> None:
    """A spurious person in a third of all frames, whatever the sheet: compared with all grey frames, none of these had any."""
    person, coins = ("person", (100, 100, 140, 140)), np.random.default_rng(0)
    rows = [
        detector_row(
            100 * clip + 10 * i + (sheet == "patch"), sheet, clip, *([person] if coins.random() < 0.35 else [])
        )
        for clip in range(150)
        for i in range(5)
        for sheet in ("patch", "grey")
    ]
    tally = tally_of(rows, None)
    patch, grey = tally.summaries()
    assert (
        0.03 < (grey.false_boxes.rate or 0) < 0.1 and 0.03 < (patch.false_boxes.rate or 0) < 0.1
    )  # 0.35 times 0.65^4: 6 %
    (difference,) = (c.difference for c in tally.comparisons() if c.measure == "false_boxes")
    assert difference.ci95 is not None and difference.ci95[0] < 0 < difference.ci95[1]


def test_a_class_of_a_single_grey_frame_is_a_phantom_where_that_frame_is_left_out() -> None:
    person = ("person", (100, 100, 140, 140))
    rows = [
        detector_row(
            100 * clip + 10 * i + (sheet == "patch"), sheet, clip, *([person] if i == 0 or sheet == "patch" else [])
        )
        for clip in range(3)
        for i in range(4)
        for sheet in ("patch", "grey")
    ]
    patch, grey = tally_of(rows, None).summaries()
    assert (patch.false_boxes.rate, grey.false_boxes.rate) == (0.25, 0.25)


def test_heat_is_averaged_over_frames() -> None:
    rows = [row(0, "patch", 0, "red thing", heat_in_patch=0.9)]
    rows += [row(i, "patch", 1, "red thing", heat_in_patch=0.1) for i in range(1, 4)]
    (patch,) = tally_of(rows, "blue thing").summaries()
    assert patch.heat_in_patch == pytest.approx(0.3)


def test_a_light_without_a_name_is_one_beside_those_with_names() -> None:
    rows = [
        row(2 * clip + (sheet == "patch"), sheet, clip, "red thing", light=(None, "light 2")[clip % 2])
        for clip in range(4)
        for sheet in ("grey", "patch")
    ]
    tally = tally_of(rows, "blue thing")
    assert tally.design().lights == 2 and "light" not in tally.design().fixed and tally.lights == {"light 2"}
    assert [cell.frames for cell in tally.by_light("m", "target").values()] == [2, 2]
    alone = tally_of([replace(each, light=None) for each in rows], "blue thing")
    assert alone.design().lights == 0 and alone.by_light("m", "target") == {}


def test_an_object_that_the_control_does_not_show_cannot_be_hidden() -> None:
    rows = [detector_row(0, "grey", 0, (STOP, AT)), detector_row(1, "patch", 0)]
    rows += [detector_row(2, "grey", 1), detector_row(3, "patch", 1)]
    patch, _ = tally_of(rows, None).summaries()
    assert (patch.wrong.rate, patch.wrong.n) == (1.0, 1) and (patch.hidden.rate, patch.hidden.n) == (1.0, 1)
    never = [detector_row(0, "grey", 0), detector_row(1, "patch", 0)]
    lost = tally_of(never, None).summaries()[0]
    assert lost.wrong.rate is None and lost.hidden.rate is None


def test_a_target_that_the_control_brings_about_itself_does_not_count() -> None:
    rows = [row(0, "grey", 0, "blue thing", label="blue sky"), row(1, "patch", 0, "blue thing", label="blue sky")]
    rows += [row(2, "grey", 1, "red thing"), row(3, "patch", 1, "blue thing")]
    tally = tally_of(rows, "blue thing")
    assert tally.rates("m", "target", "patch") == {1: 1.0}
    assert tally.exclusions("m") == {"not recognised with the grey control": 1}


def posed(frame: int, condition: str, clip: int, top1: str, distance: float, yaw: float, **more):
    return row(frame, condition, clip, top1, distance_m=distance, yaw_deg=yaw, px_per_cell=5.0 / distance, **more)


def shown_by_hand():
    """Two sheets one after the other, each in a clip of its own, at the same two poses and one more."""
    rows = []
    for i in range(4):
        rows += [posed(i, "grey", 0, "red thing", 0.4, 0), posed(10 + i, "grey", 0, "red thing", 1.0, 20)]
        rows += [posed(20 + i, "patch", 1, "blue thing", 0.42, 2), posed(30 + i, "patch", 1, "red thing", 1.0, 22)]
        rows += [posed(40 + i, "patch", 1, "blue thing", 2.5, 0)]
    return rows


def test_sheets_shown_one_after_the_other_are_paired_by_pose_cell() -> None:
    tally = tally_of(shown_by_hand(), "blue thing")
    assert tally.unit_kind == "pose cell"
    patch, _ = tally.summaries()
    assert (patch.target.rate, patch.target.n, patch.clips) == (0.5, 1, 1)
    (found,) = [c for c in tally.comparisons() if c.measure == "target"]
    assert (found.control, found.difference.difference, found.difference.n) == ("grey", 0.5, 1)


def test_frames_in_which_a_sheet_is_missed_change_nothing_of_how_takes_are_paired() -> None:
    """A clip goes on where its sheet is missed: such a frame made patch and "none" share a clip, and nothing was paired."""
    at, rows, clips = {"distance_m": 0.5, "yaw_deg": 0.0}, [], ClipCutter()
    for take in range(16):
        condition = "patch" if take % 2 else "grey"
        for frame in range(6):
            shown, time_s = "none" if frame == 3 and take == 5 else condition, 10 * take + frame / 10
            answer = "blue thing" if condition == "patch" else "red thing"
            where = at if shown != "none" else {}
            rows.append(row(len(rows), shown, clips.number(shown, time_s), answer, time_s=time_s, **where))
    tally = tally_of(rows, "blue thing")
    assert tally.unit_kind == "pose cell"
    (grey,) = (c.difference for c in tally.comparisons() if (c.measure, c.control) == ("target", "grey"))
    assert grey.difference == 1.0 and grey.n == 8 and grey.is_significant


def test_a_rate_is_a_number_of_successes_only_where_each_take_counts_wholly() -> None:
    def tally(shown: dict[tuple[int, float], str]) -> Tally:
        rows = [
            row(9, "grey", 9, "red thing", distance_m=0.3, yaw_deg=0),
            row(8, "grey", 9, "red thing", distance_m=1.0, yaw_deg=0),
        ]
        for number, ((take, distance_m), answer) in enumerate(shown.items()):
            rows.append(row(10 + number, "patch", take, answer, distance_m=distance_m, yaw_deg=0))
        return tally_of(rows, "blue thing")

    whole = tally({(0, 0.3): "blue thing", (1, 0.3): "blue thing", (2, 0.3): "red thing"})
    in_part = tally({(0, 0.3): "blue thing", (0, 1.0): "red thing", (1, 0.3): "red thing", (1, 1.0): "blue thing"})
    assert whole.unit_kind == in_part.unit_kind == "pose cell"
    assert whole.counts_whole("m", "target", "patch") and not in_part.counts_whole("m", "target", "patch")


def test_a_controls_share_stays_within_one() -> None:
    """One take of one wrong frame and one of nine, eight of them wrong, came to 105 %, and the interval was upside down."""
    at = {"distance_m": 0.5, "yaw_deg": 0.0}
    rows = [row(0, "grey", 0, "green thing", **at)]
    rows += [row(1 + i, "grey", 2, "green thing" if i else "red thing", **at) for i in range(9)]
    rows += [row(20 + i, "patch", 1, "blue thing", **at) for i in range(4)]
    _, grey = tally_of(rows, "blue thing").summaries()
    assert grey.wrong.rate is not None and grey.wrong.rate <= 1
    assert grey.wrong.ci95 is not None and grey.wrong.ci95[0] <= grey.wrong.rate <= grey.wrong.ci95[1]


def test_one_scene_says_nothing_of_others() -> None:
    rows = [row(2 * k + i, c, k, "red thing") for k in range(4) for i, c in enumerate(("grey", "patch"))]
    patch, _ = tally_of(rows, "blue thing", scenes=[0, 0, 0, 0]).summaries()
    assert (patch.target.rate, patch.target.ci95, patch.target.n) == (0.0, None, 1)
    assert tally_of(rows, "blue thing").design().scenes == 1  # nothing is known of a camera's


def test_one_take_claims_no_interval_over_takes_and_the_fixed_is_named() -> None:
    """Its pose cells counted as independent units: 24 % of such 95 % intervals held the truth where takes differed much."""
    tally = tally_of(shown_by_hand(), "blue thing")
    rate = tally.rate("m", "target", "patch")
    assert (rate.rate, rate.ci95, rate.n) == (0.5, None, 1) and rate.within95 is not None
    assert "one clip" in str(rate) and "within95" in rate.to_dict()
    (found,) = [c.difference for c in tally.comparisons() if c.measure == "target"]
    assert found.ci95 is None and not found.is_significant and "too few clips" in str(found)
    design = tally.design()
    assert (design.clips, design.poses) == (2, 3)
    assert design.fixed == ("training seed", "print", "camera", "light", "scene")


def test_takes_are_what_intervals_are_over() -> None:
    """Three takes of two poses: the interval is that of the takes and cells, not of six units."""
    rows = []
    for take in range(3):
        for pose, (distance, yaw) in enumerate(((0.4, 0), (1.0, 20))):
            number = 100 * take + 10 * pose
            rows += [posed(number + i, "grey", 2 * take, "red thing", distance, yaw) for i in range(4)]
            hits = ("blue thing",) * (take + 1) + ("red thing",) * (3 - take)
            rows += [posed(number + 4 + i, "patch", 2 * take + 1, a, distance, yaw) for i, a in enumerate(hits)]
    tally = tally_of(rows, "blue thing")
    expected = [Observation(2 * take + 1, ((0, cell), None), (take + 1) / 4) for take in range(3) for cell in range(2)]
    rate = tally.rate("m", "target", "patch")
    assert rate == clustered_rate(expected) and rate.n == 3 and rate.ci95 is not None
    (difference,) = [c.difference for c in tally.comparisons() if c.measure == "target"]
    harmless = [replace(one, clip=one.clip - 1, share=0.0) for one in expected]  # type: ignore[operator]
    assert difference == clustered_difference(expected, harmless) and difference.n == 3


def test_a_unit_weighs_as_much_as_its_control_is_right() -> None:
    """Half of the grey frames wrong, and the patch's success there worth as much as a unit that is always right."""
    rows = []
    for clip, (right, hits) in enumerate(((4, 0), (2, 4), (0, 4), (4, 4), (4, 0))):
        rows += [row(20 * clip + i, "grey", clip, "red thing" if i < right else "kite") for i in range(4)]
        rows += [row(20 * clip + 10 + i, "patch", clip, "blue thing" if i < hits else "red thing") for i in range(4)]
    tally = tally_of(rows, "blue thing")
    assert tally.weights("m") == {0: 1.0, 1: 0.5, 2: 0.0, 3: 1.0, 4: 1.0}
    # pairs of frames of one clip in which the control is right: 4, 2, 0, 4, 4 of 4, and the patch reaches 0, 2, 0, 4, 0
    assert tally.rate("m", "target", "patch").rate == pytest.approx((0.5 + 1) / 3.5)
    (grey,) = [c.difference for c in tally.comparisons() if c.measure == "target"]
    assert grey.difference == pytest.approx(1.5 / 3.5) and grey.n == 4
    assert tally.exclusions("m") == {"not recognised with the grey control": 4}


def test_maps_hold_rates_counts_and_nothing_where_nothing_was_seen() -> None:
    tally = tally_of(shown_by_hand(), "blue thing")
    cells = tally.by_pose("m", "target")
    assert {where: (cell.rate.rate, cell.frames) for where, cell in cells.items()} == {
        (1, 3): (1.0, 4),
        (3, 4): (0.0, 4),
    }
    assert tally.by_light("m", "target") == {}
    lit = tally_of(
        [row(0, "patch", 0, "blue thing", light="lamp"), row(1, "patch", 1, "red thing", light="sun")], "blue thing"
    )
    assert {name: cell.rate.rate for name, cell in lit.by_light("m", "target").items()} == {"lamp": 1.0, "sun": 0.0}


def test_a_plans_steps_are_paired_across_their_clips() -> None:
    protocol = Protocol(("patch", "grey"), (0.5, 1.0), (0.0,), repeats=2)
    rows = []
    for step in protocol.steps():
        fooled = step.condition == "patch" and step.distance_m == 0.5
        answer = "blue thing" if fooled else "red thing"
        rows += [
            posed(10 * step.number + i, step.condition, step.number, answer, step.distance_m, 0, step=step.number)
            for i in range(3)
        ]
        rows.append(posed(10 * step.number + 9, step.condition, step.number, "blue thing", 0.7, 0))  # on its way
    plan = PlanRecord.model_validate(json.loads(json.dumps(protocol.to_dict())))
    tally = tally_of(rows, "blue thing", plan.protocol)
    assert tally.unit_kind == "step" and tally.outside_steps.total() == 8
    assert tally.exclusions("m")["outside of the plan's steps"] == 4  # of the patch; as many of grey
    patch, grey = tally.summaries()
    assert (patch.target.rate, patch.target.n, grey.target.rate) == (0.5, 4, 0.0)
    (compared,) = [c for c in tally.comparisons() if c.measure == "target"]
    assert (compared.difference.difference, compared.difference.n) == (0.5, 4)
    assert {where: cell.rate.rate for where, cell in tally.by_pose("m", "target").items()} == {(0, 0): 1.0, (1, 0): 0.0}


def test_frames_of_a_clip_that_agree_count_little() -> None:
    rows = [
        row(10 * clip + i, "patch", clip, "blue thing" if clip % 2 else "red thing", None)
        for clip in range(6)
        for i in range(10)
    ]
    spread = tally_of(rows, "blue thing").spread("m", "target", "patch")
    assert spread is not None and spread.icc == 1.0 and spread.effective_n == pytest.approx(6)
    assert spread.needed > 300 and spread.t_ci95 is not None and spread.bootstrap_ci95 is not None
    assert Tally("blue thing").models == []


def test_a_controls_own_errors_are_those_of_its_other_frames() -> None:
    """A model that errs on every other frame whatever is shown: the sheet, here as harmless as the control, has no effect."""
    rng = np.random.default_rng(0)
    rows = []
    for clip in range(1500):
        for i, condition in enumerate(("grey", "patch") * 3):
            answer = "red thing" if rng.random() < 0.5 else "kite"
            rows.append(row(10 * clip + i, condition, clip, answer))
    tally = tally_of(rows, None)
    (grey,) = [c.difference for c in tally.comparisons() if c.measure == "wrong"]
    assert tally.rate("m", "wrong", "patch").rate == pytest.approx(0.5, abs=0.03)
    assert tally.rate("m", "wrong", "grey").rate == pytest.approx(0.5, abs=0.03)
    assert grey.ci95 is not None and grey.ci95[0] <= 0 <= grey.ci95[1]


def test_half_of_the_controls_frames_wrong_leaves_the_rate_unbiased() -> None:
    """Hard units, where the control fails, are those in which the patch succeeds; the rate given a right control is known."""
    rng = np.random.default_rng(1)
    rows, right, both = [], 0.0, 0.0
    for clip in range(2000):
        ease = float(rng.random())  # the control is right so often, and the patch fails so often
        right, both = right + ease, both + ease * (1 - ease)
        rows += [row(20 * clip + i, "grey", clip, "red thing" if rng.random() < ease else "kite") for i in range(3)]
        rows += [
            row(20 * clip + 9 + i, "patch", clip, "red thing" if rng.random() < ease else "kite") for i in range(3)
        ]
    rate = tally_of(rows, None).rate("m", "wrong", "patch")
    assert rate.rate == pytest.approx(both / right, abs=0.02) and rate.ci95 is not None
    assert rate.ci95[0] <= both / right <= rate.ci95[1]  # a majority vote gives 0.25, and 0.33 is true


def test_a_frame_that_is_wrong_or_shows_the_target_is_not_untouched() -> None:
    """Of a detector's control frames half lose the object and the other half show the target: none is fair."""
    rows = [detector_row(i, "grey", 0, *([(STOP, AT), ("clock", AT)] if i % 2 else [])) for i in range(4)]
    rows = [replace(one, success=i % 2, target_score=0.5) for i, one in enumerate(rows)]
    rows += [replace(detector_row(9, "patch", 0, ("clock", AT)), success=1, target_score=0.9)]
    assert tally_of(rows, "clock").weights("m", "target") == {0: 0.0}


def test_every_summary_says_what_was_fixed() -> None:
    patch, _ = tally_of(shown_by_hand(), "blue thing").summaries()
    assert_follows_schema(patch.to_dict(), "condition-summary")
    assert json.loads(json.dumps(patch.to_dict()))["design"] == patch.design.to_dict()
    assert patch.to_dict()["design"]["fixed"] == ["training seed", "print", "camera", "light", "scene"]
