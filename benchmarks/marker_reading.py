"""How many markers of a sheet are missed in frames of the virtual rig, with OpenCV's defaults and with ours.

    python benchmarks/marker_reading.py [--frames 120]

Cameras, distances (0.35 to 0.55 m, 3 to 5 pixels a marker bit) and turns are random; one printer prints the sheet. Prints one
JSON line.
"""

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from calibration.camera.sheet_pose import make_detector
from calibration.sheet.layout import marker_dictionary
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=120)
    frames = parser.parse_args().frames
    detectors = {
        "opencv_defaults": cv2.aruco.ArucoDetector(marker_dictionary()),
        "ours": make_detector(),
    }
    missed = dict.fromkeys(detectors, 0)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rig = _rig(Path(folder))
        printed = {marker.id for marker in rig.layouts[0].markers}
        for seed in range(frames):
            rig.truth = RigTruth.draw(seed)
            pose = RigPose(rng.uniform(0.35, 0.55), 0, 0, *rng.uniform(-35, 35, 2), rng.uniform(-180, 180))
            behind = np.full((rig.intrinsics.height, rig.intrinsics.width, 3), rng.uniform(0.02, 0.5))
            grey = cv2.cvtColor(rig.render(0, pose, behind, rng), cv2.COLOR_RGB2GRAY)
            for name, detector in detectors.items():
                ids = detector.detectMarkers(grey)[1]
                missed[name] += len(printed - set([] if ids is None else ids.ravel().tolist()))
    print(json.dumps({"markers": 4 * frames, "missed": missed}))  # noqa: T201


def _rig(folder: Path) -> VirtualRig:
    patch = Patch(np.random.default_rng(0).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(patch, 100, folder / "sheet.pdf")
    return VirtualRig(folder / "sheet.pdf", [(folder / "none", None)])


if __name__ == "__main__":
    main()
