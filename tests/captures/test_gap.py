"""The replay on real weights before the virtual rig: steps, causes, what is refused, and what a session teaches."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from gap_causes import judged, labelled, summary
from planted_rig import CAUSES, PlantedRig, planted
from support import HORN

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_space import delta_e00, srgb_to_linear
from calibration.colour.rig_profile import RigProfile
from calibration.colour.sheet_colour import observe
from calibration.common.errors import InputError
from captures.gap.decomposition import UnmeasurableError, _background, measure_gap
from captures.gap.replay import STEPS, ReplayView, _pictures, replay
from captures.gap.replay import example as draw_example
from captures.gap.session_colours import session_lights
from captures.gap.session_eot import PARTS, _grown, _range_of, learn_from
from captures.report.blocks import Text
from captures.report.sections.gap import _way
from captures.results.aggregation import Unit
from captures.results.recorded_session import RecordedSession
from captures.session.live_session import film_rig
from captures.sources.virtual_rig import VirtualRig
from physpatch import EotConfig, Patch, TrainConfig, load_victim
from physpatch.data.photographs import list_photos
from physpatch.rendering.cells import cells_from_patch
from physpatch.rendering.eot import sample
from physpatch.rendering.rig_ranges import eot_for_rig
from physpatch.victims.detector import Detector
from printouts import print_on_sign, print_sheets

SEED = 0
# Far beyond what was trained for.
STRENGTHS = {"pose": 60.0, "resolution": 0.68, "colour": 1.0, "nothing": 0.0, "rolling shutter": 4.0}
MILD = TrainConfig.of(model="efficientnet_lite0", eot=EotConfig.preset("mild").changed(prints=()))  # as the horn was


def every_unit(session: RecordedSession) -> set[Unit | None]:
    """The units of all frames."""
    return {session.tally.unit(row) for row in session.rows}


@pytest.fixture(scope="module")
def victim():
    return load_victim("efficientnet_lite0")


@pytest.fixture(scope="module", autouse=True)
def lights_of() -> Iterator[Callable[[RecordedSession, str], tuple[RigProfile, str]]]:
    """The colours of a session's sheets, measured once for all tests that replay it or learn from it: it takes seconds."""
    once = cache(session_lights)
    with pytest.MonkeyPatch.context() as patched:
        for user in ("decomposition", "session_eot"):
            patched.setattr(f"captures.gap.{user}.session_lights", once)
        yield once


@pytest.fixture(scope="module")
def film(victim, tmp_path_factory):
    """A session of the horn before photographs that stay recognised, with a cause planted."""
    folder = tmp_path_factory.mktemp("gap")
    patch = Patch.load(HORN)
    print_sheets(patch, 100, folder / "sheet.pdf", controls=("grey", "random"))
    samples = list_photos("samples", victim.categories)[:27]  # those that the strengths were chosen with
    behind = [(photo.path, None) for photo in samples]
    kept: dict[str, RecordedSession] = {}

    def record(cause: str, *, keep: str = "all", clips: int = 8) -> RecordedSession:
        name = f"{cause}-{keep}"
        if name not in kept:
            rig = PlantedRig(
                cause, STRENGTHS[cause], folder / "sheet.pdf", behind, clips=clips, frames_per_clip=1, seed=SEED
            )
            filmed = film_rig(rig, victim, patch.target, folder / name, keep=keep, sheet="../sheet.pdf")
            kept[name] = labelled(RecordedSession.open(filmed))
        return kept[name]

    return record


@pytest.fixture(scope="module")
def gap_of(film, victim):
    """The replay of such a session, once for all tests."""
    return cache(lambda cause: measure_gap(film(cause), victim, Patch.load(HORN), MILD, draws=2))


