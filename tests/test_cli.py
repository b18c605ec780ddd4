"""The door: the whole loop with real weights, every command's help, and one clear line for every bad input."""

import csv
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, closing, redirect_stderr, redirect_stdout, suppress
from functools import partial
from http.cookiejar import CookieJar
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from support import assert_follows_schema
from torchvision import models
from websockets.sync.client import connect

import cli
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.rig_profile import RigProfile
from calibration.common.files import file_sha256
from calibration.common.text import number_of
from calibration.sheet.layout import SHEET_KINDS
from calibration.sheet.pdf_reader import carried_layouts, printed_layouts
from captures.results.success import frame_success
from captures.sources.held_sheet import RigPose
from captures.sources.rendered.scene_file import Scene
from captures.sources.virtual_rig import RigTruth, VirtualRig
from captures.storage import read_events, read_rows
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.training.sign_detector.scenes import NAMES, SceneMaker
from physpatch.victims.families.signs.network import trained_network
from physpatch.victims.families.ultralytics_detectors import import_ultralytics
from printouts import print_targets

ROOT = Path(__file__).parents[1]
SCREEN = "until xdotool getmouselocation; do sleep 0.2; done"  # a virtual screen may begin after what is shown on it


def write_long_video(path: Path) -> None:
    """Three thousand small frames: more than any test waits for."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20, (64, 48))
    for i in range(3000):
        writer.write(np.full((48, 64, 3), i % 256, np.uint8))
    writer.release()


@pytest.fixture(scope="module")
def demo(few_views, tmp_path_factory) -> Path:
    """The demo with very few steps and one view of each held-out photograph, in a folder of its own."""
    folder, said = tmp_path_factory.mktemp("demo"), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patched,
        redirect_stdout(said),
        redirect_stderr(said),
        pytest.raises(SystemExit) as exit_,
    ):
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["physpatch", "demo", "--steps", "3", "--clips", "2"])
        cli.main()
    assert not exit_.value.code
    (folder / "stdout.txt").write_text(said.getvalue())
    return folder


def test_the_demo_closes_the_loop(demo: Path) -> None:
    said = (demo / "stdout.txt").read_text()
    for name in (
        "run",
        "sheet.pdf",
        "session",
        "report.html",
        "learned/sheet.pdf",
        "learned/report.html",
        "comparison.html",
    ):
        assert (demo / "demo" / name).exists() and f"demo/{name}" in said
    places = [said.index(f"{i}/6") for i in range(1, 7)]
    assert places == sorted(places)
    assert "efficientnet_lite0: " in said[places[3] : places[4]]  # what was lost, or why two clips are too few to tell
    assert "grey control" in said and "random control" in said  # never the patch's numbers alone
    rows = read_rows(demo / "demo/session")
    assert len(rows) == 18 and {row.condition for row in rows} == {"patch", "grey", "random"}
    assert all(row.label for row in rows) and np.mean([row.distance_m is not None for row in rows]) > 0.8
    before, learned = (TrainConfig.load(demo / f"demo/{folder}run/run.json") for folder in ("", "learned/"))
    assert not before.eot.prints and learned.eot.prints and learned.eot.rotation_deg != before.eot.rotation_deg
    assert (before.patch.cut, learned.patch.cut) == ("square", "sheet")  # as the session showed it
    assert learned.data.backgrounds is None and "the scenes of the virtual rig are held-out photographs" in said
    again = read_rows(demo / "demo/learned/session")
    assert [row.label for row in again] == [row.label for row in rows]
    pairs = [(a.distance_m, b.distance_m) for a, b in zip(rows, again, strict=True) if a.distance_m and b.distance_m]
    assert len(pairs) > 12 and all(b == pytest.approx(a, rel=0.03) for a, b in pairs)  # the same poses
    assert "session" in (demo / "demo/comparison.html").read_text()
    report = (demo / "demo/report.html").read_text()
    assert report.count("data:image/") >= 10 and not re.search(r"(src|href)=[\"']https?:", report)


def test_the_loop_closes_from_a_session(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    """Trained again from what a session saw: like its run, but for ranges, colours, area and scenes."""
    monkeypatch.chdir(demo)
    learn = ("train", "--from-session", "demo/session", "--steps", 2, "--range", "bend=0:0.01")
    filmed = json.loads(Path("demo/session/session.json").read_text())
    Path("demo/session/session.json").write_text(json.dumps(filmed | {"virtual": False}))  # as a camera's is
    done = command(*learn, "--out", tmp_path / "again")
    Path("demo/session/session.json").write_text(json.dumps(filmed))
    assert done.code == 0, done.err
    before, again = (TrainConfig.load(run / "run.json") for run in (Path("demo/run"), tmp_path / "again"))
    same = ("model", "target", "grid", "technique", "data", "batch", "seed")
    assert [again.setting(name) for name in same] == [before.setting(name) for name in same]
    assert again.optimisation.steps == 2 and again.patch.area != before.patch.area
    assert again.eot.prints and not before.eot.prints
    assert again.eot.bend == (0, 0.01) and again.eot.rotation_deg != before.eot.rotation_deg
    scenes = sorted(Path(again.data.backgrounds or "").glob("*.png"))
    assert len(scenes) == 6 and cv2.imread(str(scenes[0])) is not None
    command("train", "--resume", "--out", tmp_path / "again", "--steps", 3)
    assert len((tmp_path / "again/metrics.csv").read_text().splitlines()) == 4
    for extra in (["--no-eot"], ["--profile", "rig.json"]):
        command("train", "--from-session", "demo/session", *extra).assert_refused(
            "--from-session sets its own settings, ranges and colours"
        )
    command("train", "--from-session", "demo/run").assert_refused("demo/run is not a session")


def test_colours_are_calibrated_on_a_sessions_own_sheets(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(demo)
    profile = tmp_path / "rig.json"
    calibrate = ("calibrate", "colour", "--from-session", "demo/session", "--profile", profile)
    done = command(*calibrate, "--light", "desk lamp", "--printer", "press", "--json", "-")
    assert done.code == 0 and "colours measured on the random sheet of demo/session" in done.err
    (light,) = json.loads(done.out)["lights"]
    assert light["name"] == "desk lamp" and light["after"][0] < light["before"][0]
    rig = RigProfile.load(profile)
    assert rig.printer == "press" and [fitted.name for fitted in rig.lights] == ["desk lamp"]
    picture = cv2.imread(str(tmp_path / "rig-light-desk-lamp.png"))
    assert picture is not None and picture.std() > 20
    again = command(*calibrate)
    assert again.code == 0 and "Next: physpatch train --eot --profile" in again.err
    assert [fitted.name for fitted in RigProfile.load(profile).lights] == ["desk lamp", "session"]
    command(*calibrate, "--source", "0").assert_refused("--source films a chart")
    command("calibrate", "colour", "--from-session", "none").assert_refused("none")


def test_reports_are_replayed_printed_and_compared(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(demo)
    made = (demo / "demo/report.html").read_text()
    assert ("Not replayed: efficientnet_lite0" in made) != ("drawn as in training" in made)  # two clips may be too few
    out = tmp_path / "r.html"
    done = command("report", "demo/session", "--no-replay", "--pdf", "--out", out)
    assert (
        done.code == 0 and str(out.with_suffix(".pdf")) in done.out and out.with_suffix(".pdf").stat().st_size > 20_000
    )
    assert "This session was not replayed" in out.read_text()
    shutil.copytree("demo/run", tmp_path / "other")
    done = command("report", "demo/run", tmp_path / "other", "--out", tmp_path / "c.html")
    assert done.code == 0 and "other minus demo/run" in (tmp_path / "c.html").read_text()
    command("report", "demo/run", "demo/session").assert_refused("cannot be compared; give only one kind")
    command("report", "demo/session", "--profile", "none.json").assert_refused("none.json")


def test_a_demo_that_is_interrupted_while_filming_ends(few_views, command, monkeypatch, tmp_path: Path) -> None:
    def interrupted(self: VirtualRig):
        yield from islice(frames(self), 1)
        raise KeyboardInterrupt

    frames = VirtualRig.__iter__
    monkeypatch.setattr(VirtualRig, "__iter__", interrupted)
    done = command("demo", "--steps", "1", "--clips", "2", "--out", str(tmp_path / "demo"))
    assert done.code == 130 and "4/6" not in done.out
    assert not (tmp_path / "demo/learned").exists() and len(read_rows(tmp_path / "demo/session")) == 1


def test_a_second_demo_does_not_overwrite_the_first(demo: Path, command, monkeypatch) -> None:
    monkeypatch.chdir(demo)
    command("demo").assert_refused("demo already contains a demo; delete it or use another --out")


def test_evaluate_prints_the_promised_json_for_several_models(demo: Path, command, monkeypatch) -> None:
    monkeypatch.chdir(demo)
    done = command(
        "evaluate", "demo/run", "--model", "efficientnet_lite0", "--model", "efficientnet_lite1", "--json", "-"
    )
    value = json.loads(done.out)
    assert set(value) == {"efficientnet_lite0", "efficientnet_lite1"}
    run_results = json.loads((demo / "demo/run/run.json").read_text())["results"]
    for result in value.values():
        assert_follows_schema(result, "evaluation")
    lite0 = value["efficientnet_lite0"]
    assert {k: lite0[k] for k in lite0} == {k: run_results[k] for k in lite0}  # the same poses, the same numbers
    assert lite0["n"] == 12 and set(lite0["controls"]) == {"grey", "random", "shuffled"}


def test_print_writes_beside_the_run(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo / "demo/run", tmp_path / "runs/first")
    (tmp_path / "runs/latest").symlink_to("first")
    done = command("print", "--size", "4in", "--paper", "letter", "--controls")
    assert done.code == 0 and "101.6 x 101.6 mm on LETTER, 4 pages" in done.out
    assert "trained as --cut square and is printed as sheet" in done.err
    assert "trained as" not in command("print", "--cut", "square", "--out", "as-trained.pdf").err
    layouts = carried_layouts(tmp_path / "runs/first/sheet.pdf")
    assert [layout.kind for layout in layouts] == ["patch", "grey", "random", "shuffled"]
    done = command("print", tmp_path / "runs/first/patch.json", "--size", "50mm", "--out", "small.pdf")
    assert done.code == 0 and carried_layouts(Path("small.pdf"))[0].patch.width_mm == pytest.approx(50)


def test_a_sign_is_printed_alone_and_with_a_runs_patch(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("print", "--object", "stop", "--size", "15cm")
    assert done.code == 0 and "stop.pdf: the stop sign alone, 150 mm wide" in done.err and Path("stop.pdf").is_file()
    assert "Next" not in done.err  # a session needs markers
    command("print", "--object", "stop", "--condition", "newspaper").assert_refused("a sign alone has no cells")
    Path("runs").mkdir()
    Path("runs/latest").symlink_to(demo / "demo/run")  # it has nothing to do with signs
    done = command("print", "--object", "stop", "--size", "15cm")
    assert "runs/latest was not trained on the stop sign, so the sign is printed alone" in done.err
    assert not Path("runs/latest/sheet-bare.pdf").exists()
    shutil.copytree(demo / "demo/run", "runs/broken")
    Path("runs/broken/patch.json").write_text("{")
    Path("runs/latest").unlink()
    Path("runs/latest").symlink_to("broken")
    done = command("print", "--object", "stop", "--size", "15cm")
    assert done.code == 0 and "runs/latest has no readable patch, so the sign is printed alone" in done.err
    done = command("print", demo / "demo/run", "--object", "stop", "--size", "15cm", "--controls", "--out", "on.pdf")
    assert done.code == 0 and Path("on-bare.pdf").is_file()
    assert "on.pdf: 61.1 x 61.1 mm on the stop sign, on A4" in done.out
    layouts = carried_layouts(Path("on.pdf"))
    assert [layout.kind for layout in layouts] == ["patch", "grey", "random", "shuffled"]
    assert {layout.carrier for layout in layouts} == {"stop"}
    command("print", "--object", "tree").assert_refused("unknown sign 'tree'")
    command("print", demo / "demo/run", "--object", "stop", "--cut", "circle").assert_refused(
        "a patch on a sign cannot be cut out"
    )
    command("train", "--object", "stop", "--object-at", "left").assert_refused("the place 'left' is not understood")
    command("train", "--object", "stop", "--model", "efficientnet_lite0").assert_refused(
        "needs a detector, such as --model signs"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_loop_on_a_sign(few_views, command, monkeypatch, tmp_path: Path) -> None:
    """Trained on the embedded detector, printed on the sign, seen by the virtual rig, reported."""
    monkeypatch.chdir(tmp_path)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        soft = cv2.resize(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(photographs / f"{i}.png"), soft)
    done = command(
        *("train", "--eot", "--model", "signs", "--object", "stop", "--target", "none", "--data", photographs),
        *("--steps", 3, "--batch", 2, "--out", "run", "--json", "result.json"),
    )
    assert done.code == 0
    result = json.loads(Path("result.json").read_text())
    assert_follows_schema(result, "evaluation")
    assert (
        result["object"] == "stop"
        and result["clean_accuracy"] > 0.9
        and set(result["hidden"]) == {"patch", "grey", "random", "shuffled"}
    )
    assert json.loads(Path("run/run.json").read_text())["config"]["object"]["name"] == "stop"
    done = command("evaluate", "run", "--range", "scale=0.05:0.3", "--json", "far.json")
    assert done.code == 0 and "lost with random colours" in done.out
    sizes = json.loads(Path("far.json").read_text())["signs"]["by_size_px"]
    assert len(sizes) > 2 and all(10 <= size["from"] < size["below"] <= 80 for size in sizes)
    command("evaluate", "run", "--no-eot", "--range", "scale=0.05:0.3").assert_refused(
        "cannot be combined with --range"
    )
    record = json.loads(Path("run/run.json").read_text())
    record["results"]["drawn_sign"] = {"sign": "no entry", "lost": {"rate": 1.0, "ci95": [0.5, 1.0], "n": 4}}
    Path("run/run.json").write_text(json.dumps(record))  # few steps do not turn the sign into another one
    done = command("print", "run", "--size", "15cm", "--controls")
    assert done.code == 0 and "so a drawing of 'no entry', the strongest" in done.err
    layouts = carried_layouts(Path("run/sheet.pdf"))
    assert [layout.kind for layout in layouts] == list(SHEET_KINDS) and layouts[0].carrier == "stop"
    command("print", "run", "--object", "yield", "--size", "15cm", "--controls", "--out", "other.pdf")
    assert "drawing" not in {layout.kind for layout in carried_layouts(Path("other.pdf"))}  # measured on another sign
    done = command("live", "run", "--source", "virtual", "--headless", "--max-frames", 15, "--out", "session")
    assert done.code == 0
    rows = [row for row in read_rows(Path("session")) if row.model == "signs"]
    assert {row.label for row in rows} == {"stop"} and len(rows) == 15
    assert {row.condition for row in rows} >= {"patch", "drawing"}
    assert all(row.heat_in_patch is not None and 0 <= row.heat_in_patch <= 1 for row in rows if row.patch_xy)
    assert all(row.success == int(frame_success(row, None)["wrong"]) for row in rows)
    assert sum(row.object_xyxy is not None for row in rows) > 6
    assert command("report", "session").code == 0
    report = Path("session/report.html").read_text()
    assert "on 20 % of the object “stop”" in report and "detected as something else" in report
    assert "drawn as in training" in report  # with its replay
    # Of six views, those that count may all be of one size.
    counted = [size for size in result["by_size_px"] if size["success"]["n"]]
    assert ("Objects lost, by size" in report) == (len(counted) > 1)


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_ones_own_on_labelled_photographs(few_views, command, monkeypatch, tmp_path: Path) -> None:
    """As yolov8n.pt on coco128: a file of ultralytics, labels in YOLO's form, no sign drawn."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": trained_network(), "train_args": {"imgsz": 320}}, tmp_path / "own.pt")
    scenes = SceneMaker([np.full((400, 400, 3), shade, np.uint8) for shade in (90, 130, 170)], 2)
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    shown = 0
    for i, (picture, truth) in enumerate(zip(*scenes.batch(60, 320, most=5), strict=True)):
        pixels = (picture.permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)
        cv2.imwrite(f"data/images/{i:02}.png", pixels)
        lines = [
            f"{index} {(left + right) / 640} {(top + bottom) / 640} {(right - left) / 320} {(bottom - top) / 320}"
            for index, (left, top, right, bottom) in zip(truth.classes.tolist(), truth.boxes.tolist(), strict=True)
        ]
        shown += any(index == NAMES.index("stop") for index in truth.classes)
        Path(f"data/labels/{i:02}.txt").write_text("\n".join(lines))
    assert shown >= 8  # enough for some of them to be held out
    done = command(
        *("train", "--model", "own.pt", "--object", "stop", "--object-from", "labels", "--target", "none"),
        *("--data", "data", "--steps", 2, "--batch", 2, "--out", "run", "--json", "result.json"),
    )
    assert done.code == 0
    result = json.loads(Path("result.json").read_text())
    assert result["object"] == "stop" and 0 < result["n"] <= shown
    assert result["poses"] == max(1, round(few_views / result["n"]))
    assert set(result["mean_precision"]) == {"clean", "patch", "grey", "random", "shuffled"}
    assert Path("run/gradcam.png").is_file()
    assert command("print", "run", "--size", "10cm").code == 0  # on its own: there is no sign to print
    assert not carried_layouts(Path("run/sheet.pdf"))[0].carrier
    again = command("evaluate", "run", "--json", "-")
    assert again.code == 0 and json.loads(again.out)["own"]["untargeted_success"] == result["untargeted_success"]
    command(
        "train", "--model", "own.pt", "--object", "stop", "--object-from", "labels", "--data", "samples"
    ).assert_refused("samples has no labelled objects")
    command("train", "--model", "own.pt", "--object", "bus", "--data", "data").assert_refused("unknown object 'bus'")
    command("train", "--model", "own.pt", "--goal", "appear", "--data", "data").assert_refused(
        "goal appear needs a class"
    )


