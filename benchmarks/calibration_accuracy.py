"""How well a hidden lens and a hidden printer and camera are found, on the virtual rig.

    python benchmarks/calibration_accuracy.py [--seeds 20] [--paper plain]

Each seed draws a lens (focal length, centre, distortion), a printer on that paper and a camera; the fit sees pictures of the
printed sheets alone. Colours are tested on a sheet of 100 random colours that no fit saw. Prints one JSON line: the worst and
median error over the seeds.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from calibration.camera.board_views import BoardFinder, ViewCollector, fit_lens
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_chart import ChartShot, read_chart
from calibration.colour.colour_space import delta_e00
from calibration.colour.rig_profile import LightProfile
from calibration.common.errors import InputError
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets, print_targets

_SIZE = (1280, 960)
_SHOTS = 4
_TRIES = 40


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--paper", default="uncoated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [one_rig(seed, options.paper, Path(folder)) for seed in range(options.seeds)]
    columns = {name: np.array([result[name] for result in results]) for name in results[0]}
    summary = {
        name: {"median": round(float(np.median(v)), 4), "worst": round(float(v.max()), 4)}
        for name, v in columns.items()
    }
    print(json.dumps({"seeds": options.seeds, "paper": options.paper} | summary))  # noqa: T201


def one_rig(seed: int, paper: str, folder: Path) -> dict[str, float]:
    """Errors of one hidden rig."""
    rng = np.random.default_rng([seed, 1])
    sheets, colours, wall = folder / "calibration.pdf", folder / "colours.pdf", folder / "wall.png"
    cv2.imwrite(str(wall), np.full((10, 10, 3), 128, np.uint8))
    print_targets(sheets)
    truth, lens = RigTruth.draw(seed, paper), hidden_lens(rng)
    rig = VirtualRig(sheets, [(wall, None)], truth=truth, lens=lens)
    finder = BoardFinder(rig.layouts[0])
    collector = ViewCollector(finder)
    for frame in rig.film(0, 30, rng):
        collector.offer(frame.image)
    fit = fit_lens(finder, collector.views)
    fitted = fit.intrinsics
    light = LightProfile.fit("lamp", rig.layouts[1].cells, shots(rig, 1, fitted, rng))
    unseen = Patch(np.random.default_rng([seed, 2]).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(unseen, 170, colours)
    tested = VirtualRig(colours, [(wall, None)], truth=truth, lens=lens)
    colours_seen = [shot.srgb for shot in shots(tested, 0, fitted, rng)]
    errors = np.concatenate([delta_e00(srgb, light.map.apply(unseen.cells / 255)).ravel() for srgb in colours_seen])
    before = np.concatenate([delta_e00(srgb, unseen.cells / 255).ravel() for srgb in colours_seen])
    return {
        "focal_percent": 100 * max(abs(fitted.fx / lens.fx - 1), abs(fitted.fy / lens.fy - 1)),
        "centre_percent": 100 * max(abs(fitted.cx - lens.cx) / lens.width, abs(fitted.cy - lens.cy) / lens.height),
        "reprojection_px": fit.rms_px,
        "views": len(fit.views),
        "de00_median_before": float(np.median(before)),
        "de00_median": float(np.median(errors)),
        "de00_p95": float(np.percentile(errors, 95)),
    }


def hidden_lens(rng: np.random.Generator) -> Intrinsics:
    """A lens of 45 to 65 degrees with a centre off the middle and barrel or pincushion distortion."""
    width, height = _SIZE
    plain = Intrinsics.from_hfov(width, height, float(rng.uniform(45, 65)))
    bent = (rng.uniform(-0.2, 0.1), rng.uniform(-0.05, 0.1), rng.normal(0, 5e-4), rng.normal(0, 5e-4), 0.0)
    return replace(
        plain,
        fy=plain.fy * float(rng.uniform(0.995, 1.005)),
        cx=plain.cx + float(rng.normal(0, 12)),
        cy=plain.cy + float(rng.normal(0, 12)),
        distortion=tuple(float(k) for k in bent),
        assumed=False,
    )


def shots(rig: VirtualRig, page: int, lens: Intrinsics, rng: np.random.Generator) -> list[ChartShot]:
    """Usable pictures of a sheet; what is refused is taken again, as a person would."""
    taken: list[ChartShot] = []
    for frame in rig.film(page, _TRIES, rng, turn_deg=15, reach=0.15):
        try:
            taken.append(read_chart(frame.image, rig.layouts[page], lens))
        except InputError:
            continue
        if len(taken) == _SHOTS:
            break
    return taken


if __name__ == "__main__":
    main()
