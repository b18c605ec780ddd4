"""Several processes on this machine end with the patch of one: the real launchers, gloo, the embedded network."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import HELPERS, ROOT

from calibration.common.errors import InputError
from calibration.common.files import read_json
from physpatch import Patch, TrainConfig, Trainer, load_photographs, load_victim
from physpatch.training.distributed import Processes

WORKER = """
import atexit
import sys
from dataclasses import replace
from pathlib import Path
import torch
from safetensors.torch import save_file
from support import ON_SCREEN, ColourNet, colour_photographs, CATEGORIES
from calibration.colour.printing_condition import training_conditions
from physpatch.records.config import TrainConfig
from physpatch.training.distributed import Processes
from physpatch.training.trainer import Trainer
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import Preprocessing, Victim, WeightsInfo

torch.set_num_threads(1)
out, *techniques = sys.argv[1:]


def tell_group() -> None:
    Path(out, f"{processes.count}-{processes.index}.group").write_text(str(torch.distributed.is_initialized()))


atexit.register(tell_group)  # before the group is made, so that it is called after all that making it registers
network = freeze(ColourNet(), 32)
victim = Victim("tiny", "classify", CATEGORIES, Preprocessing(32, 36, (0.0,) * 3, (1.0,) * 3), network, network.norm,
                WeightsInfo("made here", "0" * 64))
processes = Processes.launched("cpu")
for name in techniques:
    technique, _, worst = name.partition("-worst-")
    technique, _, rate = technique.partition("-dro-")
    eot = ON_SCREEN.changed(prints=training_conditions()) if rate else ON_SCREEN
    config = TrainConfig.of(steps=15, batch=8, area=0.6, cut="square", eot=eot, grid=(4, 4), seed=3,
                            technique=technique, worst=float(worst or 1), group_dro=float(rate or 0), restarts=2)
    trainer = Trainer(victim, colour_photographs(16, 36), config, 2, processes=processes)
    losses = [record.loss for record in trainer]
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    cells = trainer._technique.cells().detach().contiguous()
    file = f"{name}-{processes.count}-{processes.index}.safetensors"
    save_file({"cells": cells, "losses": torch.tensor(losses)}, Path(out, file))
"""


def launch(script: Path, processes: int, *arguments: object) -> None:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HELPERS}", "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else []), script, *map(str, arguments)]
    ran = subprocess.run(command, cwd=script.parent, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr[-3000:]


TECHNIQUES = ("adam", "adam-worst-0.3", "adam-dro-0.05", "coarse-to-fine", "black-box", "evolution")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two left, of one training after another."""
    folder = tmp_path_factory.mktemp("trained")
    script = folder / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    for count in (1, 2):
        launch(script, count, folder, *TECHNIQUES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_two_processes_end_with_the_patch_of_one(technique: str, trained: Path) -> None:
    from safetensors.torch import load_file

    names = (f"{technique}-{process}.safetensors" for process in ("1-0", "2-0", "2-1"))
    alone, first, second = (load_file(trained / name) for name in names)
    assert torch.equal(first["cells"], second["cells"])
    torch.testing.assert_close(first["cells"], alone["cells"], atol=1e-5, rtol=0)
    torch.testing.assert_close(first["losses"], alone["losses"], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_group_is_left_before_a_process_ends(trained: Path) -> None:
    """Where gloo's threads are left running, a process aborts now and then as it ends."""
    assert [(trained / f"2-{index}.group").read_text() for index in range(2)] == ["False", "False"]


@pytest.mark.slow
def test_the_command_line_under_a_launcher_writes_once(tmp_path: Path) -> None:
    """`torchrun … train` with the embedded network: one run folder, and the patch of a single process."""
    arguments = [
        "--model",
        "efficientnet_lite0",
        "--target",
        "530",
        "--technique",
        "static",
        "--steps",
        "2",
        "--batch",
        "4",
    ]
    runner = tmp_path / "run.py"
    runner.write_text("import cli, support; support.measure_briefly(); cli.main()", encoding="utf-8")
    launch(runner, 2, "train", *arguments, "--out", tmp_path / "two")
    victim = load_victim("efficientnet_lite0", device="cpu")
    train, _ = load_photographs("samples", victim)
    alone = Trainer(victim, train, TrainConfig.of(technique="static", steps=2, batch=4), 530)
    list(alone)
    shared = Patch.load(tmp_path / "two").cells
    assert np.abs(shared.astype(int) - alone.patch.cells).max() <= 1  # of 255: a rounding
    assert read_json(tmp_path / "two" / "run.json")["status"] == "finished"
    assert (tmp_path / "two" / "metrics.csv").read_text(encoding="utf-8").count("\n") == 3


def test_a_batch_must_be_shared_evenly() -> None:
    assert Processes(1, 2).rows(8) == slice(4, 8) and Processes.alone().rows(7) == slice(0, 7)
    with pytest.raises(InputError, match="a batch of 7 cannot be divided evenly among 2 processes; change --batch"):
        Processes(0, 2).rows(7)
