"""A run on disk: what it leaves, and that a kill at any moment costs nothing that was trained."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import (
    ROOT,
    assert_follows_schema,
    colour_photographs,
    make_tiny_victim,
    save_squares,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from calibration.common.errors import InputError
from calibration.common.files import claimed
from captures.report.blocks import Text
from captures.report.run_part import _trained
from physpatch.commands.train import _finer_grid_advice
from physpatch.data.photographs import UNLABELLED, load_photographs
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import find_run
from physpatch.records.run_record import RunRecord
from physpatch.stats.rates import Rate
from physpatch.training import run as runs
from physpatch.training import run_evaluation
from physpatch.training.distributed import Processes
from physpatch.training.run import held_out_files, held_out_photographs, poses_for, resume_run, train_run
from physpatch.training.run_evaluation import evaluate_run, log_evaluation
from physpatch.training.trainer import StepRecord, Trainer
from physpatch.victims.families import ultralytics_detectors
from physpatch.victims.protocol import WeightsInfo
from physpatch.victims.registry import load_victim

CONFIG = TrainConfig.of(steps=4, batch=4, area=0.3, grid=(4, 4), target="blue thing", model="tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured squares in a folder."""
    return save_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny victim that ended, for all who only read it."""
    victim, folder = make_tiny_victim(), tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "load_victim", lambda *_, **__: victim)
        train_run(CONFIG.changed(data=str(data)), folder, say=lambda _: None)
    return folder


@pytest.fixture
def run(tiny_run: TrainConfig, finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def tiny_run(data: Path, tiny_victim, tmp_path: Path, monkeypatch) -> TrainConfig:
    """A config whose model is the tiny victim and whose data are coloured squares in a folder."""
    for module in (runs, run_evaluation):
        monkeypatch.setattr(module, "load_victim", lambda *_, **__: tiny_victim)
    monkeypatch.chdir(tmp_path)
    return CONFIG.changed(data=str(data))


def test_a_run_leaves_everything_it_promises(tiny_run: TrainConfig) -> None:
    folder = train_run(tiny_run, say=lambda _: None)
    assert folder.parent == Path("runs") and Path("runs/latest").resolve() == folder.resolve()
    for name in (
        "patch.png",
        "patch.json",
        "run.json",
        "metrics.csv",
        "loss.png",
        "evolution.mp4",
        "examples.png",
        "gradcam.png",
    ):
        assert (folder / name).stat().st_size > 100, name
    record = json.loads((folder / "run.json").read_text())
    assert_follows_schema(record, "run")
    assert record["status"] == "finished" and record["seed"] == 0 and record["versions"]["torch"]
    assert record["weights"]["sha256"] == "0" * 64 and record["data"]["train"] + record["data"]["held_out"] == 24
    assert len(record["data"]["learned_from"]) == record["data"]["train"] > 4
    assert set(record["results"]["controls"]) == {"grey", "random", "shuffled"}
    assert {"heat_in_patch", "similarity_to_target", "patch_area"} <= record["results"]["grad_cam"].keys()
    assert TrainConfig.from_dict(record["config"]).objective.target == "2"
    patch = Patch.load(folder)
    assert (
        patch.target == {"index": 2, "name": "blue thing"} and patch.provenance["config"]["optimisation"]["steps"] == 4
    )
    with open(folder / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert {"loss", "ce", "success", "seconds"} <= rows[0].keys()
    assert list((folder / "tensorboard").glob("events.out.tfevents*"))
    video = cv2.VideoCapture(str(folder / "evolution.mp4"))
    assert video.isOpened() and video.get(cv2.CAP_PROP_FRAME_COUNT) >= 5
    last_color = np.asarray(Image.open(folder / "patch.png"))[5, 5]
    video.set(cv2.CAP_PROP_POS_FRAMES, video.get(cv2.CAP_PROP_FRAME_COUNT) - 1)
    shown = video.read()[1][60, 60, ::-1]
    assert np.abs(shown.astype(int) - last_color).max() < 25  # the video ends with the patch as saved


def test_a_run_is_logged_with_its_results_and_its_patch(tiny_run: TrainConfig, tmp_path: Path) -> None:
    def stop_at_three(record: StepRecord, _: int) -> None:
        if record.step == 3:
            raise KeyboardInterrupt

    logs = (f"tensorboard={tmp_path / 'all'}",)
    with pytest.raises(KeyboardInterrupt):
        train_run(tiny_run, tmp_path / "run", progress=stop_at_three, say=lambda _: None, logs=logs)
    resume_run(tmp_path / "run", say=lambda _: None, logs=logs)
    evaluated = evaluate_run(tmp_path / "run", seed=3, say=lambda _: None)
    log_evaluation(tmp_path / "run", evaluated, (f"tensorboard={tmp_path / 'evaluation'}",), {"seed": 3})
    log_evaluation(tmp_path / "run", evaluated, ("tensorboard",), {"seed": 3})  # beside the steps, which stay
    own, shared, evaluation = (
        EventAccumulator(str(folder)).Reload()
        for folder in (tmp_path / "run/tensorboard", tmp_path / "all", tmp_path / "evaluation")
    )
    for log in (own, shared):
        assert [scalar.step for scalar in log.Scalars("loss")] == [1, 2, 3, 4]
        assert {"run/parameters/text_summary"} <= set(log.Tags()["tensors"])
    results = RunRecord.of(tmp_path / "run").results
    assert results is not None and results.targeted_success.ci95 is not None
    (high,) = shared.Scalars("final/tiny/target_first_high")
    assert high.step == 4 and high.value == pytest.approx(results.targeted_success.ci95[1])
    for log in (shared, evaluation):
        assert len(log.Images("patch")) == 1
    (clean,) = evaluation.Scalars("final/tiny/clean_accuracy")
    assert clean.value == pytest.approx(evaluated["tiny"].clean_accuracy)


def test_nothing_is_left_half_written(finished: Path) -> None:
    assert not [p for p in finished.rglob(".*") if p.is_file()]


def test_an_interrupted_run_goes_on_to_the_same_patch(tiny_run: TrainConfig, finished: Path, tmp_path: Path) -> None:
    def stop_at_two(record, _steps) -> None:
        if record.step == 2:
            raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train_run(tiny_run, tmp_path / "cut off", progress=stop_at_two, say=said.append)
    assert said[-1].endswith(f"--out '{tmp_path / 'cut off'}'`")  # can be pasted
    assert Patch.load(tmp_path / "cut off").grid == (4, 4)  # what was trained is there already
    resume_run(tmp_path / "cut off", say=said.append)
    assert "resuming at step 2 of 4" in said
    assert Patch.load(finished).id == Patch.load(tmp_path / "cut off").id
    one, other = (load_file(p / "checkpoint/state.safetensors") for p in (finished, tmp_path / "cut off"))
    assert all((one[k] == other[k]).all() for k in one)
    assert (tmp_path / "cut off/metrics.csv").read_text().count("\n") == 5


def test_rows_behind_the_checkpoint_are_made_again(tiny_run: TrainConfig, tmp_path: Path) -> None:
    """A kill can leave metrics rows, even half of one, that no checkpoint knows."""
    folder = tmp_path / "run"

    def stop(record, _steps) -> None:
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(tiny_run, folder, progress=stop, say=lambda _: None)
    with open(folder / "metrics.csv", "a") as stream:
        stream.write("4,0.5,0.5,0,1\n5,0.")
    resume_run(folder, say=lambda _: None)
    with open(folder / "metrics.csv", newline="") as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["1", "2", "3", "4"]


def test_a_finished_run_can_be_lengthened(run: Path) -> None:
    before = Patch.load(run).id
    resume_run(run, steps=9, say=lambda _: None)
    assert Patch.load(run).id != before
    assert json.loads((run / "run.json").read_text())["config"]["optimisation"]["steps"] == 9


def test_resuming_refuses_other_data_and_weights(
    run: Path, data: Path, tmp_path: Path, tiny_victim, monkeypatch
) -> None:
    other = replace(tiny_victim, weights=replace(tiny_victim.weights, sha256="1" * 64))
    monkeypatch.setattr(runs, "load_victim", lambda *_, **__: other)
    with pytest.raises(InputError, match=r"the weights of .* have changed"):
        resume_run(run)
    monkeypatch.setattr(runs, "load_victim", lambda *_, **__: tiny_victim)
    shutil.copytree(data, tmp_path / "data")
    record = json.loads((run / "run.json").read_text())
    record["config"]["data"]["source"] = str(tmp_path / "data")
    (run / "run.json").write_text(json.dumps(record))
    Image.new("RGB", (40, 40), "white").save(next((tmp_path / "data/red thing").glob("*.png")))
    (tmp_path / "data/red thing/9.png").write_bytes(next((tmp_path / "data/red thing").glob("*.png")).read_bytes())
    with pytest.raises(InputError, match=r"the training data of .* have changed"):
        resume_run(run)
    (tmp_path / "data/red thing/9.png").unlink()
    shutil.copytree(data, tmp_path / "data", dirs_exist_ok=True)
    held_out_files(None, RunRecord.of(run).train_config, tiny_victim)[0][0].unlink()
    with pytest.raises(InputError, match=r"the held-out photographs of .* have changed"):
        resume_run(run)


def test_a_run_names_the_network_that_imitates(tiny_run: TrainConfig, tiny_victim, monkeypatch) -> None:
    """A victim that gives predictions alone: the record, the report's words, and resuming with another such network."""
    blind = replace(tiny_victim, differentiable=False)
    network = replace(make_tiny_victim(), name="alike", weights=WeightsInfo("made here", "2" * 64))
    monkeypatch.setattr(runs, "load_victim", lambda name, **_: network if name == "nets:alike" else blind)
    with pytest.raises(InputError, match=r"needs gradients; use .*, or --imitate a classifier of the same classes"):
        train_run(tiny_run, Path("run"), say=lambda _: None)
    folder = train_run(tiny_run.changed(imitate=("nets:alike",), queries=16), Path("run"), say=lambda _: None)
    assert folder is not None
    record = RunRecord.of(folder)
    assert_follows_schema(json.loads((folder / "run.json").read_text()), "run")
    assert [(known.model, known.sha256) for known in record.imitators] == [("alike", "2" * 64)]
    with open(folder / "metrics.csv", newline="") as stream:
        assert [int(float(row["queries"])) for row in csv.DictReader(stream)] == [4, 8, 12, 16]
    words = " ".join(block.text for block in _trained(folder, record) if isinstance(block, Text))
    assert "predictions alone; the gradients are those of alike" in words
    network = replace(network, weights=WeightsInfo("made here", "3" * 64))
    with pytest.raises(InputError, match=r"the imitators' weights of .* have changed"):
        resume_run(folder)


