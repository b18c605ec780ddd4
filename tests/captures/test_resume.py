"""Sessions that go on after they ended, and sessions whose kept frames are analysed again."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import BLUE, assert_follows_schema, make_tiny_victim

from calibration.camera.sheet_pose import find_sheet
from calibration.common.errors import InputError
from calibration.common.files import claimed
from calibration.common.pictures import read_picture
from captures.commands.live import live
from captures.inference.analyser import open_analyser
from captures.inference.region import RegionRule
from captures.protocol.plan import Director, Protocol
from captures.report import write_report
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SessionRecord
from captures.session.live_session import SessionConfig, film_rig, run_session
from captures.session.recorded_frames import RecordedFrames
from captures.session.recorder import KeepRule
from captures.session.resumption import Earlier
from captures.session.session_setup import session_notes
from captures.sources.frame import Frame
from captures.sources.held_sheet import RigPose
from captures.sources.opening import FileSource, open_source
from captures.sources.virtual_rig import VirtualRig
from captures.storage import FrameRow, read_events, read_rows
from captures.workflows.session_again import recorded_settings


class Again(FileSource):
    """Frames of a rig as a camera sends them, without what the rig knows."""

    fps = 5.0

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    def __iter__(self):
        for index, frame in enumerate(self._frames):
            self.captured = index + 1
            yield Frame(frame.image, index / self.fps, index + 1)


@pytest.fixture(scope="module")
def rig(shared_sheet_pdf: Path, tmp_path_factory: pytest.TempPathFactory) -> VirtualRig:
    wall = tmp_path_factory.mktemp("walls") / "red.png"
    cv2.imwrite(str(wall), np.full((480, 640, 3), (30, 30, 220), np.uint8))
    return VirtualRig(shared_sheet_pdf, [(wall, "red thing")], clips=2, frames_per_clip=3)


@pytest.fixture(scope="module")
def shown(rig: VirtualRig) -> dict[str, list[Frame]]:
    """Three frames of each sheet of the rig's first clip."""
    frames = [frame for frame in rig if frame.clip == 0]
    return {kind: [frame for frame in frames if frame.condition == kind] for kind in ("patch", "grey")}


@pytest.fixture
def config(tiny_victim, rig: VirtualRig) -> SessionConfig:
    plan = Protocol(
        ("patch", "grey"), (0.4,), (0,), repeats=2, seconds=0.3, distance_tolerance=0.5, yaw_tolerance_deg=45
    )
    return SessionConfig(tiny_victim, layouts=rig.layouts, intrinsics=rig.intrinsics, target=BLUE, protocol=plan)


def numbers(rows: list[FrameRow]) -> list[FrameRow]:
    return [replace(row, delay_s=None) for row in rows]


def test_a_planned_session_goes_on_with_its_open_steps(config: SessionConfig, shown, tmp_path: Path) -> None:
    steps = [step.condition for step in Director(config.protocol).steps]
    session = run_session(Again(shown[steps[0]]), config, tmp_path / "session")
    before, record = read_rows(session), json.loads((session / "session.json").read_text())
    assert record["steps_done"] == [1] and {row.step for row in before} == {1}
    record["status"] = "recording"  # as after a kill, without counts
    for name in ("captured", "frames", "steps_done", "steps_skipped", "delay_s", "seconds"):
        del record[name]
    (session / "session.json").write_text(json.dumps(record))

    rest = [frame for kind in steps[1:] for frame in shown[kind]]
    run_session(Again(rest), config, session, resume=True)
    rows, record = read_rows(session), json.loads((session / "session.json").read_text())
    assert numbers(rows[: len(before)]) == numbers(before) and len(rows) == len(before) + 9
    assert [row.frame for row in rows] == list(range(1, 13)) and [row.clip for row in rows] == sorted(
        r.clip for r in rows
    )
    assert {row.step for row in rows[3:]} == {2, 3, 4} and rows[3].time_s >= rows[2].time_s + 2
    assert record["steps_done"] == [1, 2, 3, 4] and (record["frames"], record["captured"]) == (12, 12)
    (part,) = record["continued"]
    assert part["after_frame"] == 3 and record["status"] == "ended"
    assert_follows_schema(record, "session")
    assert (session / "video.mp4").is_file() and (session / "video-2.mp4").is_file()
    assert [event.kind for event in read_events(session)].count("continued") == 1
    assert "from frame 4 on" in write_report(session).read_text()
    with pytest.raises(InputError, match=r"all steps of the plan of .* are done or skipped"):
        run_session(Again(rest), config, session, resume=True)