@pytest.mark.parametrize("cause", ["colour", "resolution", "pose"])
def test_the_planted_cause_is_named(cause: str, gap_of) -> None:
    """Benchmarks/gap_causes.py does more of these, with smaller losses."""
    gap = gap_of(cause)
    assert gap.cause == CAUSES[cause].step, [(step.name, str(step.rate)) for step in gap.steps]
    first, last = gap.steps[0].rate, gap.steps[-1].rate
    assert first.rate is not None and last.rate is not None and first.rate > 0.8 and last.rate < 0.4
    (lost,) = [step.loss for step in gap.steps if step.name == gap.cause]
    assert lost is not None and lost.is_significant and "To fix this: " in gap.sentence
    assert [step.name for step in gap.steps] == [*STEPS, "captured"]
    assert len(gap.example) == 6 and all(picture.shape == (224, 224, 3) for _, picture in gap.example)
    assert "example" in gap.to_dict() and json.dumps(gap.to_dict())


def test_a_print_that_keeps_its_effect_has_no_cause(gap_of) -> None:
    gap = gap_of("nothing")
    last = gap.steps[-1].rate.rate
    assert (
        gap.cause is None
        and last is not None
        and last > 0.8
        and ("No step" in gap.sentence or "no loss" in gap.sentence)
    )
    # one of eight clips, which is film's luck, may be foretold wrongly
    assert gap.prediction is not None and gap.prediction.brier <= 1 / 8 and len(gap.predicted) == gap.prediction.n


def test_the_cells_of_one_take_are_no_independent_units(film, gap_of, victim) -> None:
    """Of one take of each sheet nothing is told from chance, however large the loss; of several it is, and n counts these."""

    def by_hand(takes: int) -> RecordedSession:
        number = {"patch": 0, "grey": 1, "random": 2}
        session = film("resolution")
        rows = [replace(row, clip=3 * (row.clip % takes) + number[row.condition]) for row in session.rows]
        return replace(session, rows=rows)

    one, many = (measure_gap(by_hand(takes), victim, Patch.load(HORN), MILD, draws=2) for takes in (1, 8))
    assert one.unit == many.unit == "pose cell" and gap_of("resolution").unit == "clip"
    assert one.total.difference is not None and one.total.difference > 0.5
    assert (one.total.ci95, one.total.n, one.cause) == (None, 1, None)
    assert all(step.rate.ci95 is None and (step.loss is None or not step.loss.is_significant) for step in one.steps)
    assert "Only one clip could be replayed, which does not show how clips vary" in one.sentence
    assert one.prediction is None or one.prediction.slope_ci95 is None
    assert many.cause == "sized" and many.total.is_significant and many.total.n == many.steps[0].rate.n > 5


def test_what_could_not_be_measured_is_said(film, gap_of, victim, monkeypatch) -> None:
    """With half of the control's frames unreadable the answer is about the other half, and the report says so."""
    calls = count()
    monkeypatch.setattr("captures.gap.decomposition.observe", lambda *seen: observe(*seen) if next(calls) % 2 else None)
    session = film("nothing")
    gap = measure_gap(session, victim, Patch.load(HORN), MILD, draws=1)
    whole = gap_of("nothing")
    assert whole.left_out == 0 < gap.left_out == whole.total.n - gap.total.n
    said = [block.text for block in _way([gap], []) if isinstance(block, Text)]
    assert any(f"This excludes {gap.left_out} of the session's clips" in text for text in said)
    assert not any("This excludes" in block.text for block in _way([whole], []) if isinstance(block, Text))


