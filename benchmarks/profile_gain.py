"""Does training against a measured rig pay? Two patches, trained alike but for the profile, on the same hidden rig.

    python benchmarks/profile_gain.py --data DATA [--steps 150] [--seed 3]

The rig prints on plain paper. Its sheets are filmed, a profile is fitted to the pictures alone, and a patch is trained with
it and another without it, at equal steps. Both are then printed by the rig and held before the held-out photographs at the
same poses, with a grey control. Prints one JSON line: success on the photographs that are right with grey, and the
difference with its 95 % interval, paired by photograph.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from calibration_accuracy import shots
from numpy.typing import NDArray

from calibration.camera import Intrinsics
from calibration.profile import LightProfile, RigProfile
from captures.analyse import to_input
from captures.virtual import RIG_HFOV_DEG, RigTruth, VirtualRig
from physpatch import EotConfig, TrainConfig, load_victim
from physpatch.artifact import Patch
from physpatch.rig import eot_for_rig
from physpatch.runs import held_out_files, train_run
from physpatch.victims.base import Victim
from printouts import print_sheets, print_targets

_TARGET = "digital clock"
_PAPER = "plain"


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=3, help="of the hidden rig")
    options = parser.parse_args()
    base = TrainConfig(model="efficientnet_lite0", data=options.data, target=_TARGET, steps=options.steps)
    truth = RigTruth.draw(options.seed, _PAPER)
    victim = load_victim(base.model)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        profile = measured(truth, folder)
        configs = {"without": base, "with": replace(base, eot=eot_for_rig(EotConfig(), profile))}
        seen = {}
        for name, config in configs.items():
            train_run(config, folder / name)
            seen[name] = filmed(folder / name, config, truth, options.seed, victim)
    right = seen["without"]["grey_right"] & seen["with"]["grey_right"]
    result = {
        "seed": options.seed,
        "steps": options.steps,
        "n": int(right.sum()),
        "before_de00": profile.lights[0].before[0],
    }
    for what in ("target_first", "made_wrong"):
        plain, rig = (seen[name][what][right].astype(float) for name in ("without", "with"))
        gain = rig - plain
        spread = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        result[what] = {
            "without": round(plain.mean(), 3),
            "with": round(rig.mean(), 3),
            "gain": round(gain.mean(), 3),
            "ci95": [round(gain.mean() - spread, 3), round(gain.mean() + spread, 3)],
        }
    print(json.dumps(result))  # noqa: T201


def measured(truth: RigTruth, folder: Path) -> RigProfile:
    """The profile that a user would fit: from pictures of the chart."""
    sheets, wall = folder / "calibration.pdf", folder / "wall.png"
    cv2.imwrite(str(wall), np.full((10, 10, 3), 128, np.uint8))
    print_targets(sheets)
    lens = Intrinsics.from_hfov(1280, 960, RIG_HFOV_DEG)
    rig = VirtualRig(sheets, [(wall, None)], truth=truth, lens=lens)
    cells = rig.layouts[1].cells
    assert cells is not None
    return RigProfile(lights=(LightProfile.fit("lamp", cells, shots(rig, 1, lens, np.random.default_rng(1))),))


def filmed(run: Path, config: TrainConfig, truth: RigTruth, seed: int, victim: Victim) -> dict[str, NDArray[np.bool_]]:
    """For each held-out photograph: whether grey is right, whether the patch's target is first, whether its answer is wrong."""
    patch = Patch.load(run)
    print_sheets(patch, 100, run / "sheet.pdf", controls=("grey",))
    behind = held_out_files(run, config, victim)
    rig = VirtualRig(run / "sheet.pdf", behind, clips=len(behind), frames_per_clip=1, seed=seed, truth=truth)
    answers: dict[str, list[str]] = {"patch": [], "grey": []}
    labels = []
    for frame in rig:
        with torch.no_grad():
            scores = victim.scores(to_input(frame.image, victim.preprocessing).to(victim.device))
        answers[str(frame.condition)].append(victim.categories[int(scores.argmax())])
        if frame.condition == "patch":
            labels.append(frame.label)
    shown, grey, truly = (np.array(values) for values in (answers["patch"], answers["grey"], labels))
    return {"grey_right": grey == truly, "target_first": shown == _TARGET, "made_wrong": shown != truly}


if __name__ == "__main__":
    main()
