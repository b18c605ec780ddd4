"""Distance and angles of a sheet, against the virtual rig's truth, from 0.3 to 4 m and 0 to 60 degrees.

    python benchmarks/pose_accuracy.py [--frames 300]

Frames of 1920x1440 from a lens with distortion; a patch of 10 cm up to a metre, of 25 cm up to two, of 50 cm beyond. Prints
one JSON line: medians, 95th percentiles, how many tilts were given as unknown, and how many on the wrong branch (more than 10
degrees off), of those that were found.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import SheetPose, find_sheet, make_detector, rotation_matrix
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets

_WRONG_DEG = 10.0


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    plain = Intrinsics.from_hfov(1920, 1440, 60)
    lens = replace(plain, distortion=(-0.12, 0.04, 3e-4, -2e-4, 0.0), assumed=False)
    patch = Patch(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8))
    detector = make_detector()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        wall = Path(folder) / "wall.png"
        cv2.imwrite(str(wall), np.full((10, 10, 3), 128, np.uint8))
        rigs = {}
        for size, paper in ((100, "a4"), (250, "a3"), (500, "a3")):
            pdf = Path(folder) / f"{size}.pdf"
            print_sheets(patch, size, pdf, paper=paper)
            rigs[size] = VirtualRig(pdf, [(wall, None)], seed=size, lens=lens)
        behind = np.full((lens.height, lens.width, 3), 0.3)
        for _ in range(options.frames):
            distance = float(np.exp(rng.uniform(np.log(0.3), np.log(4))))
            rig = rigs[100 if distance < 1 else 250 if distance < 2 else 500]
            tilt, around = rng.uniform(0, 60), rng.uniform(0, 2 * np.pi)
            yaw, pitch = float(tilt * np.cos(around)), float(tilt * np.sin(around))
            half = np.array([lens.width, lens.height]) * distance / (2 * lens.fx)
            size_m = max(rig.layouts[0].cut.width_mm, rig.layouts[0].cut.height_mm) / 1000
            x, y = rng.uniform(-1, 1, 2) * np.clip(half - 0.55 * size_m, 0, None)
            pose = RigPose(distance, float(x), float(y), yaw, pitch, float(rng.uniform(-20, 20)))
            measured = find_sheet(rig.render(0, pose, behind, rng), rig.layouts, lens, detector)
            rows.append(pose_errors(pose, measured))
    print(json.dumps(pose_summary(rows)))  # noqa: T201


def pose_summary(rows: Sequence[dict[str, float | None] | None]) -> dict[str, object]:
    """Summarise :func:`pose_errors` of all frames."""
    found_rows = [row for row in rows if row]
    tilts = [row for row in found_rows if row["angle_deg"] is not None]
    distances = np.array([row["distance_percent"] for row in found_rows])
    angles = np.array([row["angle_deg"] for row in tilts])
    return {
        "frames": len(rows),
        "found": len(found_rows),
        "distance_percent": spread(distances),
        "angle_deg": spread(angles),
        "tilt_unknown": len(found_rows) - len(tilts),
        "wrong_branch_percent": round(100 * float((angles > _WRONG_DEG).mean()), 2) if tilts else None,
    }


def pose_errors(truth: RigPose, measured: SheetPose | None) -> dict[str, float | None] | None:
    """Compare a measured pose with the true one; None if no sheet was found."""
    if measured is None:
        return None
    angle = None
    if measured.yaw_deg is not None:
        turns = [
            rotation_matrix(pose.yaw_deg, pose.pitch_deg, pose.roll_deg) for pose in (truth, measured)
        ]  # the angle of the turn that leads from one to the other
        cosine = (np.trace(turns[0].T @ turns[1]) - 1) / 2
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return {"distance_percent": 100 * abs(measured.distance_m / truth.range_m - 1), "angle_deg": angle}


def spread(values: np.ndarray) -> dict[str, float] | None:
    """Give the median and the 95th percentile; None of nothing."""
    if not len(values):
        return None
    return {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3)}


if __name__ == "__main__":
    main()