def test_the_benchmark_counts_right_answers_and_false_alarms(gap_of) -> None:
    """Nothing named is right where nothing is planted and wrong elsewhere; what was not planted is a false alarm."""

    def case(planted: str, filmed: str) -> dict:
        gap = json.loads(json.dumps(gap_of(filmed).to_dict()))
        return judged({"planted": planted, "strength": 1.0, "seed": 0, "gap": gap})

    counted = summary(
        [case("nothing", "nothing"), case("pose", "pose"), case("blur", "nothing"), case("nothing", "pose")]
    )
    assert [one["right"] for one in counted["cases"]] == [True, True, False, False]
    assert [one["false_alarm"] for one in counted["cases"]] == [False, False, False, True]
    assert counted["right"]["rate"] == 0.5 and counted["false_alarms"]["rate"] == 0.25 and counted["right"]["n"] == 4
    assert counted["right_of_20_to_60"]["n"] == 2  # the nulls: all others lost more, or nothing
    assert counted["nulls"]["nothing"]["false_alarms"]["rate"] == 0.5 and counted["by_cause"]["pose"]["named"] == {
        "posed": 1
    }
    assert json.dumps(counted)


def test_the_last_replayed_step_looks_like_the_captured_frame(gap_of) -> None:
    """Drawn with all that was measured, the patch differs little from the printed one that the camera saw."""
    gap = gap_of("colour")
    pictures = {words: picture.astype(float) for words, picture in gap.example}
    *_, trained, _, _, _, replayed, captured = [None, *pictures.values()]
    middle = np.s_[72:152, 72:152]
    near, far = (np.abs(one[middle] - captured[middle]).mean() for one in (replayed, trained))
    assert near < 0.6 * far


def test_the_sessions_own_sheets_show_the_printers_colours(film, lights_of, victim) -> None:
    profile, told = lights_of(film("colour"), victim.name)
    (light,) = profile.lights
    assert told == "the random sheet" and light.after[0] < 0.35 * light.before[0]
    faithful, _ = lights_of(film("nothing"), victim.name)
    assert faithful.lights[0].before[0] < light.before[0]


def test_small_cells_are_read_without_bias(victim, tmp_path: Path, monkeypatch) -> None:
    """Blur, noise and twice a JPEG bias what they look like; drawn anew with the fitted map, the sheet reads alike."""
    cells = np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    print_sheets(Patch(cells), 100, tmp_path / "sheet.pdf", controls=("grey", "random"))
    behind = [(photo.path, None) for photo in list_photos("samples", victim.categories)][:4]
    rig = PlantedRig("nothing", 0.0, tmp_path / "sheet.pdf", behind, clips=4, frames_per_clip=1, seed=SEED)
    filmed = film_rig(rig, victim, None, tmp_path / "session", keep="all", sheet="../sheet.pdf")
    session = RecordedSession.open(filmed)
    lattice = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 3), axis=-1).reshape(-1, 3)
    truth = planted("nothing", 0.0, SEED)
    expected = truth.printing.soft_proof(lattice)

    def off() -> float:
        (light,) = session_lights(session, victim.name)[0].lights
        return float(np.percentile(delta_e00(light.map.apply(lattice), expected), 95))

    unbiased = off()
    monkeypatch.setattr("captures.gap.session_colours._REFINEMENTS", 0)
    assert unbiased < 1.6 and unbiased < 0.7 * off()


def test_colours_that_no_print_and_camera_make_are_not_taken_for_theirs(film, lights_of, victim) -> None:
    """A shaken sheet's cells are not where they seem to be: the map that was fitted to them took the patch's effect away."""
    profile, told = lights_of(film("rolling shutter"), victim.name)
    assert not profile.lights and told.startswith("no sheet: no colour map explains")
    for cause in ("colour", "pose", "nothing"):
        assert lights_of(film(cause), victim.name)[0].lights[0].explained > 0.97


def test_a_round_sheet_is_no_chart_because_its_corners_are_not_printed(film, victim, monkeypatch) -> None:
    session = film("nothing")
    round_ones = tuple(replace(layout, cut_shape="circle") for layout in session.layouts)
    monkeypatch.setitem(vars(session), "layouts", round_ones)
    profile, told = session_lights(session, victim.name)
    assert not profile.lights and told.startswith("no sheet: those cut as a circle")