def test_clips_without_a_plan_are_numbered_on(config: SessionConfig, shown, tmp_path: Path) -> None:
    config = replace(config, protocol=None)
    session = run_session(Again(shown["patch"]), config, tmp_path / "session")
    for _ in range(2):
        run_session(Again(shown["patch"]), config, session, resume=True)
    assert [row.clip for row in read_rows(session)] == [0] * 3 + [1] * 3 + [2] * 3
    assert (session / "video-3.mp4").is_file()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": RegionRule.parse("frame")}, r"setting of region \(center, now frame\); give --roi as before"),
        ({"every": 2}, r"setting of every \(1, now 2\)"),
        ({"target": None}, r"setting of target \(blue thing, now none\)"),
        ({"keep": KeepRule("all")}, r"setting of keep \(key, now all\)"),
        ({"protocol": None}, "setting of plan"),
        ({"layouts": ()}, "setting of sheets"),
        ({"classifier": replace(make_tiny_victim(), name="other")}, r"setting of models \(tiny, now other\)"),
        (
            {"classifier": replace(make_tiny_victim(), threshold=0.7)},
            r"models \(tiny's threshold none, now 0\.7\); give .*--threshold",
        ),
    ],
)
def test_other_settings_are_refused(change: dict, words: str, config: SessionConfig, shown, tmp_path: Path) -> None:
    session = run_session(Again(shown["patch"]), config, tmp_path / "session")
    before = (session / "session.json").read_bytes()
    with pytest.raises(InputError, match=words):
        run_session(Again(shown["patch"]), replace(config, **change), session, resume=True)
    assert (session / "session.json").read_bytes() == before and len(read_rows(session)) == 3


@pytest.mark.parametrize(
    "was", ["rtsp://me:pw@cam/1", "rtsp://cam/1", "rtsp://***@cam/1"], ids=["first", "then", "now"]
)
def test_a_stream_is_the_same_however_its_password_was_left_out(
    was: str, config: SessionConfig, shown, tmp_path: Path, command
) -> None:
    session = run_session(Again(shown["patch"]), config, tmp_path / "session")
    record = SessionRecord.of(session).changed(source="rtsp://***@cam/1")
    record.changed(source=was).save(session / "session.json")
    Earlier.read(session).require_same(record, session)
    if was == record.source:
        refused = "the password of the session's camera was not recorded; give --source with it"
        command("live", "--resume", session, "--headless").assert_refused(refused)


