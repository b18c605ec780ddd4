"""One small real artefact of each kind, for the torture bench: made by the commands that people use."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[1]
TRAIN = [
    "--model",
    "efficientnet_lite0",
    "--target",
    "5",
    "--batch",
    "2",
    "--grid",
    "4x4",
    "--seed",
    "3",
    "--recognised",
    "0",
    "--device",
    "cpu",
]
BENCH = ["--steps", "1", "--batch", "2", "--grid", "4x4", "--target", "5", "--seeds", "2", "--device", "cpu"]
LIVE = ["--source", "virtual", "--frames-per-clip", "1", "--no-cam", "--headless", "--keep", "all", "--device", "cpu"]

_PLAN = """conditions = ["patch", "grey"]
distances_m = [0.4, 0.8]
yaws_deg = [-30, 0, 30]
lights = ["day", "lamp"]
repeats = 1
seconds = 2.0
distance_tolerance = 0.15
yaw_tolerance_deg = 10
seed = 0
"""
_SCENE = """version = 1
[support]
shape = "curl"
axis_deg = 90.0
radius_mm = 200.0
[paper]
index = 1.5
roughness = 0.4
[[lights]]
kind = "panel"
spectrum = "D65"
power = 1.0
at_m = [0.5, -0.8, -0.6]
size_m = [0.3, 0.3]
"""
_SETTINGS = """[victim]
model = "efficientnet_lite0"
precision = "auto"
[patch]
grid = [4, 4]
area = 0.15
[objective]
target = "5"
worst = 0.5
[optimisation]
technique = "pgd"
steps = 2
learning_rate = 0.1
transfer = []
[eot]
preset = "desk"
blur_px = [0.0, 1.5]
rotation_deg = [-10, 10]
gain = [0.8, 1.2]
"""


def command(*words: str | Path) -> list[str]:
    """Return the command line of ``physpatch`` of this checkout."""
    return [sys.executable, str(ROOT / "cli.py"), *map(str, words)]


def surroundings() -> dict[str, str]:
    """Return the environment in which commands run: this checkout's code, one thread, no network."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def physpatch(folder: Path, *words: str | Path) -> str:
    """Run a command in a folder; return what it printed.

    Raises:
        RuntimeError: it failed.
    """
    process = subprocess.run(
        command(*words), cwd=folder, env=surroundings(), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise RuntimeError(f"physpatch {' '.join(map(str, words))}: {process.stderr[-2000:]}")
    return process.stdout


def make_artefacts(folder: Path) -> Path:
    """Make a run with its sheets, a session, a rig profile, a bench, a zip of all and files of settings; return ``folder``."""
    physpatch(folder, "train", *TRAIN, "--steps", 2, "--out", "run")
    physpatch(folder, "print", "run", "--size", "10cm", "--controls")
    physpatch(folder, "print", "run", "--size", "30cm", "--out", "poster.pdf")
    physpatch(folder, "live", "run", *LIVE, "--clips", 2, "--out", "session")
    physpatch(folder, "calibrate", "colour", "--from-session", "session", "--profile", "rig.json")
    physpatch(folder, "bench", *BENCH, "--out", "bench")
    physpatch(folder, "report", "session", "--no-replay")
    physpatch(folder, "runs", "export", "session", "--out", "packed.zip")
    give_lens(folder / "rig.json")
    for name, text in (("plan.toml", _PLAN), ("scene.toml", _SCENE), ("settings.toml", _SETTINGS)):
        (folder / name).write_text(text, encoding="utf-8")
    cells = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    save_file({"patch": cells}, folder / "patch.safetensors")
    np.save(folder / "patch.npy", cells)
    shutil.copy(folder / "run/patch.png", folder / "patch.png")
    shutil.copy(folder / "session/video.mp4", folder / "film.mp4")
    return folder


def give_lens(profile: Path) -> None:
    """Add a lens to a rig profile, as ``calibrate camera`` does."""
    rig = json.loads(profile.read_text(encoding="utf-8"))
    lens = {
        "width": 640,
        "height": 480,
        "fx": 600.0,
        "fy": 600.0,
        "cx": 319.5,
        "cy": 239.5,
        "distortion": [0.1, 0, 0, 0, 0],
    }
    rig |= {"intrinsics": lens, "print_scale": [0.99, 1.01], "lens": {"views": 12, "rms_px": 0.4}}
    profile.write_text(json.dumps(rig), encoding="utf-8")


@dataclass(frozen=True)
class Kind:
    """A kind of artefact: where its file lies, how it is written, and what reads it.

    Attributes:
        file: in the folder of :func:`make_artefacts`.
        form: json, toml, csv, sqlite, pdf, zip, safetensors or bytes.
        readers: names of :data:`torture_readers.READERS`.
        spoilt: files that a broken one replaces, so that this one is read.
        weight: how often it is mutated, relative to the others.
    """

    file: str
    form: str
    readers: tuple[str, ...]
    spoilt: tuple[str, ...] = ()
    weight: int = 2


_SESSION = ("report", "runs", "gallery", "gate", "compare", "colours", "learn", "resume session", "replay")
KINDS = (
    Kind("run/run.json", "json", ("report run", "runs", "gate run", "print", "settings", "compare runs"), weight=5),
    Kind("run/patch.json", "json", ("report run", "print", "export"), weight=2),
    Kind("run/metrics.csv", "csv", ("resume run", "report run"), weight=4),
    Kind("run/checkpoint/state.safetensors", "safetensors", ("resume run",), weight=4),
    Kind("run/sheet.pdf", "pdf", ("verify", "measured", "colours", "report run", "live sheet"), weight=6),
    Kind("poster.pdf", "pdf", ("verify poster", "film poster"), weight=2),
    Kind("session/session.db", "sqlite", _SESSION, weight=10),
    Kind("session/session.json", "json", _SESSION, weight=5),
    Kind("session/frames.csv", "csv", ("report",), spoilt=("session/session.db",), weight=2),
    Kind("session/raw/000003.jpg", "bytes", ("colours", "report", "replay"), weight=1),
    Kind("rig.json", "json", ("show rig", "rig ranges", "rig lens"), weight=5),
    Kind("bench/cells/*.json", "json", ("bench",), weight=5),
    Kind("packed.zip", "zip", ("unpack",), weight=4),
    Kind("settings.toml", "toml", ("settings toml",), weight=4),
    Kind("plan.toml", "toml", ("plan",)),
    Kind("scene.toml", "toml", ("scene",)),
    Kind("patch.png", "bytes", ("import png",)),
    Kind("patch.safetensors", "safetensors", ("import safetensors",)),
    Kind("patch.npy", "bytes", ("import npy",)),
    Kind("film.mp4", "bytes", ("film",)),
)