def test_the_same_seed_gives_the_same_replay(film, victim) -> None:
    session = film("colour")
    _, frames = _background(session, victim.name, every_unit(session))
    views = [ReplayView.of(shown, shot, None, victim) for shown, shot in frames[:2]]
    cells = cells_from_patch(Patch.load(HORN))
    once, again, other = (
        replay(victim, cells, views, 0.15, MILD.eot, lambda inputs, _: victim.scores(inputs), draws=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(once[step], again[step]) for step in STEPS)
    assert not torch.equal(once["trained"], other["trained"])
    assert once["trained"].shape == (2, 2, 1000)


def test_what_cannot_be_replayed_says_why(film, victim, monkeypatch) -> None:
    nothing_kept = film("colour", keep="none")
    with pytest.raises(UnmeasurableError, match="no kept frame shows a sheet whose markers are read; record"):
        measure_gap(nothing_kept, victim, Patch.load(HORN), MILD)
    session = film("colour")
    moved = replace(session, record=session.record.changed(sheet="elsewhere/sheet.pdf"))
    with pytest.raises(InputError, match="the PDF of its sheets was moved or deleted"):
        measure_gap(moved, victim, Patch.load(HORN), MILD)
    unlabelled = replace(session, rows=[replace(row, target_score=None, label=None) for row in session.rows])
    with pytest.raises(UnmeasurableError, match="success of the patch on efficientnet_lite0 is not defined"):
        measure_gap(unlabelled, victim, Patch.load(HORN), MILD)

    def observe_overexposed(frame, pose):
        return observe(cv2.convertScaleAbs(frame, alpha=4), pose)

    monkeypatch.setattr("captures.gap.decomposition.observe", observe_overexposed)
    with pytest.raises(
        UnmeasurableError, match=r"the kept frames that show one \(\d+\).*turn the camera's sharpening down"
    ):
        measure_gap(session, victim, Patch.load(HORN), MILD)


def test_a_session_teaches_its_angles_sizes_colours_and_scenes(film, victim) -> None:
    session = film("pose")
    learned = learn_from(session, victim, MILD.eot)
    yaws = [row.yaw_deg for row in session.rows if row.yaw_deg is not None]
    low, high = learned.eot.tilt_deg
    assert low <= np.quantile(yaws, 0.03) and high >= np.quantile(yaws, 0.97) and -75 <= low < -55 and 55 < high <= 75
    assert learned.eot.rotation_deg[1] < 20 and learned.area == pytest.approx(0.15, rel=0.1)
    assert learned.eot.scale[0] > 0.8 and learned.eot.scale[1] < 1.25
    assert len(learned.eot.prints) == 1 and learned.eot.bend == MILD.eot.bend
    assert learned.eot.gain[0] < 0.95 and learned.backgrounds is not None and learned.frames == len(session.rows)
    with open(learned.backgrounds / "labels.csv") as labels:
        assert len(labels.readlines()) == 1 + len(list(learned.backgrounds.glob("*.png")))
    scenes = list_photos(str(learned.backgrounds), victim.categories)
    assert {victim.categories[photo.label] for photo in scenes} == {row.label for row in session.rows}


def test_parts_of_a_session_are_learned_alone(film, victim) -> None:
    """What the arms of benchmarks/session_gain.py differ by, and nothing else."""
    session = film("pose")
    everything = learn_from(session, victim, MILD.eot)
    nothing = learn_from(session, victim, MILD.eot, parts=())
    assert nothing.eot == MILD.eot and nothing.backgrounds is None
    fields = {*EotConfig().ranges, "prints"}
    learned = {part: learn_from(session, victim, MILD.eot, parts={part}) for part in PARTS}
    assert [part for part, one in learned.items() if one.backgrounds is not None] == ["scenes"]
    changed = {
        part: {name for name in fields if getattr(one.eot, name) != getattr(MILD.eot, name)}
        for part, one in learned.items()
    }
    assert changed["ranges"] == {"rotation_deg", "tilt_deg", "scale", "blur_px", "noise"}
    assert changed["colours"] == {"prints", "gain", "temperature", "tint", "gamma", "saturation"}
    assert changed["area"] == changed["scenes"] == set()
    assert all(
        getattr(everything.eot, name) == getattr(MILD.eot, name) for name in fields - set().union(*changed.values())
    )


def test_the_sheet_is_painted_out_of_the_scenes(film, victim) -> None:
    """No marker is left, and what stands around the sheet is as it was."""
    learned = learn_from(film("nothing"), victim, MILD.eot)
    assert learned.backgrounds is not None
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    for file in learned.backgrounds.glob("*.png"):
        picture = cv2.imread(str(file))
        assert detector.detectMarkers(picture)[1] is None
        assert picture.std() > 10  # not painted over as a whole
    # Another run of this session learns others: the folder of the first one stays as it was.
    again = learn_from(film("nothing"), victim, MILD.eot, parts={"scenes"})
    named = replace(victim, categories=tuple(f"another {name}" for name in victim.categories))
    other = learn_from(film("nothing"), named, MILD.eot, parts={"scenes"})
    assert again.backgrounds == learned.backgrounds != other.backgrounds
    assert len(list(learned.backgrounds.glob("*.png"))) == len(list(other.backgrounds.glob("*.png"))) > 0


def test_far_sheets_teach_a_smaller_area(film, victim) -> None:
    learned = learn_from(film("resolution"), victim, MILD.eot)
    assert 0.02 < learned.area < 0.05


def test_a_replayed_patch_has_the_size_place_and_noise_of_the_sheet(tiny_victim) -> None:
    """A white patch in a black region of 160 pixels, which the network sees at 32; the sheet shows it at half its width."""
    left, top, side = 60.0, 40.0, 64.0
    corners = (
        np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) + np.array([left, top], np.float32) - 0.5
    )
    shot = ChartShot(np.ones((1, 1, 3)), np.ones(3), (1.0, 1.0), 0.03, 0.04, 0.5, 16.0, (160, 160))
    view = ReplayView(np.zeros((160, 160, 3), np.uint8), corners, 0.5, shot, None)
    drawn = sample(EotConfig.none().changed(noise=(0.01, 0.01)), 1, torch.Generator().manual_seed(0))
    still = drawn.changed(noise=torch.zeros(1))
    posed = _pictures(view, torch.ones(3, 2, 2), still, 0.1, tiny_victim)[1][0, 0]
    light = torch.from_numpy(srgb_to_linear(posed.numpy()))
    # It was trained at a tenth, and is turned by 60 degrees.
    assert float(light.sum()) == pytest.approx(0.1 * 32**2 * 0.5, rel=0.03)
    middle = [float((light.sum(dim=1 - axis) * torch.arange(32)).sum() / light.sum()) for axis in (1, 0)]
    assert middle == pytest.approx([(left + side / 2) / 5 - 0.5, (top + side / 2) / 5 - 0.5], abs=0.15)
    sized, _, blurred = _pictures(view, torch.full((3, 2, 2), 0.5), drawn, 0.1, tiny_victim)[2:]
    weights = np.array([0.299, 0.587, 0.114])
    # A pixel of the network averages 5 x 5 of the camera, and JPEG averages chroma.
    for picture, noise in ((sized, 0.01 * 5), (blurred, 0.05)):
        luma = np.einsum("chw,c->hw", srgb_to_linear(picture[0, :, 50:94, 70:114].numpy()), weights)
        assert luma.std() == pytest.approx(noise * (0.214 + 0.01) ** 0.5 * np.linalg.norm(weights), rel=0.15)