@pytest.mark.filterwarnings("ignore")
def test_live_on_stills_with_classifier_and_detector(demo: Path, command, tmp_path: Path, monkeypatch) -> None:
    """ResNet50 and YOLOv8n with random weights from files, over stills, headless, as the named networks are used."""
    monkeypatch.chdir(tmp_path)
    stills = tmp_path / "stills"
    stills.mkdir()
    rig = VirtualRig(demo / "demo/sheet.pdf", [(demo / "demo/run/patch.png", None)])
    for i, frame in enumerate(islice(rig, 2)):
        cv2.imwrite(str(stills / f"{i}.png"), frame.image[..., ::-1])
    torch.manual_seed(0)
    torch.save(models.resnet50(weights=None).state_dict(), tmp_path / "resnet50.pth")
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    torch.save({"model": DetectionModel("yolov8n.yaml", verbose=False), "train_args": {"imgsz": 160}}, "yolov8n.pt")
    done = command(
        "live",
        demo / "demo/run",
        "--sheet",
        demo / "demo/sheet.pdf",
        "--source",
        stills,
        "--classifier",
        "resnet50",
        "--weights",
        "resnet50.pth",
        "--detector",
        "yolov8n.pt",
        "--headless",
        "--label",
        "French horn",
        "--out",
        "session",
    )
    assert done.code == 0, done.err
    rows = read_rows(tmp_path / "session")
    assert [row.model for row in rows] == ["resnet50", "yolov8n"] * 2
    assert [row.label for row in rows] == ["French horn", None] * 2  # this detector knows no French horn
    assert all(row.condition == "patch" and row.distance_m for row in rows)
    assert all(row.boxes == "[]" and row.top1 == "" for row in rows[1::2])  # random weights are sure of nothing
    assert "2 frames" in done.out
    assert command("report", "session").code == 0
    assert "resnet50" in (tmp_path / "session/report.html").read_text()