def test_models_of_one_name_are_told_apart(tiny_run: TrainConfig, run: Path, monkeypatch) -> None:
    """As two detectors are, whose files are both called ``best.pt``; and a run goes on with the same ones only."""
    others = {name: make_tiny_victim() for name in ("a/best.pt", "b/best.pt")}
    others = {name: replace(net, name="best", weights=WeightsInfo(name, "2" * 64)) for name, net in others.items()}
    first = load_victim_of(tiny_run, others, monkeypatch)
    results = evaluate_run(run, models=list(others), defences=("median",), say=lambda _: None)
    assert list(results) == ["best", "best+median", "best-2", "best-2+median"]
    several = tiny_run.changed(ensemble=tuple(others), technique="ensemble")
    with pytest.raises(KeyboardInterrupt):
        train_run(several, Path("several"), progress=_stop, say=lambda _: None)
    record = RunRecord.of(Path("several"))
    assert list(record.also) == ["best", "best-2"] and first.name == "tiny"
    with open("several/metrics.csv", newline="") as stream:
        assert {"ce.tiny", "ce.best", "ce.best-2"} <= next(csv.DictReader(stream)).keys()
    others["b/best.pt"] = replace(others["b/best.pt"], weights=WeightsInfo("another", "3" * 64))
    with pytest.raises(InputError, match="the weights of best-2 of several have changed since it began"):
        resume_run(Path("several"))


