"""Does training against a measured rig pay? Two patches, trained alike but for the profile, on the same hidden rig.

    python benchmarks/profile_gain.py --data DATA [--steps 150] [--seeds 3] [--first-seed 3]

A rig prints on plain paper. Its sheets are filmed, a profile is fitted to the pictures alone, and a patch is trained with it
and another without it, at equal steps. Both are then printed by the rig and held before the held-out photographs at the same
poses, with a grey control. Each seed is another rig, with a printer, light and camera of its own, and another start of both
trainings. Prints one JSON line a seed: success on the photographs that are right with grey in both, and the difference with
its 95 % interval, paired by photograph, which holds for that rig alone; and one at the end: the mean gain over rigs, with
Student's t interval over them.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from calibration_accuracy import shots
from numpy.typing import NDArray
from one_line import run_main

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.common.errors import InputError
from captures.inference.analyser import to_input
from captures.sources.virtual_rig import RIG_HFOV_DEG, RigTruth, VirtualRig
from physpatch import TrainConfig, load_victim
from physpatch.records.patch_file import Patch
from physpatch.rendering.rig_ranges import eot_for_rig
from physpatch.stats.intervals import mean_interval, paired_difference
from physpatch.training.run import held_out_files, train_run
from physpatch.victims.protocol import Victim
from printouts import print_sheets, print_targets

_TARGET = "digital clock"
_PAPER = "uncoated"
_OUTCOMES = ("target_first", "made_wrong")


def main() -> None:
    """Print one JSON line a seed, and one of them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3, help="hidden rigs, each with its own training seed")
    parser.add_argument("--first-seed", type=int, default=3)
    options = parser.parse_args()
    results = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        results.append(gained(options.data, options.steps, seed))
        print(json.dumps(results[-1]), flush=True)  # noqa: T201
    summary: dict[str, Any] = {"seeds": [result["seed"] for result in results]}
    for measure in _OUTCOMES:
        gain = mean_interval([result[measure]["gain"]["difference"] for result in results])
        summary[measure] = {"mean_gain": gain and gain[0], "ci95_over_rigs": gain and gain[1]}
    print(json.dumps(summary))  # noqa: T201


def gained(data: str, steps: int, seed: int) -> dict[str, Any]:
    """Train with and without the profile of one hidden rig, and hold both patches before it."""
    base = TrainConfig.of(model="efficientnet_lite0", data=data, target=_TARGET, steps=steps, seed=seed)
    truth = RigTruth.draw(seed, _PAPER)
    victim = load_victim(base.victim.model)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        profile = measured(truth, folder)
        configs = {"without": base, "with": base.changed(eot=eot_for_rig(base.eot, profile))}
        sessions = {}
        for name, config in configs.items():
            train_run(config, folder / name)
            sessions[name] = filmed(folder / name, config, truth, seed, victim)
    right = sessions["without"]["grey_right"] & sessions["with"]["grey_right"]
    if not right.any():
        raise InputError(
            f"none of the {len(right)} held-out photographs of {data} is right behind both grey sheets; give more"
        )
    result: dict[str, Any] = {"seed": seed, "steps": steps, "of_all": len(right), "n": int(right.sum())}
    for measure in _OUTCOMES:
        without, profiled = (sessions[name][measure][right].astype(float).tolist() for name in ("without", "with"))
        gain = paired_difference(profiled, without)
        result[measure] = {"without": fmean(without), "with": fmean(profiled), "gain": gain.to_dict()}
    return result


def measured(truth: RigTruth, folder: Path) -> RigProfile:
    """Fit the profile that a user would: from pictures of the chart."""
    sheets, wall = folder / "calibration.pdf", folder / "wall.png"
    cv2.imwrite(str(wall), np.full((10, 10, 3), 128, np.uint8))
    print_targets(sheets)
    lens = Intrinsics.from_hfov(1280, 960, RIG_HFOV_DEG)
    rig = VirtualRig(sheets, [(wall, None)], truth=truth, lens=lens)
    cells = rig.layouts[1].cells
    assert cells is not None
    return RigProfile(lights=(LightProfile.fit("lamp", cells, shots(rig, 1, lens, np.random.default_rng(1))),))


def filmed(run: Path, config: TrainConfig, truth: RigTruth, seed: int, victim: Victim) -> dict[str, NDArray[np.bool_]]:
    """Tell for each held-out photograph whether grey is right, the patch's target is first, and its answer is wrong."""
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
    patch_answers, grey_answers, true_labels = (
        np.array(values) for values in (answers["patch"], answers["grey"], labels)
    )
    counts = (grey_answers == true_labels) & (true_labels != _TARGET)
    return {"grey_right": counts, "target_first": patch_answers == _TARGET, "made_wrong": patch_answers != true_labels}


if __name__ == "__main__":
    run_main(main)
