"""Somebody else's installed package adds one of each kind, and the command line uses them without an edit here."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import ROOT

from calibration.common.errors import InputError
from calibration.common.registry import Registry
from physpatch.records.config import TrainConfig
from physpatch.techniques import TECHNIQUES, Technique

COMMANDS = """
import json, sys
import cli
for arguments in json.loads(sys.argv[1]):
    print("$", *arguments, flush=True)
    cli.cli.main(arguments, standalone_mode=False)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the stranger's package."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(ROOT / "tests/stranger", folder / "source")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*install, "--target", str(folder / "site"), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(site: Path, cwd: Path, *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """Run commands one after another in a process that finds the stranger's package."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    arguments = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stranger's extensions leave: a run, a session and its report."""
    folder = tmp_path_factory.mktemp("used")
    rng = np.random.default_rng(0)
    for number in range(16):
        pixels = rng.integers(0, 90, (36, 36, 3))
        pixels[..., number % 2] += 120
        (folder / "photographs").mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"photographs/{number}.png")
    rows = [f"{number}.png,{number % 2}" for number in range(16)]
    (folder / "photographs/labels.csv").write_text("\n".join(["file,class_index", *rows]))
    training = ["--technique", "steady", "--model", "colournet", "--objective", "plain-logit", "--target", "last"]
    training += ["--range", "stain=1:1", "--data", "photographs", "--steps", "6", "--batch", "4", "--area", "0.5"]
    training += [
        "--cut",
        "square",
        "--condition",
        "screen",
    ]  # on six steps and 36 pixels, the sheet would be most of it
    done = run(
        site,
        folder,
        ["train", *training, "--out", "run"],
        ["evaluate", "run", "--defence", "dusk", "--json", "evaluation.json"],
        ["live", "run", "--source", "corridor:3", "--headless", "--out", "session"],
        ["report", "session"],
        ["models"],
    )
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout + done.stderr)
    return folder


def test_technique_victim_objective_and_target_train_a_patch(folder: Path) -> None:
    record = json.loads((folder / "run/run.json").read_text())
    config = record["config"]
    assert config["optimisation"]["technique"] == "steady" and config["objective"]["loss"] == "plain-logit"
    assert record["weights"]["model"] == "colournet"
    patch = json.loads((folder / "run/patch.json").read_text())
    assert patch["target"] == {"index": 2, "name": "bluish"}
    colours = np.array(patch["grid"], dtype=float).mean(axis=(0, 1))
    assert colours[2] > 1.2 * max(colours[:2])  # it did learn
    assert "chosen by the stranger" in (folder / "out.txt").read_text()


def test_a_transform_is_drawn_within_its_range_and_kept_with_the_run(folder: Path) -> None:
    record = json.loads((folder / "run/run.json").read_text())
    assert record["config"]["eot"]["stain"] == [1.0, 1.0]
    with pytest.raises(InputError, match=r"unknown key 'stain'.*an extension that is not installed here"):
        TrainConfig.from_dict(record["config"])  # this process has not got the stranger's package
    learned = np.array(json.loads((folder / "run/patch.json").read_text())["grid"], dtype=float)[..., 2]
    assert learned[:, 5:].mean() > learned[:, :5].mean() + 50  # what lies under the stain has no gradient


def test_a_defence_is_measured(folder: Path) -> None:
    assert "defence" in json.loads((folder / "evaluation.json").read_text())["colournet+dusk"]


def test_a_source_is_filmed_and_a_section_reported(folder: Path) -> None:
    rows = (folder / "session/frames.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    report = (folder / "session/report.html").read_text()
    assert "Colophon" in report and "This chapter is the stranger" in report
    assert report.index("How it was measured") < report.index("Colophon")


def test_a_model_is_listed(folder: Path) -> None:
    _, _, listed = (folder / "out.txt").read_text().partition("$ models")
    assert "colournet" in listed


@pytest.mark.parametrize(
    ("name", "words"),
    [("broken", "does not load"), ("unfit", "is not a valid objective: expected a class derived from")],
)
def test_an_extension_that_cannot_be_used_harms_no_other(site: Path, folder: Path, name: str, words: str) -> None:
    arguments = ["train", "--model", "colournet", "--data", "photographs", "--objective", name, "--target", "last"]
    done = run(site, folder, [*arguments, "--out", f"run-{name}"])
    assert done.returncode and f"the objective '{name}' cannot be used: stranger:" in done.stderr
    assert words in done.stderr


def test_an_unknown_name_has_its_neighbours_named() -> None:
    with pytest.raises(InputError, match="unknown technique 'admm'; did you mean 'adam'"):
        TECHNIQUES.find("admm")


def test_a_registry_finds_the_classes_of_its_package_alone() -> None:
    again = Registry("technique", Technique, "physpatch.techniques", "nobody.registers.here")
    assert dict(again) == dict(TECHNIQUES) and not again.broken
    assert all(technique.name == name and technique.summary for name, technique in again.items())
