"""Sessions end to end on the tiny victim, and what survives when something goes wrong."""

import csv
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from reported import made_up
from support import BLUE, ColourDetector, CommandResult, assert_follows_schema, colour_detector, frame_row

from calibration.common.errors import InputError, PhyspatchError
from calibration.common.signals import Terminated, ended_in_order, exit_code
from captures.commands.session_output import show_session
from captures.inference.region import RegionRule
from captures.protocol.plan import EVERYWHERE
from captures.protocol.pose_map import PoseMap
from captures.report import write_report
from captures.results.aggregation import Tally
from captures.session import live_session
from captures.session.clips import ClipCutter
from captures.session.live_session import SessionConfig, film_rig, run_session
from captures.session.recorder import KeepRule
from captures.sources.frame import Event, Frame
from captures.sources.opening import FileSource, open_source
from captures.sources.virtual_rig import VirtualRig
from captures.storage import COLUMNS, FrameRow, SessionStore, export_csv, read_events, read_exported_rows, read_rows
from captures.viewers.controls import Command, SessionStatus
from captures.viewers.overlay import heads_up
from captures.viewers.window import SessionWindow
from physpatch.defences import defended
from physpatch.evaluation.figures.pictures import VideoFile


class Pictures(FileSource):
    """Pictures from memory, so many seconds apart."""

    fps = 10.0

    def __init__(self, pictures, apart_s: float = 0.1) -> None:
        self._pictures, self._apart_s = pictures, apart_s

    def __iter__(self):
        for i, picture in enumerate(self._pictures):
            yield Frame(picture, i * self._apart_s, i + 1)


def video_times(session: Path) -> list[float]:
    """When each frame of the session's video is shown."""
    with av.open(str(session / "video.mp4")) as file:
        return [round(float(frame.time), 3) for frame in file.decode(video=0)]


@pytest.fixture(scope="module")
def rig(shared_sheet_pdf: Path, tmp_path_factory: pytest.TempPathFactory) -> VirtualRig:
    """It films the same frames each time."""
    folder = tmp_path_factory.mktemp("walls")
    for name, color in {"red": (30, 30, 220), "green": (30, 220, 30)}.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((480, 640, 3), color, np.uint8))
    return VirtualRig(
        shared_sheet_pdf,
        [(folder / "red.png", "red thing"), (folder / "green.png", "green thing")],
        clips=2,
        frames_per_clip=2,
    )


@pytest.fixture
def plan(tiny_victim, rig: VirtualRig) -> SessionConfig:
    return SessionConfig(classifier=tiny_victim, layouts=rig.layouts, intrinsics=rig.intrinsics, target=BLUE)