def test_a_detectors_input_is_the_frame_filled_up_to_a_square(film, victim) -> None:
    session = film("nothing")
    detected = replace(session, rows=[replace(row, region=None) for row in session.rows])
    as_classified, as_detected = (learn_from(one, victim, MILD.eot, parts={"area"}) for one in (session, detected))
    _, _, side, _ = session.rows[0].region_px
    assert as_detected.area == pytest.approx(as_classified.area * side**2 / max(session.frame_size) ** 2, rel=1e-3)


def test_learned_ranges_reach_a_little_farther_than_a_short_session() -> None:
    assert _grown("scale", [0.8, *[1.0] * 98, 1.2]) == pytest.approx((1 / 1.05, 1.05))  # tails of 2 % are left out
    assert _range_of("tilt_deg", [-20.0, 20.0] * 50, 3.0) == (-23.0, 23.0)


def test_too_few_frames_teach_nothing(film, victim) -> None:
    session = film("pose")
    with pytest.raises(InputError, match="has only 3 frames with a recognised sheet"):
        learn_from(replace(session, rows=session.rows[:3]), victim, MILD.eot)


def test_a_profile_measured_apart_is_taken_instead(film, gap_of, lights_of, victim) -> None:
    session = film("colour")
    profile, _ = lights_of(session, victim.name)
    gap = measure_gap(session, victim, Patch.load(HORN), MILD, profile=profile, draws=1)
    (told,), (measured,) = ([s.rate.rate for s in one.steps if s.name == "coloured"] for one in (gap, gap_of("colour")))
    assert gap.colours == "the rig profile" and told == pytest.approx(measured, abs=0.1)
    eot = eot_for_rig(MILD.eot, profile)
    sent = np.array([[0.9, 0.1, 0.1], [0.2, 0.6, 0.3]])
    assert (delta_e00(eot.prints[0].apply(sent), sent) > 3).any()