def test_print_verify_measures_a_pdf_against_the_run(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    pdf = tmp_path / "sheet.pdf"
    command("print", demo / "demo/run", "--size", "60mm", "--controls", "--out", pdf)
    assert (tmp_path / "sheet-preview.png").is_file()
    again = command("print", demo / "demo/run", "--size", "60mm", "--controls", "--out", pdf)
    assert f"physpatch print --measured WxH --out {pdf}" in again.out
    note = json.loads(command("print", "--measured", "100x100mm", "--out", pdf, "--json", "-").out)
    assert note == {"sheet": str(pdf), "measured_mm": [100.0, 100.0]}
    (tmp_path / "sheet.measured.json").unlink()
    command("print", demo / "demo/run", "--out", "patch.png").assert_refused("--out patch.png: expected", ".pdf")
    done = command("print", demo / "demo/run", "--verify", pdf)
    assert done.code == 0 and "60.00 x 60.00" in done.out and "compared with patch.json" in done.out
    proofs = json.loads(command("print", "--verify", pdf, "--json", "-").out)
    assert [proof["kind"] for proof in proofs] == ["patch", "grey", "random", "shuffled"]
    assert all(proof["problems"] == [] and proof["worst_step"] <= 1 for proof in proofs)


def test_print_measured_is_stored_until_the_sheet_changes(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = demo / "demo/run"
    command("print", run, "--out", "sheet.pdf")
    done = command("print", run, "--out", "sheet.pdf", "--measured", "99.2x99.4mm")
    assert "true size" in done.out and "live" in done.err and "--sheet sheet.pdf" in done.err
    assert printed_layouts(tmp_path / "sheet.pdf")[0].patch.width_mm == pytest.approx(99.2)
    again = command("print", run, "--out", "sheet.pdf")
    assert "no longer applies" not in again.out  # the same bytes
    assert "no longer applies" in command("print", run, "--out", "sheet.pdf", "--size", "9cm").out
    assert not (tmp_path / "sheet.measured.json").exists()
    command("print", run, "--out", "sheet.pdf", "--measured", "50x99mm").assert_refused(
        "rulers of 100 x 100 mm cannot measure"
    )


def test_print_open_shows_the_pdf(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    """With a viewer of our own in the place of the system's."""
    viewer = tmp_path / "xdg-open"
    viewer.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    viewer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    command("print", demo / "demo/run", "--out", tmp_path / "sheet.pdf", "--open")
    for _ in range(50):
        if (tmp_path / "shown").exists() and (tmp_path / "shown").read_text():
            break
        time.sleep(0.1)
    assert (tmp_path / "shown").read_text().strip() == str(tmp_path / "sheet.pdf")


def test_calibrate_sheet_writes_board_and_chart(command, tmp_path: Path) -> None:
    out = tmp_path / "calibration.pdf"
    layouts = json.loads(command("calibrate", "sheet", "--paper", "letter", "--out", out, "--json", "-").out)
    assert [layout["kind"] for layout in layouts] == ["board", "chart"]
    done = command("print", "--verify", out)
    assert done.code == 0 and f"Next: physpatch calibrate camera --source 0 --sheet {out}\n" in done.err
    command("print", "--verify", out, "--measured", "99x99mm").assert_refused("give one, then the other")


def test_calibrate_says_what_it_cannot_film(command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    print_targets(tmp_path / "calibration.pdf")
    command("calibrate", "camera", "--source", "rendered").assert_refused("use --source virtual to rehearse")
    cv2.imwrite("wall.png", np.full((300, 300, 3), 128, np.uint8))
    assert "\n1 frame not used: " in "\n" + command("calibrate", "camera", "--source", "wall.png", "--headless").err


def test_print_open_without_a_viewer_says_so(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("print", demo / "demo/run", "--out", tmp_path / "sheet.pdf", "--open")
    assert done.code == 0 and "no viewer" in done.err


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills of the calibration sheets before a hidden rig, as a user's photographs."""
    folder = tmp_path_factory.mktemp("filmed")
    print_targets(folder / "calibration.pdf")
    cv2.imwrite(str(folder / "wall.png"), np.full((10, 10, 3), 128, np.uint8))
    lens = Intrinsics.from_hfov(1280, 960, 58)
    rig = VirtualRig(
        folder / "calibration.pdf",
        [(folder / "wall.png", None)],
        truth=RigTruth.draw(4, "uncoated"),
        lens=lens,
    )
    for page, name, count, options in ((0, "board", 18, {}), (1, "chart", 6, {"turn_deg": 15, "reach": 0.15})):
        (folder / name).mkdir()
        for number, frame in enumerate(rig.film(page, count, np.random.default_rng(page), **options)):
            cv2.imwrite(str(folder / name / f"{number:02d}.png"), frame.image[..., ::-1])
    return folder


def test_calibrate_camera_and_colour_make_a_profile_that_training_uses(
    filmed: Path, demo: Path, command, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(filmed)
    rig = tmp_path / "rig.json"
    done = command("calibrate", "camera", "--source", "board", "--profile", rig, "--name", "webcam", "--headless")
    assert done.code == 0 and "focal length" in done.out, done.err
    assert (tmp_path / "rig-lens.png").is_file()
    lens = json.loads(rig.read_text())["intrinsics"]
    assert lens["fx"] == pytest.approx(Intrinsics.from_hfov(1280, 960, 58).fx, rel=0.005)
    done = command("calibrate", "colour", "--source", "chart", "--profile", rig, "--light", "desk lamp", "--headless")
    assert done.code == 0 and "as predicted for held-out colours" in done.out, done.err
    assert (tmp_path / "rig-light-desk-lamp.png").is_file()
    shown = command("calibrate", "show", rig)
    assert shown.code == 0 and "desk lamp" in shown.out and "camera: webcam" in shown.out
    assert "desk lamp: of the known printing conditions nearest to " in shown.out
    value = json.loads(command("calibrate", "show", rig, "--json", "-").out)
    assert value["lights"][0]["after"][0] < 1.0 < value["lights"][0]["before"][0]
    nearest = value["lights"][0]["nearest_condition"]
    assert "uncoated" in nearest["name"] and 0 < nearest["median_de00"] < 15  # the rig prints on plain paper
    arguments = ("--model", "efficientnet_lite0", "--target", "digital clock", "--steps", 2, "--batch", 2)
    done = command("train", "--profile", rig, *arguments, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert config["profile"] == file_sha256(rig) and len(config["eot"]["prints"]) == 1
    frames = tmp_path / "frames"
    frames.mkdir()
    shutil.copy(filmed / "chart/00.png", frames)
    live = ("live", demo / "demo/run", "--source", frames, "--headless", "--no-cam", "--profile", rig)
    assert command(*live, "--out", tmp_path / "session").code == 0
    session = json.loads((tmp_path / "session/session.json").read_text())
    assert session["intrinsics_assumed"] is False


def test_the_rigs_print_scale_is_the_sheets_true_size(
    filmed: Path, demo: Path, command, monkeypatch, tmp_path: Path
) -> None:
    """Measured once on the calibration sheets, it holds for other sheets of the same printer."""
    monkeypatch.chdir(tmp_path)
    for name in ("calibration.pdf", "board", "chart"):
        (tmp_path / name).symlink_to(filmed / name)
    sheet = tmp_path / "own.pdf"
    shutil.copy(filmed / "calibration.pdf", sheet)
    assert command("print", "--out", sheet, "--measured", "98x97mm").code == 0
    calibrate = ("calibrate", "camera", "--source", "board", "--sheet", sheet, "--profile", "rig.json", "--headless")
    assert command(*calibrate).code == 0
    assert json.loads(Path("rig.json").read_text())["print_scale"] == pytest.approx([0.98, 0.97])
    live = ("live", demo / "demo/run", "--sheet", demo / "demo/sheet.pdf", "--source", "chart/00.png", "--headless")
    assert command(*live, "--no-cam", "--profile", "rig.json", "--out", "session").code == 0
    sheets = json.loads(Path("session/session.json").read_text())["sheets"]
    assert sheets[0]["size_mm"] == pytest.approx(98)


def test_calibration_says_what_is_wrong(filmed: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(filmed)
    rig = tmp_path / "rig.json"
    one = ("calibrate", "camera", "--source", "board/00.png", "--profile", rig, "--headless")
    command(*one).assert_refused("1 usable view of the board", "at least 6")
    wrong = ("calibrate", "camera", "--source", "chart", "--profile", rig, "--headless")
    command(*wrong).assert_refused("0 usable views")
    wrong = ("calibrate", "colour", "--source", "board", "--profile", rig, "--headless")
    command(*wrong).assert_refused("this is the lens board")
    assert not rig.exists()  # nothing half
    command(*wrong, "--sheet", "none.pdf").assert_refused("no file none.pdf", "physpatch calibrate sheet")
    command("calibrate", "show", rig).assert_refused("no file")
    command("train", "--profile", rig).assert_refused("no file")
    command("train", "--no-eot", "--profile", rig).assert_refused("--no-eot cannot be combined with --profile")
    rig.write_text('{"physpatch_rig": 1}')
    command("train", "--profile", rig).assert_refused("has no colours yet", "calibrate colour")
    command("live", "--source", "board", "--profile", rig, "--headless").assert_refused("has no lens yet")


def test_live_on_the_virtual_rig_prints_its_own_sheet(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    done = command(
        "live",
        demo / "demo/run",
        "--source",
        "virtual",
        "--headless",
        "--clips",
        2,
        "--frames-per-clip",
        1,
        "--no-cam",
        "--out",
        "session",
    )
    assert done.code == 0 and "the rig shows session/sheet.pdf" in done.err
    assert [(row.clip, row.condition) for row in read_rows(Path("session"))] == [
        (clip, kind) for clip in (0, 1) for kind in ("patch", "grey", "random", "shuffled")
    ]
    record = json.loads(Path("session/session.json").read_text())
    assert record["rig"] == {"seed": 0, "clips": 2, "frames_per_clip": 1}
    command("live", "--source", "97", "--clips", 2).assert_refused("--clips is for --source virtual or rendered")
    command("live", "--source", "virtual", "--profile", "rig.json").assert_refused("--profile is for a camera")


def test_live_in_a_rendered_scene(demo: Path, command, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    rendered = ("live", demo / "demo/run", "--source", "rendered", "--headless", "--no-cam", "--max-frames", 2)
    done = command(*rendered, "--scene", "mug", "--out", "session")
    rows = read_rows(Path("session"))
    assert done.code == 0 and len(rows) == 2
    assert all(row.true_distance_m == pytest.approx(row.distance_m or row.true_distance_m, rel=0.1) for row in rows)
    record = json.loads(Path("session/session.json").read_text())
    assert_follows_schema(record, "session")
    assert record["scene"] == "mug" and record["virtual"]
    assert Scene.validated(record["scene_settings"], Path("session.json")) == Scene.read("mug")
    assert len(list(Path("cache/shots").glob("*.npz"))) == 2
    assert command("report", "session").code == 0
    assert "rendered rig" in Path("session/report.html").read_text()
    command(*rendered, "--scene", "mugg").assert_refused("unknown scene 'mugg'", "mug")
    command("live", "--source", "virtual", "--scene", "mug").assert_refused("--scene mug is for --source rendered")
    command(*rendered, "--light", "sky").assert_refused("--light sky is a name for a camera's light", "--scene")


def test_a_video_of_a_walk_up_to_a_sheet_has_its_way_in_the_report(
    demo: Path, command, monkeypatch, tmp_path: Path
) -> None:
    """From a file as a camera would write it; distances are measured by the markers."""
    monkeypatch.chdir(tmp_path)
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((480, 640, 3), 128, np.uint8))
    rig = VirtualRig(demo / "demo/sheet.pdf", [(wall, None)], clips=1, seed=3)
    walked_m, rng = np.linspace(0.7, 0.35, 8), np.random.default_rng(0)
    lens = rig.intrinsics
    writer = cv2.VideoWriter("walk.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (lens.width, lens.height))
    for distance_m in walked_m:
        frame = rig.render(0, RigPose(float(distance_m), 0.0, 0.0, 5.0, -3.0, 2.0), rig.background(wall), rng)
        writer.write(frame[..., ::-1])
    writer.release()
    words = (
        "live",
        demo / "demo/run",
        "--sheet",
        demo / "demo/sheet.pdf",
        "--source",
        "walk.mp4",
        "--condition",
        "patch",
    )
    hfov_deg = np.degrees(2 * np.arctan(lens.width / (2 * lens.fx)))
    done = command(*words, "--hfov", f"{hfov_deg:.3f}", "--headless", "--no-cam", "--out", "session")
    assert done.code == 0, done.err
    measured_m = [row.distance_m for row in read_rows(Path("session"))]
    assert len(measured_m) == 8 and None not in measured_m
    np.testing.assert_allclose(np.array(measured_m, float), walked_m, rtol=0.06)  # through a lossy video
    assert command("report", "session", "--no-replay").code == 0
    with Path("session/sequences.csv").open() as file:
        ways = [row for row in csv.DictReader(file) if (row["condition"], row["measure"]) == ("patch", "target")]
    assert len(ways) == 1 and ways[0]["measured"] == "8"
    assert [float(ways[0][end]) for end in ("from_m", "to_m")] == pytest.approx([0.35, 0.7], rel=0.06)


def test_no_camera_is_one_line_within_five_seconds_of_trying(tmp_path: Path, command, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    command("live", "--source", "97", "--headless").assert_refused("camera 97 does not open")
    assert time.monotonic() - started < 5
    assert not (tmp_path / "sessions").exists()


def test_no_camera_is_said_within_five_seconds_of_the_start(tmp_path: Path) -> None:
    """A cold process: nothing heavy is loaded before the camera is tried."""
    command = [sys.executable, str(ROOT / "cli.py"), "live", "--source", "97", "--headless"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert time.monotonic() - started < 5
    assert done.returncode == 2 and done.stderr.startswith("Error: camera 97 does not open")


def test_a_display_that_is_gone_is_one_line(tmp_path: Path, command, monkeypatch) -> None:
    """Qt would end the whole process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISPLAY", ":4711")
    command("live", "--source", "0").assert_refused("display :4711 does not respond; add --headless")


def test_no_display_is_one_line(tmp_path: Path, command, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    command("live", "--source", "0").assert_refused("no display is available; add --headless")
    command("live", "--source", "no.mp4").assert_refused("no source 'no.mp4'")  # which --headless does not mend


SCREENS = iter(range(1000 + 10 * (os.getpid() % 3000), 40_000))


def own_screen() -> list[str]:
    """A screen by a number of its own: an earlier one may not have gone yet, and its number hangs then.

    It does not begin anew when its last client leaves, as it does by default: whoever comes at that moment is turned away.
    """
    return ["xvfb-run", "-a", "-n", str(next(SCREENS)), "-s", "-screen 0 1280x1024x24 -noreset"]


@pytest.mark.skipif(not (shutil.which("xvfb-run") and shutil.which("xdotool")), reason="needs xvfb and xdotool")
def test_the_window_opens_and_q_ends_it(demo: Path, tmp_path: Path) -> None:
    """A real window on a virtual screen; xdotool types q into it."""
    write_long_video(tmp_path / "long.mp4")
    live = f"{sys.executable} {ROOT / 'cli.py'} live {demo / 'demo/run'} --source long.mp4 --no-cam --out session"
    press_q = "ls session/frames/*.jpg && xdotool search --name 'physpatch - press q to end' windowfocus key q"
    script = f"{SCREEN}; {live} & while kill -0 $! 2>/dev/null; do {press_q}; sleep 0.2; done; wait $!"
    done = subprocess.run(
        [*own_screen(), "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "session/session.json").read_text())
    assert record["status"] == "stopped by the person" and 1 <= record["frames"] < 3000


@pytest.mark.skipif(not (shutil.which("xvfb-run") and shutil.which("xdotool")), reason="needs xvfb and xdotool")
def test_keys_and_mouse_steer_the_session_in_its_window(demo: Path, tmp_path: Path) -> None:
    write_long_video(tmp_path / "long.mp4")
    live = f"{sys.executable} {ROOT / 'cli.py'} live {demo / 'demo/run'} --source long.mp4 --no-cam --out session"
    find = "ls session/frames/*.jpg && xdotool search --name 'physpatch - press q to end' windowfocus"
    # A session that has ended shows its error instead of a wait without end.
    find = f"until {find}; do kill -0 $! || {{ wait $!; exit; }}; sleep 0.2; done"
    keys = "; ".join(f"xdotool key {key}; sleep 0.4" for key in ("m", "space", "space", "f", "2", "l"))
    drag = (
        "xdotool mousemove --window $w 60 120 mousedown 1; sleep 0.3; xdotool mousemove --window $w 260 280; sleep 0.3"
    )
    drag = f"w=$(xdotool search --name 'physpatch - press q to end' | tail -1); {drag}; xdotool mouseup 1; sleep 0.5"
    end = "while kill -0 $! 2> /dev/null; do xdotool key q; sleep 0.5; done; wait $!"  # a busy machine may lose a key
    script = f"{SCREEN}; {live} & {find}; {keys}; {drag}; {end}"
    done = subprocess.run(
        [*own_screen(), "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    events = read_events(tmp_path / "session")
    assert [e.kind for e in events[:6]] == ["mark", "pause", "resume", "region", "condition", "light"]
    assert [e.words for e in events[3:6]] == ["sheet", "grey", "light 2"]
    assert events[6].kind == "region" and re.fullmatch(r"\d+,\d+,\d+", events[6].words) and events[-1].kind == "stop"


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_control_c_ends_a_session_and_keeps_it(asked: int, code: int, demo: Path, tmp_path: Path) -> None:
    """A real signal to a real process; with the system's, as of `docker stop`, no results are printed."""
    write_long_video(tmp_path / "long.mp4")
    arguments = ["live", demo / "demo/run", "--source", "long.mp4", "--headless", "--no-cam", "--out", "session"]
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments)]
    # A shell gives its background jobs an ignored SIGINT, which children inherit: a person's terminal does not.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=listen, **pipes) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list((tmp_path / "session/frames").glob("*.jpg")):
            time.sleep(0.1)
        process.send_signal(asked)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err and err.count("interrupted") == (code != 0)
    record = json.loads((tmp_path / "session/session.json").read_text())
    assert record["status"] == "interrupted" and (f", {number_of(record['frames'], 'frame')}\n" in out) == (code == 0)
    assert (tmp_path / "session/frames.csv").read_text().count("\n") == record["frames"] + 1
    assert len(read_rows(tmp_path / "session")) == record["frames"] < 3000


def test_a_killed_session_loses_a_second_at_most(demo: Path, tmp_path: Path, command) -> None:
    """A real SIGKILL in the middle of everything."""
    write_long_video(tmp_path / "long.mp4")
    arguments = ["live", demo / "demo/run", "--source", "long.mp4", "--headless", "--no-cam", "--out", "session"]
    with subprocess.Popen([sys.executable, str(ROOT / "cli.py"), *map(str, arguments)], cwd=tmp_path) as process:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and len(list((tmp_path / "session/frames").glob("*.jpg"))) < 5:
            time.sleep(0.05)
        process.kill()
    session = tmp_path / "session"
    with closing(sqlite3.connect(session / "session.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = read_rows(session)
    key_frames = sorted(int(file.stem.split("-")[0]) for file in (session / "frames").glob("*.jpg"))
    assert [row.frame for row in rows] == list(range(1, len(rows) + 1))  # none is missing before the kill
    assert len(rows) >= key_frames[-1]  # rows are written before their pictures
    shown = 0.0
    with av.open(str(session / "video.mp4")) as film, suppress(av.error.InvalidDataError):
        for frame in film.decode(video=0):
            shown = float(frame.time)
    assert shown >= rows[-1].time_s - 1.1
    assert command("report", session).code == 0 and (session / "report.html").is_file()
    assert (session / "frames.csv").read_text().count("\n") == len(rows) + 1


def test_a_plan_is_filled_from_stills_and_ends_the_session(demo: Path, command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    wall = demo / "demo/run/patch.png"
    rig = VirtualRig(demo / "demo/sheet.pdf", [(wall, None)])
    behind, rng = rig.background(wall), np.random.default_rng(0)
    kinds = [layout.kind for layout in rig.layouts]
    film = [rig.render(page, RigPose(0.4, 0, 0, 0, 0, 0), behind, rng) for page in (0, 1, 0, 1) for _ in range(4)]
    Path("film").mkdir()
    for i, picture in enumerate(film * 3):
        cv2.imwrite(f"film/{i:03d}.png", picture[..., ::-1])
    plan = f'conditions = ["{kinds[0]}", "{kinds[1]}"]\ndistances_m = [0.4]\nyaws_deg = [0]\nseconds = 0.5\n'
    Path("plan.toml").write_text(plan)
    live = ("live", demo / "demo/run", "--sheet", demo / "demo/sheet.pdf", "--source", "film", "--headless", "--no-cam")
    done = command(*live, "--hfov", 60, "--plan", "plan.toml", "--out", "session", "--keep", "none")
    assert done.code == 0 and "step 1 of 2: " in done.err and "step 2 of 2: " in done.err, done.err
    record = json.loads(Path("session/session.json").read_text())
    assert_follows_schema(record, "session")
    assert record["steps_done"] == [1, 2] and record["frames"] < len(film * 3) and len(record["plan"]["steps"]) == 2
    rows = read_rows(Path("session"))
    assert {row.condition for row in rows if row.step == 1} | {row.condition for row in rows if row.step == 2} == {
        *kinds[:2]
    }
    Path("plan.toml").write_text(plan.replace('"patch"', '"shuffled"'))
    command(*live, "--plan", "plan.toml").assert_refused("the plan needs shuffled, which the PDF does not contain")
    Path("plan.toml").write_text(plan + 'lights = ["day", "lamp"]\n')
    command(*live, "--plan", "plan.toml").assert_refused("the plan changes the light", "omit --headless")


def test_a_phone_films_from_the_command_line(demo: Path, tmp_path: Path) -> None:
    """The command serves a page, lets one phone in by its link, takes its frames, and ends when the phone's person says so."""
    rig = VirtualRig(demo / "demo/sheet.pdf", [(demo / "demo/run/patch.png", None)], clips=1, frames_per_clip=1)
    packed = cv2.imencode(".jpg", next(iter(rig)).image[..., ::-1])[1].tobytes()
    arguments = ["live", demo / "demo/run", "--sheet", demo / "demo/sheet.pdf", "--source", "phone", "--port", 0]
    command = [sys.executable, str(ROOT / "cli.py"), *map(str, arguments), "--no-cam", "--out", "session"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process, ExitStack() as stack:
        assert process.stderr is not None
        stack.callback(process.kill)  # or a failure here would wait for another phone, without end
        link = next(line for line in process.stderr if line.startswith("phone, once: "))
        port, key = re.findall(r":(\d+)/\?key=(\S+)", link)[0]
        origin, unchecked = f"https://127.0.0.1:{port}", ssl._create_unverified_context()
        jar = CookieJar()
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=unchecked), urllib.request.HTTPCookieProcessor(jar)
        )
        with opener.open(f"{origin}/?key={key}", timeout=20) as page:
            assert b"physpatch camera" in page.read()
        cookie = {"Cookie": "; ".join(f"{one.name}={one.value}" for one in jar)}
        ask = partial(connect, origin=origin, additional_headers=cookie, ssl=unchecked)  # type: ignore[arg-type]
        filming, steering = (
            stack.enter_context(ask(f"wss://127.0.0.1:{port}/ws/{name}")) for name in ("camera", "view")
        )
        for _ in range(200):
            filming.send(packed)
            assert json.loads(filming.recv(10)) == {"ok": True}
            if (tmp_path / "session/session.db").exists() and len(read_rows(tmp_path / "session")) >= 3:
                break
            time.sleep(0.2)
        steering.send(json.dumps({"do": "stop"}))
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err and "physpatch report session" in out + err
    rows = read_rows(tmp_path / "session")
    assert len(rows) >= 3 and {row.condition for row in rows} == {"patch"} and all(row.distance_m for row in rows)


def test_models_shows_what_is_ready(command) -> None:
    done = command("models", "--json", "-")
    entries = {entry["name"]: entry for entry in json.loads(done.out)}
    assert entries["efficientnet_lite0"]["ready"] and entries["efficientnet_lite0"]["task"] == "classify"
    assert {"resnet50", "yolov8n"} <= entries.keys() and entries["yolov8n"]["task"] == "detect"
    assert "efficientnet_lite0" in command("models").out


TRAIN = ("train", "--model", "efficientnet_lite0", "--steps", 1, "--target", "none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("print", "RUN", "--size", "10 parsecs"), ["length '10 parsecs' not understood", "mm, cm, m or in"]),
        (("print", "RUN", "--size", "9m", "--paper", "a6"), ["does not fit on A6", "69 mm", "400 pages"]),
        (("print", "RUN", "--size", "5mm"), ["cells of 0.50 mm"]),
        (("print", "RUN", "--paper", "papyrus"), ["unknown paper 'papyrus'"]),
        (("print", "nowhere"), ["no run nowhere"]),
        (("print",), ["no run yet under runs/", "physpatch train --eot"]),
        (("print", "CUT"), ["patch.json is not valid JSON"]),
        (("train", "--grid", "0x0"), ["grid 0x0 is not usable"]),
        (("train", "--grid", "ten"), ["grid 'ten' not understood"]),
        (("train", "--area", "2"), ["area 2.0 out of range"]),
        (("train", "--steps", "0"), ["steps must be at least 1"]),
        (("train", "--seed", "-1"), ["seed -1 out of range"]),
        (("train", "--learning-rate", "nan"), ["learning rate must be positive"]),
        ((*TRAIN, "--target=--5"), ["unknown class '--5'"]),
        (("live", "--source", "99999999999", "--headless"), ["camera 99999999999 does not open"]),
        (("train", "--steps", "many"), ["'many' is not a valid integer"]),
        (("train", "--stepz", "3"), ["No such option '--stepz'", "--steps"]),
        (("train", "--model", "resnet51"), ["unknown model 'resnet51'", "'resnet50'"]),
        (("train", "--model", "nothing.pt"), ["no weights file nothing.pt"]),
        ((*TRAIN, "--target", "French hornn"), ["unknown class 'French hornn'", "'French horn'"]),
        ((*TRAIN, "--target", "1000"), ["classes 0 to 999"]),
        ((*TRAIN, "--technique", "adamm"), ["unknown technique 'adamm'", "'adam'"]),
        ((*TRAIN, "--data", "nowhere"), ["no data folder 'nowhere'"]),
        ((*TRAIN, "--data", "BROKEN"), ["broken image", "half.jpg"]),
        (("train", "--resume", "--out", "nowhere"), ["no run nowhere"]),
        (("train", "--resume", "--grid", "5x5"), ["--grid cannot be changed"]),
        (("train", "--resume", "--model", "resnet50"), ["--model cannot be changed"]),
        (("evaluate", "RUN", "--json", "RUN"), ["is a folder; give the name of a file"]),
        (("evaluate", "RUN", "--json", "file/numbers.json"), ["cannot be written"]),
        (("evaluate",), ["no run yet"]),
        (("evaluate", "RUN", "--weights", "x.pth"), ["exactly one --model"]),
        (("evaluate", "RUN", "--model", "resnet51"), ["unknown model 'resnet51'"]),
        (("live", "--source", "nowhere.mp4", "--headless"), ["no source 'nowhere.mp4'"]),
        (("live", "--source", "STILLS", "--headless", "--condition", "pach"), ["unknown condition 'pach'", "'patch'"]),
        (
            ("live", "--source", "STILLS", "--headless", "--hfov", "400", "--classifier", "efficientnet_lite0"),
            ["field of view 400"],
        ),
        (
            ("live", "--source", "virtual", "--headless", "--classifier", "efficientnet_lite0"),
            ["needs a patch"],
        ),
        (("live", "--source", "virtual", "--hfov", "60"), ["--hfov is for a camera", "virtual has a lens of its own"]),
        (("live", "--source", "STILLS", "--headless", "--roi", "left"), ["unknown region 'left'", "expected center"]),
        (
            ("live", "--source", "STILLS", "--headless", "--keep", "some"),
            ["--keep some: expected all, whole, key, none"],
        ),
        (("live", "--source", "STILLS", "--headless", "--plan", "no.toml"), ["no file no.toml"]),
        (
            ("live", "--source", "STILLS", "--camera", "fps=30", "--headless"),
            ["is not a camera, so fps cannot be set"],
        ),
        (("live", "--source", "0", "--camera", "fps"), ["expected NAME=VALUE"]),
        (("live", "--source", "rendered", "--camera", "exposure=lock"), ["--camera exposure is for cameras", "scene"]),
        (
            ("live", "--source", "virtual", "--camera", "fps=30"),
            ["--camera fps is for cameras, not for --source virtual"],
        ),
        (("live", "--source", "phone", "--camera", "focus=lock"), ["--camera focus is for cameras", "on the phone"]),
        (("live", "--source", "0", "--max-fps", "0"), ["is not in the range"]),
        (("live", "--source", "0", "--max-fps", "nan"), ["nan is not a finite number"]),
        (("report", "nowhere"), ["nowhere is neither a run"]),
        (("repport",), ["No such command 'repport'"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_clear_line(arguments, words, command, monkeypatch, tmp_path: Path, patch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    patch.save(tmp_path / "run")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/patch.json").write_text((tmp_path / "run/patch.json").read_text()[:200])
    for folder in ("stills", "broken"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            cv2.imwrite(str(tmp_path / folder / f"{i}.jpg"), np.full((300, 300, 3), 100 + i, np.uint8))
    (tmp_path / "broken/half.jpg").write_bytes((tmp_path / "stills/0.jpg").read_bytes()[:300])
    (tmp_path / "file").touch()
    places = {
        "RUN": tmp_path / "run",
        "CUT": tmp_path / "cut",
        "STILLS": tmp_path / "stills",
        "BROKEN": tmp_path / "broken",
    }
    command(*(places.get(a, a) for a in arguments)).assert_refused(*words)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "--out", "file/run"), ["cannot be written"]),
        (("train", "--out", "old"), ["already holds a run"]),
        (("train", "--model", "efficientnet_lite0", "--model", "resnet51"), ["unknown model 'resnet51'"]),
        (("train", "--model", "efficientnet_lite0", "--defence", "all"), ["unknown defence 'all'"]),
        (("train", "--objective", "margn"), ["unknown objective 'margn'; did you mean 'margin'"]),
        (("train", "--transfer", "ghosts"), ["unknown transfer method 'ghosts'; did you mean 'ghost'"]),
        (("bench", "--out", "file/bench"), ["cannot be written"]),
        (("evaluate", "run", "--defence", "none"), ["unknown defence 'none'"]),
        (("evaluate", "run", "--data", "nowhere"), ["no data folder 'nowhere'"]),
        (("evaluate", "run", "--defence", "prayer"), ["unknown defence 'prayer'"]),
        (("live", "run", "--sheet", "no.pdf"), ["no file no.pdf"]),
        (("live", "run", "--profile", "no.json"), ["no file no.json"]),
        (("live", "run", "--defence", "prayer"), ["unknown defence 'prayer'"]),
        (("live", "run", "--hfov", "nan"), ["field of view nan"]),
        (("live", "run", "--seed", "3"), ["--seed is for --source virtual or rendered"]),
        (("live", "run", "--hfov", "60", "--profile", "file"), ["--hfov is for a camera whose lens was not measured"]),
        (("live", "run", "--out", "old"), ["already contains a session"]),
        (("live", "run", "--out", "file/session"), ["cannot be written"]),
        (("report", "old", "--out", "file/report.html"), ["cannot be written"]),
        (("report", "old", "--pdf", "--out", "r.pdf"), ["--out r.pdf: expected a name that ends in .html or .htm"]),
        (("gallery", "--out", "notes.txt"), ["--out notes.txt: expected a name that ends in .html or .htm"]),
        (("runs", "export", "run", "--out", "run.json"), ["--out run.json: expected a name that ends in .zip"]),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_what_needs_no_model_is_checked_before_one_is_loaded(
    arguments, words, command, monkeypatch, tmp_path: Path, patch: Patch
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("captures.session.session_setup", "physpatch.training.run", "physpatch.training.run_evaluation"):
        monkeypatch.setattr(f"{module}.load_victim", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.setattr("physpatch.benchmark.runner.load_victim", lambda *_, **__: pytest.fail("a model was loaded"))
    patch.save(Path("run"))
    Path("file").touch()
    Path("old").mkdir()
    Path("old/run.json").touch()
    Path("old/session.db").touch()
    Path("stills").mkdir()
    cv2.imwrite("stills/0.png", np.zeros((48, 64, 3), np.uint8))
    source = ("--source", "stills", "--headless") if arguments[0] == "live" else ()
    command(*arguments, *source).assert_refused(*words)


def test_a_write_that_finds_the_disk_full_is_one_clear_line(command, monkeypatch, tmp_path: Path, patch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    patch.save(tmp_path)
    monkeypatch.setattr(
        Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device", "sheet.pdf"))
    )
    command("print", tmp_path / "patch.json").assert_refused("sheet.pdf: No space left on device")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["patch.json", "patch.png"]


def test_output_into_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "cli.py"), "models", "--json", "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `head` does when it has enough
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


def test_an_unwritable_folder_is_one_clear_line(command, monkeypatch, tmp_path: Path, patch: Patch) -> None:
    patch.save(tmp_path)
    (tmp_path / "file").write_text("in the way")
    command("print", tmp_path, "--out", tmp_path / "file" / "sheet.pdf").assert_refused("file")