def test_a_session_leaves_everything_it_promises(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    session = run_session(rig, plan, tmp_path / "session")
    rows = read_rows(session)
    assert len(rows) == 12 and {row.condition for row in rows} == {"patch", "grey", "random"}
    assert all(row.distance_m and 0.2 < row.distance_m < 0.6 and row.px_per_cell and row.patch_px for row in rows)
    assert all(row.target_score is not None and row.heat_in_patch is not None for row in rows)
    assert {row.success for row in rows} <= {0, 1}
    assert all(row.success == int(row.top1 == "blue thing") for row in rows)
    with open(session / "frames.csv", newline="") as stream:
        reader = csv.DictReader(stream)
        promised = (
            "frame,time_s,condition,clip,model,top1,top1_score,target_score,success,"
            "distance_m,yaw_deg,pitch_deg,roll_deg,patch_px,px_per_cell"
        )
        assert reader.fieldnames is not None and reader.fieldnames[:15] == promised.split(",")
        assert len(list(reader)) == 12
    record = json.loads((session / "session.json").read_text())
    assert_follows_schema(record, "session")
    assert record["status"] == "ended" and record["frames"] == 12 and record["target"] == "blue thing"
    assert record["scenes"] == [0, 1]  # as the rig says
    assert not record["intrinsics_assumed"]
    assert len(video_times(session)) == 12
    assert len(list((session / "frames").glob("*.jpg"))) == 6  # the first of each clip and condition


def test_a_network_that_answers_with_nothing_finite_ends_the_session(
    rig: VirtualRig, plan: SessionConfig, tmp_path: Path
) -> None:
    """What it answered before is kept, and can be reported."""
    seen = []

    def fails(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images if len(seen) < 6 else images * torch.nan

    with pytest.raises(PhyspatchError, match=r"tiny answers with scores that are not finite.*models --check"):
        run_session(rig, replace(plan, classifier=replace(plan.classifier, guard=fails)), tmp_path / "session")
    assert len(read_rows(tmp_path / "session")) == 5
    assert json.loads((tmp_path / "session/session.json").read_text())["status"] == "failed"
    assert write_report(tmp_path / "session").is_file()


class OneBox(ColourDetector):
    """Sees one blue thing in every frame, at ``box`` in pixels of a frame 640 wide; surer where there is more blue."""

    box: tuple[float, float, float, float]

    def predictions(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        blue = self.raw(images)[:, 2].mean(dim=(1, 2))
        place = 96 / 640 * torch.tensor(self.box) + torch.tensor([0.0, 12, 0, 12])  # 72 pixels high, up to 96
        probabilities = torch.stack([0 * blue, 0.8 + 0.01 * blue], dim=1)
        return place.expand(len(images), 1, 4), probabilities[:, None]


def one_box(*box: float) -> OneBox:
    detector = OneBox(**(vars(colour_detector()) | {"name": "boxes", "categories": ("red thing", "blue thing")}))
    object.__setattr__(detector, "box", box)
    return detector


def test_a_detector_has_rows_of_its_own_and_counts_at_the_patch(rig, plan: SessionConfig, tmp_path: Path) -> None:
    def film(name: str, *box: float) -> FrameRow:
        session = run_session(rig, replace(plan, detector=one_box(*box), max_frames=1), tmp_path / name)
        rows = {row.model: row for row in read_rows(session)}
        assert rows.keys() == {"tiny", "boxes"}
        return rows["boxes"]

    row = film("elsewhere", 10, 20, 60, 70)
    assert row.top1 == "blue thing"
    assert row.success == 0 and row.heat_in_patch is not None and 0 <= row.heat_in_patch <= 1
    (found,) = json.loads(row.boxes or "")
    assert found[0] == "blue thing" and 0.8 <= found[1] < 0.82 and found[2:] == pytest.approx([10, 20, 60, 70], abs=1)
    corners = np.array(json.loads(row.patch_xy or ""))
    at_patch = film("here", *corners.min(axis=0), *corners.max(axis=0))
    assert at_patch.success == 1


def test_a_defended_classifier_has_rows_of_its_own_and_sees_the_same(rig, plan: SessionConfig, tmp_path: Path) -> None:
    defences = [defended(plan.classifier, name) for name in ("median", "jpeg")]
    session = run_session(rig, replace(plan, defended=defences, max_frames=3), tmp_path / "session")
    rows = read_rows(session)
    assert [row.model for row in rows[:3]] == ["tiny", "tiny+jpeg", "tiny+median"] and len(rows) == 9
    assert len({row.region for row in rows[:3]}) == 1 and len({row.target_score for row in rows[:3]}) > 1
    assert rows[0].heat_in_patch is not None and rows[1].heat_in_patch is None and rows[1].top5
    models = json.loads((session / "session.json").read_text())["models"]
    assert [(m["name"], m.get("defence")) for m in models] == [
        ("tiny", None),
        ("tiny+median", "median"),
        ("tiny+jpeg", "jpeg"),
    ]


def test_an_untargeted_success_needs_the_truth(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    told = read_rows(run_session(rig, replace(plan, target=None), tmp_path / "told"))
    assert all(row.success == int(row.top1 != row.label) for row in told)
    for frame in (tmp_path / "still", tmp_path / "labelled"):
        frame.mkdir()
        cv2.imwrite(str(frame / "a.png"), np.full((90, 120, 3), (200, 20, 20), np.uint8))
    with open_source(str(tmp_path / "still")) as source:
        (row,) = read_rows(run_session(source, replace(plan, target=None), tmp_path / "untold"))
    assert (row.success, row.condition, row.distance_m) == (None, "none", None)
    with open_source(str(tmp_path / "labelled")) as source:
        (row,) = read_rows(
            run_session(source, replace(plan, target=None, label="red thing", condition="grey"), tmp_path / "l")
        )
    assert (row.success, row.condition, row.label) == (1, "grey", "red thing")
    with open_source(str(tmp_path / "labelled")) as source:
        config = replace(plan, target=None, label="stop sign", condition="grey")
        (row,) = read_rows(run_session(source, config, tmp_path / "lacking"))
    assert (row.success, row.label) == (None, None)  # it cannot answer with a class that only a detector has


@pytest.mark.parametrize("how", ["person", "interrupt", "failure"])
def test_what_was_captured_is_kept_however_it_ends(
    how: str, rig: VirtualRig, plan: SessionConfig, tmp_path: Path
) -> None:
    seen = 0

    def on_frame(_analysis, _picture) -> bool:
        nonlocal seen
        seen += 1
        if seen == 3 and how == "interrupt":
            raise KeyboardInterrupt
        if seen == 3 and how == "failure":
            raise PhyspatchError("the camera was unplugged")
        return not (seen == 3 and how == "person")

    session = tmp_path / "session"
    if how == "failure":
        with pytest.raises(PhyspatchError, match="unplugged"):
            run_session(rig, plan, session, on_frame=on_frame)
    else:
        run_session(rig, plan, session, on_frame=on_frame)
    assert len(read_rows(session)) == 3
    status = json.loads((session / "session.json").read_text())["status"]
    assert status == {"person": "stopped by the person", "interrupt": "interrupted", "failure": "failed"}[how]
    assert (session / "frames.csv").read_text().count("\n") == 4
    assert len(video_times(session)) == 3
    assert not any(m._forward_hooks for m in plan.classifier.module.modules())
    assert write_report(session).is_file()


def test_a_nearly_full_disk_ends_the_session_in_words(rig, plan, tmp_path: Path, monkeypatch) -> None:
    free = iter([10**9, 10**9, 10**6])
    monkeypatch.setattr("captures.session.recorder.shutil.disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(PhyspatchError, match=r"only 1 MB left on the disk of .*; earlier frames are kept"):
        run_session(rig, plan, tmp_path / "session")
    assert len(read_rows(tmp_path / "session")) == 3
    assert len(video_times(tmp_path / "session")) == 2
    assert json.loads((tmp_path / "session/session.json").read_text())["status"] == "failed"


def test_rows_are_on_disk_as_they_happen(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    counts = []

    def on_frame(_analysis, _picture) -> bool:
        with sqlite3.connect(tmp_path / "session/session.db") as other:  # a second reader, while it is being written
            counts.append(other.execute("SELECT COUNT(*) FROM frames").fetchone()[0])
        other.close()
        return True

    run_session(rig, replace(plan, max_frames=4), tmp_path / "session", on_frame=on_frame)
    assert counts == [1, 2, 3, 4]


def test_a_live_video_keeps_time(plan: SessionConfig, tmp_path: Path) -> None:
    """Each frame of the video has the time at which it was captured."""
    run_session(Pictures([np.zeros((48, 64, 3), np.uint8)] * 3, apart_s=0.5), plan, tmp_path / "session")
    assert video_times(tmp_path / "session") == [0.0, 0.5, 1.0]


def test_what_cannot_be_read_is_left_out_and_counted(plan: SessionConfig, tmp_path: Path) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    for i in range(4):
        cv2.imwrite(str(stills / f"{i}.jpg"), np.full((48, 64, 3), (200, 20, 20), np.uint8))
    (stills / "1.jpg").write_bytes((stills / "1.jpg").read_bytes()[:-300])
    with open_source(str(stills)) as source:
        session = run_session(source, plan, tmp_path / "session")
    assert [row.frame for row in read_rows(session)] == [1, 3, 4]
    (event,) = read_events(session)
    assert event.kind == "unreadable" and "1.jpg (it is damaged or cut off" in event.words
    record = json.loads((session / "session.json").read_text())
    assert_follows_schema(record, "session")
    assert (record["status"], record["captured"], record["frames"], record["unreadable"]) == ("ended", 4, 3, 1)
    assert "unreadable stills" in write_report(session).read_text()


def test_files_say_nothing_that_cannot_be_stored(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(0, "patch", 0, "a\ud800b")], [Event(0.0, "lost", "of \udcff.mp4")])
    assert read_rows(tmp_path)[0].top1 == "a\ufffdb" and read_events(tmp_path)[0].words == "of \ufffd.mp4"


def test_of_two_sessions_in_one_folder_one_is_refused(tmp_path: Path) -> None:
    with (
        SessionStore(tmp_path / "session.db"),
        pytest.raises(InputError, match="already contains a session; use another --out"),
    ):
        SessionStore(tmp_path / "session.db")


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP])
def test_a_session_that_the_system_ends_is_whole(
    asked: signal.Signals, rig: VirtualRig, plan: SessionConfig, tmp_path: Path
) -> None:
    def on_frame(analysis, _picture) -> bool:
        if analysis.frame.number == 3:
            os.kill(os.getpid(), asked)
            os.kill(os.getpid(), signal.SIGTERM)  # impatient
        return True

    inherited = signal.signal(asked, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with pytest.raises(Terminated) as ended, ended_in_order():
            run_session(rig, plan, tmp_path / "session", on_frame=on_frame)
        assert exit_code(ended.value) == 128 + asked and signal.getsignal(asked) is signal.SIG_DFL
    finally:
        signal.signal(asked, inherited)
    assert json.loads((tmp_path / "session/session.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "session/frames.csv").read_text().count("\n") == 4
    assert len(video_times(tmp_path / "session")) == 3


def test_a_film_that_is_interrupted_does_not_count_as_whole(
    rig: VirtualRig, tiny_victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: VirtualRig):
        yield from islice(frames(self), 3)
        raise KeyboardInterrupt

    frames = VirtualRig.__iter__
    monkeypatch.setattr(VirtualRig, "__iter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        film_rig(rig, tiny_victim, BLUE, tmp_path / "session")
    assert json.loads((tmp_path / "session/session.json").read_text())["status"] == "interrupted"
    assert len(read_rows(tmp_path / "session")) == 3


@pytest.mark.parametrize("ending", [(live_session._Session, "account"), (VideoFile, "__exit__")])
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_session_that_is_asked_to_end_while_it_ends_is_finished_first(
    asked: signal.Signals,
    ending: tuple[type, str],
    rig: VirtualRig,
    plan: SessionConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*arguments: object) -> object:
        os.kill(os.getpid(), asked)
        result = undisturbed(*arguments)
        done.append(ending)
        return result

    undisturbed, done = getattr(*ending), []
    monkeypatch.setattr(*ending, interrupted)
    inherited = signal.signal(asked, signal.default_int_handler if asked == signal.SIGINT else signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt) as ended, ended_in_order():
            run_session(rig, replace(plan, max_frames=2), tmp_path / "session")
    finally:
        signal.signal(asked, inherited)
    assert exit_code(ended.value) == 128 + asked and done == [ending]
    assert json.loads((tmp_path / "session/session.json").read_text())["status"] == "ended"
    assert (tmp_path / "session/frames.csv").read_text().count("\n") == 3
    assert len(video_times(tmp_path / "session")) == 2


def test_sessions_are_not_overwritten(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    run_session(rig, replace(plan, max_frames=1), tmp_path / "session")
    with pytest.raises(InputError, match="already contains a session"):
        run_session(rig, plan, tmp_path / "session")


def test_what_was_lost_is_said_with_the_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = made_up(tmp_path / "s", 3)
    kinds = ["lost", "unreadable", "mark", "lost", "lost", "lost"]
    with SessionStore(session / "session.db", resume=True) as store:
        store.add([], [Event(float(n), kind, f"loss {n}") for n, kind in enumerate(kinds)])
    show_session(session)
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Next")]
    assert said[:3] == [f"not analysed, at {n}.0 s: loss {n}" for n in (0, 1, 3)]
    assert said[3:] == [f"2 more are among the events of {session}"]


def test_words_on_a_large_frame_are_large() -> None:
    """On a phone's frames they could not be read."""
    bands = {}
    for width in (320, 640, 1280, 3840):
        canvas = np.full((width * 3 // 4, width, 3), 200, np.uint8)
        heads_up(canvas, [("cat 90 %", (255, 255, 255)), ("dog", (255, 255, 255))])
        dark, white = (canvas == 90).all(2), (canvas > 230).all(2)
        assert white.any() and not white[dark.any(1).sum() :].any()
        bands[width] = dark.any(1).sum()
    assert bands == {320: 52, 640: 52, 1280: 104, 3840: 312}


def test_a_long_instruction_is_whole_on_a_narrow_frame() -> None:
    """The name of the light was cut off, at the end of the step."""
    canvas = np.full((640, 480, 3), 200, np.uint8)
    heads_up(
        canvas, [("7 of 60: shuffled sheet at 0.5 m, turned 30 deg, right edge nearer, daylight", (255, 255, 255))]
    )
    columns = (canvas[:26] > 230).all(2).any(0).nonzero()[0]
    assert columns[0] >= 8 and 440 < columns[-1] < 473


def test_the_overlay_draws_and_leaves_the_frame_alone(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    came = [frame.image for frame, _ in zip(rig, range(2), strict=False)]

    def on_frame(analysis, picture) -> bool:
        before = came[analysis.frame.number - 1]
        np.testing.assert_array_equal(analysis.frame.image, before)
        assert picture.shape == before.shape and np.abs(picture.astype(int) - before).mean() > 5
        return True

    run_session(rig, replace(plan, max_frames=2), tmp_path / "session", on_frame=on_frame)


class Asking:
    """A viewer that asks for something at each frame number given."""

    def __init__(self, **asked: Command | None) -> None:
        self._asked = {int(frame.lstrip("f")): command for frame, command in asked.items()}
        self._due: list[Command] = []
        self.seen: list[tuple[bool, str]] = []

    def show(self, analysis, _picture, status) -> None:
        self.seen.append((status.recording, status.region))
        if command := self._asked.get(analysis.frame.number):
            self._due.append(command)

    def poll(self, _status) -> list[Command]:
        due, self._due = self._due, []
        return due


def test_what_people_ask_is_done_and_noted(plan: SessionConfig, tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), (200, 20, 20), np.uint8)] * 40
    asking = Asking(
        f3=Command("mark", "a cloud"),
        f6=Command("pause"),
        f12=Command("resume"),
        f18=Command("region", "8,8,32"),
        f22=Command("condition", "grey"),
        f26=Command("light", "lamp"),
        f32=Command("stop"),
    )
    session = run_session(Pictures(pictures), plan, tmp_path / "session", viewers=[asking])
    rows, events = read_rows(session), read_events(session)
    kinds = ["mark", "pause", "resume", "region", "condition", "light", "stop"]
    assert [event.kind for event in events] == kinds
    assert [event.words for event in events if event.words] == ["a cloud", "8,8,32", "grey", "lamp"]
    record = json.loads((session / "session.json").read_text())
    assert record["status"] == "stopped by the person" and record["frames"] == len(rows)
    assert record["frames_while_paused"] == 6 and not {r.frame for r in rows} & set(range(7, 13))
    assert [json.loads(r.region or "") for r in (rows[0], rows[-1])] == [[8, 0, 48, 48], [8, 8, 32, 32]]
    assert rows[0].condition == "none" and rows[-1].condition == "grey"
    assert rows[0].light is None and rows[-1].light == "lamp" and rows[-1].clip > rows[0].clip
    assert (False, "center") in asking.seen


def test_arrow_keys_are_no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The left arrow, 0xFF51, ended sessions as a Q, and Insert, 0xFF63, chose another region as a c."""
    pressed = iter([-1, 0xFF51, 0xFF63, 0x100000 | ord("m"), ord("\n"), ord("q")])
    for name in ("namedWindow", "setMouseCallback", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: next(pressed))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    status = SessionStatus(Tally(None), PoseMap(EVERYWHERE), None, "center")
    with SessionWindow() as window:
        asked = [[command.do for command in window.poll(status)] for _ in range(6)]
    assert asked == [[], [], [], ["mark"], ["confirm"], ["stop"]]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("all", list(range(1, 13))), ("5", [1, 6, 11]), ("none", []), ("key", [1, 11])],
)
def test_frames_are_kept_as_they_came(keep: str, kept: list[int], plan: SessionConfig, tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), (200, 10 * i, 20), np.uint8) for i in range(12)]
    plan = replace(plan, keep=KeepRule.parse(keep))
    session = run_session(Pictures(pictures), plan, tmp_path / "session")
    files = sorted((session / "raw").glob("*.jpg"))
    assert [int(file.stem) for file in files] == kept
    for file in files:  # without anything drawn on it
        picture = cv2.imread(str(file))[..., ::-1].astype(int)
        assert np.abs(picture - pictures[int(file.stem) - 1]).max() <= 4
    with pytest.raises(InputError, match="expected all, whole, key, none, or a number"):
        KeepRule.parse("0")


def test_a_row_tells_all_that_a_frame_showed(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    rows = read_rows(run_session(rig, replace(plan, region=RegionRule.parse("sheet:0.2")), tmp_path / "session"))
    for one in rows:
        top5 = json.loads(one.top5 or "")
        assert top5[0] == [one.top1, one.top1_score] and len(top5) == 4
        assert [score for _, score in top5] == sorted((score for _, score in top5), reverse=True)
        corners = np.array(json.loads(one.patch_xy or ""), np.float32)
        assert cv2.contourArea(corners) == pytest.approx(one.patch_px, rel=0.01)
        _, _, width, height = json.loads(one.region or "")
        assert width == height and one.patch_px / width**2 == pytest.approx(0.2, rel=0.05)
    record = json.loads((tmp_path / "session/session.json").read_text())
    assert record["region"] == "sheet:0.2" and record["captured"] == len(rows) and record["dropped"] == 0


def test_sessions_of_the_first_schema_are_still_read(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    session = run_session(rig, replace(plan, max_frames=4), tmp_path / "session")
    rows = read_rows(session)
    added = ("top5", "region", "patch_xy", "light", "step", "delay_s")
    with closing(sqlite3.connect(session / "session.db")) as connection, connection:
        connection.execute("DROP TABLE events")
        for name in added:
            connection.execute(f"ALTER TABLE frames DROP COLUMN {name}")
        connection.execute("PRAGMA user_version=1")
    assert read_events(session) == []
    assert read_rows(session) == [replace(r, **dict.fromkeys(added)) for r in rows]
    assert write_report(session).is_file()


def test_takes_of_a_camera_are_clips() -> None:
    cutter = ClipCutter()
    shown = [("none", 0), ("patch", 0.1), ("patch", 0.2), ("none", 0.5), ("patch", 0.9), ("grey", 1.0), ("grey", 1.1)]
    shown += [("none", 3), ("grey", 3.1), ("grey", 6), ("patch", 6.1)]
    assert [cutter.number(kind, at) for kind, at in shown] == [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4]
    slow = ClipCutter()  # a frame each two seconds, and a pause
    times = [0, 2, 4, 6, 8, 30, 32]
    assert [slow.number("patch", at) for at in times] == [0, 0, 0, 0, 0, 1, 1]


def test_markers_decide_before_the_person_does(rig: VirtualRig, plan: SessionConfig, tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    folder.mkdir()
    for i, frame in enumerate(rig):
        cv2.imwrite(str(folder / f"{i:02d}.png"), frame.image[..., ::-1])
    cv2.imwrite(str(folder / "99.png"), np.full((480, 640, 3), 90, np.uint8))
    with open_source(str(folder)) as source:
        rows = read_rows(run_session(source, replace(plan, condition="random"), tmp_path / "session"))
    assert [r.condition for r in rows[:6]] == ["patch", "patch", "grey", "grey", "random", "random"]
    assert rows[-1].condition == "random" and rows[-1].distance_m is None


def test_a_source_without_a_frame_is_said(plan: SessionConfig, tmp_path: Path) -> None:
    with pytest.raises(PhyspatchError, match="ended before its first frame"):
        run_session(Pictures([]), plan, tmp_path / "session")


def test_the_store_reads_back_and_exports(tmp_path: Path) -> None:
    rows = [frame_row(i, "patch", i, "red thing", success=1) for i in range(5)]
    with SessionStore(tmp_path / "session.db") as store:
        for one in rows:
            store.add([one])
    assert read_rows(tmp_path) == rows
    assert export_csv(tmp_path).read_text().splitlines()[0] == ",".join(COLUMNS)


def test_store_guards(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no session\.db"):
        read_rows(tmp_path)
    (tmp_path / "session.db").write_bytes(b"SQLite format 3\x00" + b"rubbish" * 400)
    with pytest.raises(InputError, match="is damaged"):
        read_rows(tmp_path)
    (tmp_path / "session.db").unlink()
    with SessionStore(tmp_path / "session.db"):
        pass
    with sqlite3.connect(tmp_path / "session.db") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(InputError, match="newer physpatch"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("top1_score", "high", "frame 2, column top1_score: expected a valid number, got 'high'"),
        ("yaw_deg", b"5", "frame 2, column yaw_deg: expected a valid number, got b'5'"),
        ("distance_m", float("inf"), "column distance_m: expected a finite number, got inf"),
        ("time_s", None, "column time_s: expected a valid number, got None"),
        (
            "condition",
            "gray",
            "column condition: expected 'patch', 'grey', 'random', 'shuffled', 'drawing' or 'none', got 'gray'",
        ),
        ("boxes", "[1]", r"column boxes: expected a valid tuple, got '\[1\]'"),
        ("region", "[0, 0, 9, 0]", "column region: expected greater than 0"),
        ("patch_xy", "inf", "column patch_xy: expected JSON, got 'inf'"),
        ("patch_px", -1.0, "column patch_px: expected greater than or equal to 0"),
        ("camera", '{"gain": "x"}', "column camera: expected a valid number"),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_named(column: str, value: object, words: str, tmp_path: Path) -> None:
    """SQLite itself takes any value in any column."""
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(1, "patch", 0, "red thing"), frame_row(2, "grey", 1, "red thing")])
    with closing(sqlite3.connect(tmp_path / "session.db")) as connection, connection:
        connection.execute(f"UPDATE frames SET {column} = ? WHERE frame = 2", (value,))
    with pytest.raises(InputError, match=rf"session\.db is damaged \(.*{words}.*\); restore it"):
        read_rows(tmp_path)


def test_a_table_whose_definition_is_no_text_is_damaged(tmp_path: Path) -> None:
    """SQLite then repeats the bytes in its message, which Python cannot decode."""
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(1, "patch", 0, "red thing")])
    path = tmp_path / "session.db"
    content = path.read_bytes()
    assert b"CREATE TABLE frames" in content
    path.write_bytes(content.replace(b"CREATE TABLE frames", b"CREATE TABL\x91 frames"))
    with pytest.raises(InputError, match="is damaged"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (("soon", "mark", ""), "column time_s: expected a valid number, got 'soon'"),
        ((1.0, None, ""), "column kind: expected a valid string"),
        ((1.0, "done", "1: x"), "event at 1 s: words should be the number of a step, got '1: x'"),
        ((1.0, "step", "the third"), "event at 1 s: words should begin with the number of a step, got 'the third'"),
    ],
)
def test_an_event_that_cannot_be_is_named(event: tuple[object, ...], words: str, tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db"):
        pass
    with closing(sqlite3.connect(tmp_path / "session.db")) as connection, connection:
        connection.execute("INSERT INTO events (time_s, kind, words) VALUES (?, ?, ?)", event)
    with pytest.raises(InputError, match=rf"is damaged \(.*{words}"):
        read_events(tmp_path)


def test_rows_of_a_table_are_checked_too(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add(
            [frame_row(1, "patch", 0, "red thing"), frame_row(2, "patch", 0, "")]
        )  # a detector that found nothing
    file = export_csv(tmp_path)
    assert read_exported_rows(tmp_path) == read_rows(tmp_path)
    file.write_text(file.read_text().replace("patch", "gray"))
    assert read_exported_rows(tmp_path) == []


def test_a_full_disk_is_said_and_the_rows_before_are_kept(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(0, "patch", 0, "red thing")])
        store._connection.execute("PRAGMA max_page_count=4")  # SQLite's own way to meet a full disk
        with pytest.raises(PhyspatchError, match=r"can no longer be written .*full.*; earlier frames are kept"):
            for i in range(1, 500):
                store.add([frame_row(i, "patch", 0, "red thing " * 50)])
    kept = read_rows(tmp_path)
    assert len(kept) >= 1 and kept[0].top1 == "red thing"


def test_a_region_outside_of_the_frame_is_refused_and_the_session_goes_on(plan: SessionConfig, tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), (200, 20, 20), np.uint8)] * 12
    asking = Asking(f3=Command("region", "900,0,100"))
    rows = read_rows(run_session(Pictures(pictures), plan, tmp_path / "session", viewers=[asking]))
    assert len(rows) == 12 and {row.region for row in rows} == {"[8, 0, 48, 48]"}
    (event,) = read_events(tmp_path / "session")
    assert (event.kind, event.words) == ("refused", "region 900,0,100 is outside the frame of 64x48")
    with pytest.raises(InputError, match="is outside the frame"):
        run_session(Pictures(pictures), replace(plan, region=RegionRule.parse("900,0,100")), tmp_path / "other")
    assert not (tmp_path / "other").exists()  # so that the right region finds the folder free


@pytest.mark.parametrize(
    ("options", "total"),
    [((), 18), (("--max-frames", 5), 5), (("--every", 4), 5), (("--every", 4, "--max-frames", 90), 5)],
)
def test_the_bar_of_a_rig_ends_where_the_session_does(
    options: tuple[object, ...],
    total: int,
    shared_sheet_pdf: Path,
    tmp_path: Path,
    command: Callable[..., CommandResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where no other run is the latest
    totals = []
    monkeypatch.setattr("captures.viewers.terminal.TerminalViewer", lambda _, total, **__: totals.append(total))
    monkeypatch.setattr("captures.session.live_session.run_session", lambda *_, **__: None)
    monkeypatch.setattr("captures.commands.live.show_session", lambda *_: None)
    rig = ("--source", "virtual", "--sheet", shared_sheet_pdf, "--clips", 2, "--classifier", "efficientnet_lite0")
    done = command("live", *rig, "--headless", "--no-cam", "--out", tmp_path / "session", *options)
    assert done.code == 0 and totals == [total], done.err
