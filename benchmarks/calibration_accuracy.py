"""How well a hidden lens and a hidden printer and camera are found, on the virtual rig.

    python benchmarks/calibration_accuracy.py [--seeds 20] [--paper coated]

Each seed draws a lens (focal length, centre, distortion), a printer on that paper and a camera; the fit sees pictures of the
printed sheets alone. Colours are tested on a sheet of 100 random colours that no fit saw. Prints one JSON line: the worst and
median error over the seeds.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from one_line import run_main

from calibration.camera.board_views import BoardFinder, ViewCollector, fit_lens
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_chart import ChartShot, read_chart
from calibration.colour.colour_space import delta_e00
from calibration.colour.rig_profile import LightProfile
from calibration.common.errors import InputError
from calibration.sheet.layout import SheetLayout
from captures.sources.frame import Frame
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets, print_targets

_SIZE = (1280, 960)
_VIEWS, _SHOTS, _TRIES = 30, 4, 40
_USED = ("views", "chart_pictures", "test_pictures")


class FilmingRig(Protocol):
    """A rig that films stills of its sheets."""

    layouts: tuple[SheetLayout, ...]
    intrinsics: Intrinsics

    def film(
        self, page: int, count: int, rng: np.random.Generator, *, turn_deg: float = ..., reach: float = ...
    ) -> Iterator[Frame]:
        """Film stills of one sheet."""
        ...


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--paper", default="uncoated")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}; expected 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        results = [one_rig(seed, options.paper, Path(folder)) for seed in range(options.seeds)]
    print(json.dumps({"seeds": options.seeds, "paper": options.paper} | seed_summary(results)))  # noqa: T201


def seed_summary(results: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Give the median and the worst of each error over the seeds; of what was used, the fewest is the worst."""
    columns = {name: np.array([result[name] for result in results]) for name in results[0]}
    return {
        name: {
            "median": round(float(np.median(v)), 4),
            "worst": round(float(v.min() if name in _USED else v.max()), 4),
        }
        for name, v in columns.items()
    }


def one_rig(seed: int, paper: str, folder: Path) -> dict[str, float]:
    """Measure the errors of one hidden rig."""
    rng = np.random.default_rng([seed, 1])
    sheets, colours, wall = folder / "calibration.pdf", folder / "colours.pdf", folder / "wall.png"
    cv2.imwrite(str(wall), np.full((10, 10, 3), 128, np.uint8))
    print_targets(sheets)
    truth, lens = RigTruth.draw(seed, paper), hidden_lens(rng)
    unseen = print_unseen(seed, colours)
    rig, tested = (VirtualRig(pdf, [(wall, None)], truth=truth, lens=lens) for pdf in (sheets, colours))
    return calibration_errors(rig, tested, unseen, rng)


def print_unseen(seed: int, pdf: Path) -> Patch:
    """Print a sheet of 100 random colours that no fit sees."""
    unseen = Patch(np.random.default_rng([seed, 2]).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(unseen, 170, pdf)
    return unseen


def calibration_errors(
    rig: FilmingRig,
    tested: FilmingRig,
    unseen: Patch,
    rng: np.random.Generator,
    *,
    views: int = _VIEWS,
    shown: int = _SHOTS,
    tries: int = _TRIES,
) -> dict[str, float]:
    """Calibrate lens and colours on stills, and compare with the truth.

    Args:
        rig: shows the calibration sheets.
        tested: shows the sheet of :func:`print_unseen` to the same camera.
        unseen: its colours.
        rng: for the stills.
        views: stills of the board.
        shown, tries: pictures of a colour sheet that are used, and how many are taken at most.
    """
    lens = rig.intrinsics
    finder = BoardFinder(rig.layouts[0])
    collector = ViewCollector(finder)
    for frame in rig.film(0, views, rng):
        collector.offer(frame.image)
    fit = fit_lens(finder, collector.views)
    fitted = fit.intrinsics
    chart = shots(rig, 1, fitted, rng, shown, tries)
    light = LightProfile.fit("lamp", rig.layouts[1].cells, chart)
    colours_seen = [shot.srgb for shot in shots(tested, 0, fitted, rng, shown, tries)]
    if not colours_seen:
        raise InputError(f"no usable picture of the colours to test on in {tries}; give another seed, or finer frames")
    errors = np.concatenate([delta_e00(srgb, light.map.apply(unseen.cells / 255)).ravel() for srgb in colours_seen])
    before = np.concatenate([delta_e00(srgb, unseen.cells / 255).ravel() for srgb in colours_seen])
    return {
        "focal_percent": 100 * max(abs(fitted.fx / lens.fx - 1), abs(fitted.fy / lens.fy - 1)),
        "centre_percent": 100 * max(abs(fitted.cx - lens.cx) / lens.width, abs(fitted.cy - lens.cy) / lens.height),
        "reprojection_px": fit.rms_px,
        "views": len(fit.views),
        "chart_pictures": len(chart),
        "test_pictures": len(colours_seen),
        "de00_median_before": float(np.median(before)),
        "de00_median": float(np.median(errors)),
        "de00_p95": float(np.percentile(errors, 95)),
    }


def hidden_lens(rng: np.random.Generator) -> Intrinsics:
    """Draw a lens of 45 to 65 degrees with a centre off the middle and barrel or pincushion distortion."""
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


def shots(
    rig: FilmingRig, page: int, lens: Intrinsics, rng: np.random.Generator, shown: int = _SHOTS, tries: int = _TRIES
) -> list[ChartShot]:
    """Take usable pictures of a sheet; what is refused is taken again, as a person would."""
    usable_shots: list[ChartShot] = []
    for frame in rig.film(page, tries, rng, turn_deg=15, reach=0.15):
        try:
            usable_shots.append(read_chart(frame.image, rig.layouts[page], lens))
        except InputError:
            continue
        if len(usable_shots) == shown:
            break
    return usable_shots


if __name__ == "__main__":
    run_main(main)