@pytest.mark.filterwarnings("ignore")
def test_a_harmless_sheet_on_a_sign_has_nothing_to_lose(victim, tmp_path: Path) -> None:
    """It came out as "trained 100 %, captured 0 %, most is lost to its size": the patch was drawn as large as the sign."""
    signs = load_victim("signs")
    assert isinstance(signs, Detector)
    grey = Patch(np.full((10, 10, 3), 128, np.uint8), target=None)
    print_on_sign(grey, "stop", 150, tmp_path / "sheet.pdf", share=0.2, controls=("grey", "random"))
    behind = [(photo.path, None) for photo in list_photos("samples", None)][:4]
    rig = VirtualRig(tmp_path / "sheet.pdf", behind, clips=4, frames_per_clip=1, seed=SEED)
    filmed = film_rig(rig, victim, None, tmp_path / "session", detector=signs, keep="all", sheet="../sheet.pdf")
    session = RecordedSession.open(filmed)
    config = TrainConfig.of(model="signs", object="stop", target="none", sign_area=0.12, eot=MILD.eot)
    gap = measure_gap(session, signs, grey, config, draws=2)
    assert gap.measure == "wrong" and gap.cause is None
    shares = {step.name: step.rate.rate for step in gap.steps}
    assert shares["captured"] == 0 and shares["trained"] is not None and shares["trained"] < 0.5
    assert shares["trained"] == shares["posed"] == shares["sized"]  # nothing can be lost to the size
    # What is drawn lies where the print does, and nowhere else: the sign's other parts stay as the camera saw them.
    shown = next(session.shown("signs", "grey"))
    assert shown.row.object_xyxy is not None
    view = ReplayView.of(shown, _background(session, "signs", every_unit(session))[1][0][1], None, signs)
    steps = draw_example(signs, torch.zeros(3, 10, 10), view, None, EotConfig.none())
    size = signs.preprocessing.size
    before = cv2.resize(view.picture, (size, size), interpolation=cv2.INTER_AREA).astype(float)
    changed = np.abs(steps[0].astype(float) - before).max(axis=-1) > 40
    assert changed.sum() == pytest.approx(shown.pose.patch_area_px * (size / view.picture.shape[0]) ** 2, rel=0.1)
