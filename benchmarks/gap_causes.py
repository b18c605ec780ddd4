"""Does the replay name what is wrong? One cause is planted at a time in the virtual rig, and the replay does not know which.

    python benchmarks/gap_causes.py --run RUN [--cases 10] [--clips 12] [--only colour]

The rig prints true colours, sharp and near, as the patch was trained for, but for the cause: another printer's inks and
sensor (colour), a lens out of focus (blur), turns beyond those trained (pose), or a sheet far away (resolution). Everything
else of a case, backgrounds, poses, light and noise, is drawn by its seed. Prints a JSON line a case and one in the end:
how often the cause was named, beside what was lost at each step.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from calibration.files import read_json
from calibration.sheet import SheetLayout
from captures.analyse import to_input
from captures.gap import measure_gap
from captures.opencv import rgb
from captures.recorded import RecordedSession
from captures.session import film_rig
from captures.virtual import RigPose, RigTruth, VirtualRig
from physpatch import Patch, TrainConfig, load_victim
from physpatch.runs import held_out_files
from physpatch.victims.base import Victim
from printouts import print_sheets

CAUSES = {
    "colour": "coloured",
    "blur": "blurred",
    "pose": "posed",
    "resolution": "sized",
}  # and the step that it is lost at
_NEAR_M = 0.3  # at which a print of 10 cm covers the area trained for
_FAR_M = (0.6, 0.75)
_UPRIGHT_DEG = 8.0
_TURNED_DEG = (55.0, 63.0)
_BLURRED_PX = (1.7, 2.0)
_SHEET = (0.65, 0.85)  # width and height of the sheet, of the picture's side
_PATCH_OF_SHEET = 0.6


class PlantedRig(VirtualRig):
    """Holds the sheets near and upright, unless the cause is the pose or the distance."""

    def __init__(self, cause: str, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self._cause = cause

    def _draw_pose(self, rng: np.random.Generator, layout: SheetLayout) -> RigPose:
        distance = float(rng.uniform(*_FAR_M)) if self._cause == "resolution" else _NEAR_M
        yaw, pitch, roll = (float(angle) for angle in rng.uniform(-_UPRIGHT_DEG, _UPRIGHT_DEG, 3))
        if self._cause == "pose":
            yaw = float(rng.choice((-1, 1)) * rng.uniform(*_TURNED_DEG))
        x, y = (float(at) for at in rng.uniform(-0.02, 0.02, 2))
        return RigPose(distance, x, y, yaw, pitch, roll)


def planted(cause: str, seed: int) -> RigTruth:
    """A faithful printer and a good camera, but for the cause."""
    rng = np.random.default_rng([seed, 7])
    faithful = RigTruth(0.93 * np.eye(3), 1.0, 0.01, np.eye(3), 0.4, 0.003, 0.008, 0.1, 95)
    if cause == "colour":
        other = RigTruth.draw(seed, "plain")
        return replace(faithful, ink=other.ink, dot_gain=other.dot_gain, ink_floor=other.ink_floor, sensor=other.sensor)
    return replace(faithful, blur_px=float(rng.uniform(*_BLURRED_PX))) if cause == "blur" else faithful


def recognised(victim: Victim, path: Path, label: str | None) -> bool:
    """Whether a photograph stays recognised behind a sheet in its middle, upright or turned: others would not count."""
    return steady_answer(victim, path) == label


def steady_answer(victim: Victim, path: Path) -> str | None:
    """What a photograph is taken for behind a sheet in its middle, where it is the same upright and turned."""
    picture = rgb(cv2.imread(str(path)))
    height, width = picture.shape[:2]
    inputs = []
    for across, down in (_SHEET, _SHEET[::-1]):
        shown = picture.copy()
        for share, level in ((1.0, 215), (_PATCH_OF_SHEET, 128)):
            x, y = (round(share * half * min(height, width) / 2) for half in (across, down))
            middle = (slice(height // 2 - y, height // 2 + y), slice(width // 2 - x, width // 2 + x))
            shown[middle] = level
        inputs.append(to_input(shown, victim.preprocessing))
    with torch.no_grad():
        best = victim.scores(torch.cat(inputs).to(victim.device)).argmax(dim=1).tolist()
    return victim.categories[best[0]] if best[0] == best[1] else None


def main() -> None:
    """Print the cases and the count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="of a targeted patch that was trained for small changes"
    )
    parser.add_argument("--cases", type=int, default=10, help="of each cause")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--only", choices=CAUSES)
    options = parser.parse_args()
    record = read_json(options.run / "run.json")
    config, patch = TrainConfig.from_dict(record["config"]), Patch.load(options.run)
    victim = load_victim(config.model)
    behind = [pair for pair in held_out_files(options.run, config, victim) if recognised(victim, *pair)]
    named = []
    with tempfile.TemporaryDirectory() as work:
        sheet = Path(work) / "sheet.pdf"
        print_sheets(patch, 100, sheet, controls=("grey", "random"))
        for cause in [options.only] if options.only else CAUSES:
            for seed in range(options.cases):
                rig = PlantedRig(
                    cause, sheet, behind, clips=options.clips, frames_per_clip=1, seed=seed, truth=planted(cause, seed)
                )
                session = film_rig(rig, victim, patch.target, Path(work) / f"{cause}-{seed}", sheet=str(sheet))
                gap = measure_gap(RecordedSession.open(session), victim, patch, config)
                named.append(gap.cause == CAUSES[cause])
                rates = {step.name: round(step.rate.rate or 0, 2) for step in gap.steps}
                line = {"planted": cause, "seed": seed, "named": gap.cause, "n": gap.steps[0].rate.n, "rates": rates}
                print(json.dumps(line), flush=True)  # noqa: T201
    print(json.dumps({"cases": len(named), "named_right": sum(named)}))  # noqa: T201


if __name__ == "__main__":
    main()
