"""Pose, lens and colours of rendered frames, against what the rendered rig planned, with the virtual rig's measures.

    python benchmarks/rendered_calibration.py [--seeds 1] [--frames 12] [--views 20] [--size 640x480] [--samples 16]

Poses are measured in each flat scene on a sheet with a patch of 10 cm; lens and colours are calibrated in the first of these
scenes, under its light, and colours are tested on 100 that no fit saw. Prints one JSON line: the poses' errors by scene as
``pose_accuracy.py`` gives them, and the median and worst of ``calibration_accuracy.py``'s errors over the seeds. The goals are
0.5 % of the distance, 1 degree, and a CIEDE2000 of 1.0.
"""

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from calibration_accuracy import calibration_errors, print_unseen, seed_summary
from one_line import run_main
from pose_accuracy import pose_errors, pose_summary

from calibration.camera.sheet_pose import find_sheet, make_detector
from captures.sources.rendered.rendered_rig import SAMPLES, RenderedRig
from captures.sources.rendered.scene_file import Scene
from physpatch.records.patch_file import Patch
from printouts import print_sheets, print_targets

_PATCH_MM = 100


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="lenses and colours to calibrate; 0 for poses alone")
    parser.add_argument("--frames", type=int, default=12, help="poses in each scene; 0 for none")
    parser.add_argument("--views", type=int, default=20, help="stills of the board")
    parser.add_argument("--size", type=frame_wh, default="640x480", help="of a frame")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="a pixel")
    parser.add_argument("--scenes", nargs="+", default=["stand", "street", "room"], help="with a flat sheet")
    options = parser.parse_args()
    rendered = {"frame_wh": options.size, "samples": options.samples}
    result: dict[str, object] = {"size": "{}x{}".format(*options.size), "samples": options.samples}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cv2.imwrite(str(folder / "wall.png"), np.full((10, 10, 3), 128, np.uint8))
        if options.frames:
            result["pose"] = {name: poses(name, options.frames, folder, rendered) for name in options.scenes}
        if options.seeds:
            errors = [
                calibrated(options.scenes[0], seed, options.views, folder, rendered) for seed in range(options.seeds)
            ]
            result["calibration"] = {"scene": options.scenes[0], "seeds": options.seeds} | seed_summary(errors)
    print(json.dumps(result))  # noqa: T201


def frame_wh(text: str) -> tuple[int, int]:
    """Read --size."""
    width, height = map(int, text.split("x"))
    return width, height


def poses(name: str, frames: int, folder: Path, rendered: dict) -> dict[str, object]:
    """Measure the errors of the poses in a scene."""
    patch = Patch(np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(patch, _PATCH_MM, folder / "patch.pdf")
    rig = RenderedRig(folder / "patch.pdf", Scene.read(name), [(folder / "wall.png", None)], **rendered)
    detector = make_detector()
    return pose_summary(
        [
            pose_errors(frame.truth.pose, find_sheet(frame.image, rig.layouts, rig.intrinsics, detector))
            for frame in rig.film(0, frames, np.random.default_rng(1))
            if frame.truth is not None
        ]
    )


def calibrated(name: str, seed: int, views: int, folder: Path, rendered: dict) -> dict[str, float]:
    """Measure the errors of a lens and colours that are calibrated in a scene."""
    print_targets(folder / "targets.pdf")
    unseen = print_unseen(seed, folder / "unseen.pdf")
    rig, tested = (
        RenderedRig(folder / pdf, Scene.read(name), [(folder / "wall.png", None)], seed=seed, **rendered)
        for pdf in ("targets.pdf", "unseen.pdf")
    )
    return calibration_errors(rig, tested, unseen, np.random.default_rng([seed, 1]), views=views, tries=8)


if __name__ == "__main__":
    run_main(main)