def test_what_cannot_be_resumed(config: SessionConfig, rig: VirtualRig, shown, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a session"):
        Earlier.read(tmp_path)
    session = run_session(Again(shown["patch"]), config, tmp_path / "session")
    with claimed(session), pytest.raises(InputError, match="another physpatch is writing in"):
        run_session(Again(shown["patch"]), config, session, resume=True)
    (session / "session.json").unlink()
    with pytest.raises(InputError, match=r"has no session\.json, so its settings are unknown"):
        Earlier.read(session)
    filmed = film_rig(rig, config.classifier, BLUE, tmp_path / "rig", virtual=True)
    with pytest.raises(InputError, match="only a session of a camera, a phone, a stream or files is resumed"):
        Earlier.read(filmed)


def test_a_rigs_session_names_the_command_that_films_it_again(tmp_path: Path, filmed: Path) -> None:
    record = SessionRecord.of(filmed / "session").changed(
        source="rendered", scene="mug", rig={"seed": 7, "clips": 2, "frames_per_clip": 4}, run="../my run"
    )
    shutil.copytree(filmed / "session", tmp_path / "session")
    record.save(tmp_path / "session/session.json")
    with pytest.raises(InputError) as refused:
        Earlier.read(tmp_path / "session")
    _, _, *asked = shlex.split(str(refused.value).split("`")[1])
    given = live.make_context("live", asked).params
    assert given["run"] == str(tmp_path / "my run") and (given["source"], given["scene"]) == ("rendered", "mug")
    assert (given["seed"], given["clips"], given["frames_per_clip"], given["resume"]) == (7, 2, 4, None)


def again(session: Path, config: SessionConfig, out: Path, *, same_regions: bool = True) -> list[FrameRow]:
    frames = RecordedFrames(RecordedSession.open(session), same_regions=same_regions)
    config = replace(
        config, protocol=None, keep=KeepRule("all"), notes={"reanalysis": frames.reanalysis("s").to_dict()}
    )
    return read_rows(run_session(frames, config, out))


def test_frames_kept_whole_give_the_same_rows_again(config: SessionConfig, rig: VirtualRig, tmp_path: Path) -> None:
    config = replace(config, protocol=None, keep=KeepRule("whole"), region=RegionRule.parse("sheet:0.2"))
    session = run_session(rig, config, tmp_path / "session")
    assert {file.suffix for file in (session / "raw").iterdir()} == {".png"}
    assert numbers(again(session, config, tmp_path / "again")) == numbers(read_rows(session))
    record = json.loads((tmp_path / "again/session.json").read_text())
    assert_follows_schema(record, "session")
    assert record["reanalysis"] == {"session": "s", "frames": 18, "whole": 18, "lossy": 0}
    assert record["scenes"] == json.loads((session / "session.json").read_text())["scenes"]
    assert numbers(again(tmp_path / "again", config, tmp_path / "third")) == numbers(read_rows(session))
    text = write_report(tmp_path / "again").read_text()
    assert "18 of 18 frames of s, exactly" in text


def test_other_regions_and_lost_frames(config: SessionConfig, rig: VirtualRig, tmp_path: Path) -> None:
    config = replace(config, protocol=None)
    session = run_session(rig, replace(config, keep=KeepRule("every", 2)), tmp_path / "session")
    rows = again(session, replace(config, region=RegionRule.parse("frame")), tmp_path / "again", same_regions=False)
    assert [row.frame for row in rows] == list(range(1, 19, 2)) and {row.region for row in rows} == {"[0, 0, 640, 480]"}
    record = json.loads((tmp_path / "again/session.json").read_text())
    assert record["reanalysis"] == {"session": "s", "frames": 18, "whole": 0, "lossy": 9}
    words = RecordedSession.open(tmp_path / "again").record.reanalysis.in_words
    assert words == "9 of 18 frames of s, 0 exactly, 9 from JPEG, which loses a little; 9 were not kept"
    shutil.rmtree(session / "raw")
    with pytest.raises(InputError, match="kept none of its 18 original frames; film with --keep whole"):
        RecordedFrames(RecordedSession.open(session))


def test_pictures_that_are_added_count_once_wherever_their_names_sort(config: SessionConfig, tmp_path: Path) -> None:
    """Frames went on by their position: where 10.png was added to 2.png and 3.png, 3.png was analysed again instead of it."""
    stills = tmp_path / "stills"
    stills.mkdir()

    def add(name: str, level: int) -> None:
        cv2.imwrite(str(stills / name), np.full((48, 64, 3), level, np.uint8))

    config = replace(config, protocol=None, keep=KeepRule("whole"), notes={"source": str(stills)})
    add("2.png", 20)
    add("3.png", 30)
    with open_source(str(stills)) as source:
        session = run_session(source, config, tmp_path / "session")
    add("10.png", 100)
    (stills / "2.png").unlink()
    with open_source(str(stills)) as source:
        run_session(source, config, session, resume=True)
    levels = [int(cv2.imread(str(session / f"raw/{number:06d}.png"))[0, 0, 0]) for number in (1, 2, 3)]
    assert levels == [20, 30, 100] and [row.frame for row in read_rows(session)] == [1, 2, 3]
    record = SessionRecord.of(session)
    assert record.files == ["2.png", "3.png", "10.png"] and record.continued[0].after_frame == 2
    assert record.continued[0].time_s == read_rows(session)[1].time_s  # from which the second video's times count


def test_what_a_profile_and_a_detector_told_is_known_again(
    config: SessionConfig, rig: VirtualRig, tmp_path: Path
) -> None:
    layouts = [layout.printed((0.98, 0.97)) for layout in config.layouts]
    config = replace(config, protocol=None, layouts=layouts, keep=KeepRule("every", 9), label=None)
    session = run_session(rig, config, tmp_path / "session")
    record = SessionRecord.of(session)
    assert {sheet.scale for sheet in record.sheets} == {(0.98, 0.97)}
    assert recorded_settings(session, record)["print_scale"] == (0.98, 0.97)
    recorded = RecordedSession.open(session)
    of_detector = [replace(row, model="detector", region=None, label="person") for row in recorded.rows]
    both = [replace(row, label=None) for row in recorded.rows] + of_detector
    assert {frame.label for frame in RecordedFrames(replace(recorded, rows=both))} == {"person"}


def test_both_from_the_command_line(
    rig: VirtualRig, shared_sheet_pdf: Path, shown, tmp_path: Path, command, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no other test's latest run
    plan = 'conditions = ["patch", "grey"]\ndistances_m = [0.4]\nyaws_deg = [0]\nseconds = 0.3\n'
    (tmp_path / "plan.toml").write_text(plan + "distance_tolerance = 0.5\nyaw_tolerance_deg = 45\n")
    steps = [step.condition for step in Director(Protocol.load(tmp_path / "plan.toml")).steps]
    stills = tmp_path / "stills"
    stills.mkdir()

    def show(kind: str) -> None:
        for number, frame in enumerate(shown[kind]):
            cv2.imwrite(str(stills / f"{steps.index(kind)}-{number}.png"), frame.image[..., ::-1])

    session, options = tmp_path / "session", ("--headless", "--no-cam", "--source", stills)
    show(steps[0])
    models = ("--classifier", "efficientnet_lite0", "--sheet", shared_sheet_pdf, "--keep", "whole")
    done = command("live", *options, *models, "--plan", tmp_path / "plan.toml", "--out", session)
    assert done.code == 0, done.err
    resume = ("live", "--resume", session, "--headless", "--no-cam")
    done = command(*resume)
    assert done.code == 0 and "nothing new was filmed: the session has all frames of" in done.err
    assert len(read_rows(session)) == 3  # which were counted again
    assert json.loads((session / "session.json").read_text())["captured"] == 3
    show(steps[1])
    command(*resume, "--roi", "frame").assert_refused("another setting of region (center, now frame); give --roi")
    command(*resume, "--out", tmp_path).assert_refused("as it was filmed; omit --out")
    done = command(*resume)
    assert done.code == 0, done.err
    rows = read_rows(session)
    assert len(rows) == 6 and json.loads((session / "session.json").read_text())["steps_done"] == [1, 2]
    command(*resume).assert_refused("all steps of the plan")

    out = command("replay", session, "--no-cam", "--defence", "median", "--out", tmp_path / "again")
    assert out.code == 0 and "analysed again: 6 of 6 frames of" in out.out and "exactly" in out.out
    new = read_rows(tmp_path / "again")
    assert {row.model for row in new} == {"efficientnet_lite0", "efficientnet_lite0+median"} and len(new) == 12
    same = [row for row in new if row.model == "efficientnet_lite0"]
    assert numbers(same) == numbers(rows) and {row.step for row in new} == {1, 2}
    record = json.loads((tmp_path / "again/session.json").read_text())
    assert record["plan"] and record["steps_done"] == [1, 2] and record["source"] == str(stills)
    assert record["reanalysis"]["session"] == "../session"
    write_report(tmp_path / "again")


def test_a_classifier_sees_no_distortion_of_a_known_lens(
    config: SessionConfig, rig: VirtualRig, shared_sheet_pdf: Path, tmp_path: Path
) -> None:
    straight = rig.intrinsics
    barrel = replace(straight, distortion=(-0.3, 0.05, 0.0, 0.0, 0.0))
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((480, 640, 3), (30, 30, 220), np.uint8))
    behind, pose = [(wall, None)], RigPose(0.35, 0.05, 0.02, 10, 5, 0)
    bent, flat = (VirtualRig(shared_sheet_pdf, behind, lens=lens, truth=rig.truth) for lens in (barrel, straight))
    images = [each.render(0, pose, each.background(wall), np.random.default_rng(0)) for each in (bent, flat)]
    config = replace(
        config, protocol=None, intrinsics=barrel, keep=KeepRule("whole"), region=RegionRule.parse("sheet:0.3")
    )
    with open_analyser(config.classifier, None, bent.layouts, config.lens, BLUE, rule=config.region) as analyser:
        located = analyser.locate(Frame(images[0], 0.0, 1))
    found = find_sheet(images[1], flat.layouts, straight)
    assert found is not None and located.corners_px is not None and located.pose is not None
    assert np.abs(located.corners_px - found.patch_corners_px).max() < 0.7
    assert np.abs(located.pose.patch_corners_px - found.patch_corners_px).max() > 3  # as the frame itself shows it

    notes = session_notes(tmp_path / "session", None, shared_sheet_pdf)
    session = run_session(Again([Frame(images[0], 0.0, 1)]), replace(config, notes=notes), tmp_path / "session")
    recorded = RecordedSession.open(session)
    seen = recorded.seen(recorded.rows[0])
    assert recorded.record.undistorted and seen is not None and np.array_equal(seen, located.seen)
    again = recorded.pose(seen, recorded.rows[0])
    # What is drawn lies where the classifier sees it: the outline's yellow along the patch's edges without the distortion.
    drawn = read_picture(next((session / "frames").glob("*.jpg")))
    middles = ((located.corners_px + np.roll(located.corners_px, -1, axis=0)) / 2).round().astype(int)
    assert all(np.abs(drawn[y, x].astype(int) - (240, 228, 66)).max() < 80 for x, y in middles)
    assert again is not None and np.abs(again.patch_corners_px - located.corners_px).max() < 0.7
    # A detector sees the frame as the camera took it.
    (model,) = recorded.record.models
    of_detector = recorded.record.changed(models=[model.to_dict() | {"task": "detect"}])
    detected = replace(recorded, record=of_detector)
    bent_frame = detected.seen(detected.rows[0])
    assert bent_frame is not None and np.array_equal(bent_frame, images[0])
    here = detected.pose(bent_frame, detected.rows[0])
    assert here is not None and np.abs(here.patch_corners_px - located.pose.patch_corners_px).max() < 0.7