def load_victim_of(config: TrainConfig, others: dict, monkeypatch: pytest.MonkeyPatch):
    """Let runs load these networks by name, and the tiny one by any other name, which is returned."""
    tiny = runs.load_victim(config.victim.model)
    for module in (runs, run_evaluation):
        monkeypatch.setattr(module, "load_victim", lambda name, **_: others.get(name, tiny))
    return tiny


def _stop(record: StepRecord, _: int) -> None:
    if record.step == 2:
        raise KeyboardInterrupt


def test_a_trained_run_refuses_to_keep_results_before_any_are_measured(run: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_evaluation, "load_victim", lambda *_, **__: pytest.fail("measured"))
    for place in (run, run / "patch.json"):
        with pytest.raises(InputError, match="keeps the results of its training; --save is for imported patches"):
            evaluate_run(place, save=True, say=lambda _: None)


def test_guards(tiny_run: TrainConfig, run: Path) -> None:
    with pytest.raises(InputError, match="no run yet under runs/; train one with"):
        find_run(None)
    with pytest.raises(InputError, match="no run elsewhere"):
        find_run("elsewhere")
    with pytest.raises(InputError, match="already holds a run"):
        train_run(tiny_run, run)
    (run / "checkpoint/state.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"is damaged .*; remove it to restart"):
        resume_run(run, say=lambda _: None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("\n2,", "\nx,"), "invalid literal for int"),
        (lambda text: text.replace("\n2,", "\n2,much"), "could not convert string to float"),
        (lambda text: text.replace("loss", "lost"), "expected the columns step, loss"),
        (lambda text: text + "\udcff\n", "can't decode byte"),
    ],
)
def test_damaged_numbers_of_the_steps_are_refused(change: Callable[[str], str], words: str, run: Path) -> None:
    file = run / "metrics.csv"
    file.write_bytes(change(file.read_bytes().decode()).encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"metrics\.csv is damaged.*{words}.*remove it to go on"):
        resume_run(run, steps=9, say=lambda _: None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("step"), "no number of its step"),
        (lambda state: state.update(step=torch.tensor(-1)), "no number of its step"),
        (lambda state: state.pop("technique.cells"), "'cells' is missing"),
        (lambda state: state.update({"technique.cells": torch.zeros(3, 3, 3)}), "must match"),
        (
            lambda state: state.update({"technique.cells": torch.full_like(state["technique.cells"], torch.nan)}),
            "no numbers",
        ),
        (lambda state: state.update({"technique.cells": torch.zeros(1, dtype=torch.float64)}), "another shape"),
        (lambda state: state.update(history=state["history"].flatten()), "another shape"),
        (lambda state: state.update(generator=torch.zeros(5)), "ByteTensor"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(change: Callable[[dict], object], words: str, run: Path) -> None:
    file = run / "checkpoint/state.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)
    with pytest.raises(InputError, match=rf"state\.safetensors is damaged \(.*({words}).*; remove it to restart"):
        resume_run(run, steps=9, say=lambda _: None)


def test_few_photographs_are_seen_in_several_poses_each(tiny_victim) -> None:
    assert [poses_for(tiny_victim, colour_photographs(count, 32)) for count in (1, 12, 60, 200)] == [60, 5, 1, 1]
    some = colour_photographs(60, 32)
    some.labels[12:] = UNLABELLED  # which do not count for a classifier, and are not shown
    assert poses_for(tiny_victim, some) == 5
    assert poses_for(replace(tiny_victim, task="detect"), some) == 1


@pytest.mark.slow
def test_kill_minus_nine_and_resume(few_views, command, tmp_path: Path, monkeypatch) -> None:
    """A real process, killed without warning in the middle, resumed from the command line."""
    monkeypatch.chdir(tmp_path)
    arguments = [
        "train",
        "--model",
        "efficientnet_lite0",
        "--steps",
        "6",
        "--batch",
        "2",
        "--target",
        "566",
        "--out",
        "run",
    ]
    started = [sys.executable, str(ROOT / "cli.py"), *arguments]
    with subprocess.Popen(started, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        metrics = tmp_path / "run/metrics.csv"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count("\n") >= 3):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "training"
    resumed = command("train", "--resume", "--out", "run")
    assert resumed.code == 0, resumed.err
    assert "resuming at step" in resumed.err and "resuming at step 0" not in resumed.err
    victim = load_victim("efficientnet_lite0")
    train, _ = load_photographs("samples", victim)
    whole = Trainer(victim, train, TrainConfig.of(steps=6, batch=2), 566)
    list(whole)
    assert Patch.load(tmp_path / "run").id == whole.patch.id


def test_two_trainings_in_one_folder(tiny_run: TrainConfig, tmp_path: Path) -> None:
    """The second is refused, and may go on when the first has been killed."""
    refused: list[str] = []

    def meanwhile(record: StepRecord, _steps: int) -> None:
        for second in (lambda: train_run(tiny_run, tmp_path / "run"), lambda: resume_run(tmp_path / "run")):
            with pytest.raises(InputError, match=r"holds a run|another physpatch is writing in .*run") as error:
                second()
            refused.append(str(error.value))
        if record.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(tiny_run, tmp_path / "run", progress=meanwhile, say=lambda _: None)
    assert len(refused) == 4 and "another physpatch is writing" in refused[1]
    assert resume_run(tmp_path / "run", say=lambda _: None) == tmp_path / "run"


def test_a_folder_is_claimed_before_anything_is_loaded(tiny_run: TrainConfig, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "load_victim", lambda *_, **__: pytest.fail("a model was loaded"))
    with claimed(tmp_path / "run"), pytest.raises(InputError, match="another physpatch is writing"):
        train_run(tiny_run, tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        train_run(tiny_run, tmp_path / "file/run")
    with pytest.raises(InputError, match="no data folder 'nowhere'"):
        train_run(tiny_run.changed(data="nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "runs").touch()
    with pytest.raises(InputError, match="runs cannot be written"):
        train_run(tiny_run)


def test_a_run_elsewhere_needs_no_link_to_it(tiny_run: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "runs").touch()  # as a folder that is read-only, also for root
    said: list[str] = []
    train_run(tiny_run, tmp_path / "run", mark_latest=True, say=said.append)
    assert RunRecord.of(tmp_path / "run").status == "finished"
    assert any(line.startswith("runs/latest cannot be linked to this run (") for line in said)


def test_a_damaged_patch_is_written_again_by_resuming(run: Path, tiny_run: TrainConfig) -> None:
    before = Patch.load(run).id
    (run / "patch.json").write_text("{")
    with pytest.raises(InputError, match=r"have it written again: `physpatch train --resume --out .*run`"):
        Patch.load(run)
    resume_run(run, say=lambda _: None)
    assert Patch.load(run).id == before
    assert TrainConfig.load(run / "patch.json") == TrainConfig.load(run / "run.json")


def test_a_run_says_how_its_starts_did(tiny_run: TrainConfig, tmp_path: Path) -> None:
    said: list[str] = []
    config = tiny_run.changed(restarts=2, trial=1.0, steps=3)
    folder = train_run(config, tmp_path / "run", say=said.append)
    losses = RunRecord.of(folder).start_losses
    assert len(losses) == 2
    told = [line for line in said if line.startswith("start ")]
    best = 1 + losses.index(min(losses))
    assert told == [
        f"start 1 of 2: loss {losses[0]:.3f}",
        f"start 2 of 2: loss {losses[1]:.3f}; the best is start {best}",
    ]


def test_a_training_keeps_the_class_of_its_start_where_the_target_is_auto(run: Path, tiny_run: TrainConfig) -> None:
    aimed = Patch.load(run).target
    assert aimed is not None
    said: list[str] = []
    config = tiny_run.changed(target="auto", start=str(run))
    materials, prepared = runs._prepare(config, Processes.alone(), said.append)
    assert materials.choice.how == "that of the patch to begin with" and prepared.objective.target == str(
        aimed["index"]
    )
    assert said[-1].startswith(f"target auto: '{aimed['name']}'")


def test_a_run_whose_network_recognises_nothing_still_finishes(tiny_run: TrainConfig, tiny_victim) -> None:
    tiny_victim.module.head.weight.zero_()
    tiny_victim.module.head.bias[:] = torch.tensor([0.0, 0.0, 0.0, 9.0])  # everything is a bright thing
    folder = train_run(tiny_run, say=lambda _: None)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished" and record["results"]["clean_accuracy"] == 0
    assert record["results"]["grad_cam"] == {"n": 0} and (folder / "examples.png").is_file()


def test_held_out_photographs_stay_those_of_the_run(run: Path, data: Path, tiny_victim) -> None:
    config = TrainConfig.from_dict(json.loads((run / "run.json").read_text())["config"])
    own = held_out_photographs(run, config, os.path.relpath(data), tiny_victim)  # the run's own, however it is spelled
    assert list(own.names) == json.loads((run / "run.json").read_text())["data"]["held_out_names"]


def test_a_run_that_split_by_seed_is_measured_on_what_it_held_out(run: Path, tiny_victim) -> None:
    """``run.json`` of before photographs were split by their content names what was held out, and nothing else."""
    record = json.loads((run / "run.json").read_text())
    del record["data"]["learned_from"]
    record["data"]["held_out_names"] = ["2.png", "5.png"]  # of each of the three classes
    (run / "run.json").write_text(json.dumps(record))
    config = TrainConfig.from_dict(record["config"])
    assert {path.name for path, _ in held_out_files(run, config, tiny_victim)} == {"2.png", "5.png"}
    assert len(held_out_photographs(run, config, None, tiny_victim)) == 6


def test_a_run_on_unlabelled_photographs_says_that_nothing_was_measured(
    tiny_run: TrainConfig, data: Path, tiny_victim, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    for i, path in enumerate(data.rglob("*.png")):
        (tmp_path / "plain" / f"{i}.png").write_bytes(path.read_bytes())
    config = tiny_run.changed(data=str(tmp_path / "plain"), target="none")
    folder = train_run(config, say=lambda _: None)
    record = json.loads((folder / "run.json").read_text())
    assert_follows_schema(record, "run")
    assert record["results"] == {}
    with pytest.raises(InputError, match="held out no labelled photographs"):
        held_out_photographs(folder, config, None, tiny_victim)


@pytest.mark.filterwarnings("ignore")
def test_a_detector_run_ends_with_results(tmp_path: Path, monkeypatch) -> None:
    ultralytics_detectors.import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    torch.save(
        {"model": DetectionModel("yolov8n.yaml", verbose=False), "train_args": {"imgsz": 64}}, tmp_path / "yolov8n.pt"
    )
    monkeypatch.chdir(tmp_path)
    config = TrainConfig.of(model="yolov8n.pt", steps=2, batch=2, target="none")
    folder = train_run(config, say=lambda _: None)
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished" and record["results"]["n"] == record["data"]["held_out"] > 5
    assert (folder / "gradcam.png").is_file()


def test_a_run_is_not_shortened(run: Path) -> None:
    with pytest.raises(InputError, match="already has 4 steps"):
        resume_run(run, steps=2)


def test_a_coarse_grid_that_fails_on_paper_gets_advice(finished: Path) -> None:
    record = RunRecord.of(finished)
    assert record.results is not None
    for rate, grid, eot, advised in (
        (0.2, (10, 10), EotConfig.preset("desk"), True),
        (0.8, (10, 10), EotConfig.preset("desk"), False),
        (0.2, (20, 20), EotConfig.preset("desk"), False),
        (0.2, (10, 10), EotConfig(), False),
    ):
        config = record.train_config.changed(grid=grid, eot=eot)
        results = record.results.changed(targeted_success=Rate(rate, (0.0, 1.0), 10))
        advice = _finer_grid_advice(record.changed(config=config.to_dict(), results=results))
        assert (advice is not None) == advised
        assert advice is None or ("20 % of the views" in advice and "--grid 20x20" in advice)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "margn"}, "unknown objective 'margn'"),
        ({"objective": "vanish"}, "objective vanish is for detectors"),
        ({"goal": "relabel"}, "goal relabel is for detectors"),
        ({"technique": "ensemble"}, "ensemble needs several victims"),
        ({"technique": "coarse-to-fine", "start": ("dark",)}, "begins with fields of one colour"),
        ({"technique": "black-box", "transfer": ("ghost",)}, "uses predictions alone"),
        ({"queries": 1000}, "--queries counts predictions"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_settings_that_do_not_fit_are_refused_before_a_class_is_raced_for(
    settings: dict[str, object], words: str, tiny_run: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physpatch.training.run.split_photographs", lambda *_: pytest.fail("photographs were read"))
    with pytest.raises(InputError, match=words):
        train_run(tiny_run.changed(target="auto", **settings), tmp_path / "run", say=lambda _: None)


def test_an_unknown_target_is_refused_before_photographs_are_tried(
    tiny_run: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("physpatch.training.run.split_photographs", lambda *_: pytest.fail("photographs were read"))
    with pytest.raises(InputError, match="unknown class 'blu thing'"):
        train_run(tiny_run.changed(target="blu thing"), tmp_path / "run", say=lambda _: None)
    assert not (tmp_path / "run").exists()
