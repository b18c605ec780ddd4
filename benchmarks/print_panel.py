"""Measure what a run's patch does on paper: printed by real conditions, filmed by several cameras, before photographs.

    python benchmarks/print_panel.py --run RUN --data DIR --conditions DIR [--clips N]

Each condition (``CONDITION-INTENT.npz``, see benchmarks/make_printing_conditions.py) prints the run's sheet with its controls.
It is held before the photographs of DIR (``labels.csv``: file, class_index, …), filling 5 to 20 % of the view, at the rig's
angles, by four cameras that nobody trained for; all sheets at the same poses. Counted is the patch's target where the network
is right with the grey control; the interval is over photographs. ``digital`` is the run's patch composited into the same
photographs by the preset, in the colours of a screen and at shares drawn alike; ``retention`` is panel ÷ digital, its interval
a bootstrap over photographs, each with its views on paper and on a screen. One JSON line is printed.
"""

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from one_line import run_main
from rig_films import labelled_photos, victim_of
from torch import Tensor

from calibration.colour.printing_condition import PrintingCondition
from calibration.sheet.layout import SheetLayout
from captures.inference.analyser import to_input
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch import EotConfig, Patch, TrainConfig, Victim, evaluate_patch
from physpatch.data.photographs import Photo, limited, load_photos
from physpatch.records.patch_file import CONTROLS
from physpatch.stats.intervals import Interval, Rate, clip_rate, percentile_bootstrap
from printouts.sheet_pdf import print_sheets

_SHARES = (0.05, 0.20)
_SHARE_BINS = (0.05, 0.08, 0.125, 0.20)
_CAMERAS = 4  # of which every other renders as phones do
_SLICES = 4  # of the shares, equally wide on a logarithmic scale: in each, a digital view of every photograph


class PanelRig(VirtualRig):
    """Holds the sheets so that the patch fills a share of the central square, drawn evenly on a logarithmic scale."""

    def __init__(self, *arguments: Any, cameras: list[RigTruth], **more: Any) -> None:
        super().__init__(*arguments, truth=cameras[0], frames_per_clip=1, **more)
        self._cameras = cameras
        self._poses_drawn = 0
        self.shares: dict[int, float] = {}

    def photograph(self, clip: int) -> Path:
        """Return the photograph behind a clip."""
        return self._backgrounds[clip][0]

    def _draw_pose(self, rng: np.random.Generator, layout: SheetLayout) -> RigPose:
        pose = super()._draw_pose(rng, layout)
        share = float(np.exp(rng.uniform(*np.log(_SHARES))))
        half = min(self.intrinsics.width, self.intrinsics.height) / 2
        side_m = np.sqrt(layout.patch.width_mm * layout.patch.height_mm) / 1000
        distance = self.intrinsics.fx * side_m / (2 * half * np.sqrt(share))
        room = (
            half * distance / self.intrinsics.fx - 0.55 * np.array([layout.cut.width_mm, layout.cut.height_mm]) / 1000
        )
        x, y = (float(at) for at in rng.uniform(-1, 1, 2) * np.clip(room, 0, None))
        clip = self._poses_drawn // len(self.layouts)
        self._poses_drawn += 1
        self.shares[clip], self.truth = share, self._cameras[clip % len(self._cameras)]
        return RigPose(float(distance), x, y, pose.yaw_deg, pose.pitch_deg, pose.roll_deg)


Row = dict[str, Any]


def filmed(
    condition: PrintingCondition, sheet: Path, photos: list[Photo], victim: Victim, target: int, seed: int
) -> list[Row]:
    """Hold a condition's sheets before photographs: a row a photograph, with what the network said of each sheet."""
    rng = np.random.default_rng([seed, 5])
    cameras = [replace(RigTruth.draw(seed + number), printing=condition) for number in range(_CAMERAS)]
    cameras = [developing(camera, rng) if number % 2 else camera for number, camera in enumerate(cameras)]
    behind = [(photo.path, str(photo.label)) for photo in photos]
    rig = PanelRig(sheet, behind, clips=len(behind), seed=seed, cameras=cameras)
    rows: dict[int, Row] = {}
    pictures: list[Tensor] = []
    for frame in rig:
        clip = int(frame.clip or 0)
        label = int(str(frame.label))
        row = rows.setdefault(
            clip, {"condition": condition.name, "share": rig.shares[clip], "label": label, "said": {}}
        )
        row["said"][str(frame.condition)] = len(pictures)
        pictures.append(to_input(frame.image, victim.preprocessing))
    answers = said(victim, torch.cat(pictures))
    for clip, row in rows.items():
        row["photograph"] = str(rig.photograph(clip))
        first = {kind: int(answers[at]) for kind, at in row.pop("said").items()}
        row["right"] = first["grey"] == row["label"] and row["label"] != target
        row["hits"] = {kind: float(answer == target) for kind, answer in first.items()}
    return list(rows.values())


def developing(camera: RigTruth, rng: np.random.Generator) -> RigTruth:
    """Draw how a camera develops its pictures, as phones do, instead of as plainly as possible."""
    return replace(
        camera, gamma=rng.uniform(0.9, 1.1), saturation=rng.uniform(0.9, 1.25), sharpening=rng.uniform(0.0, 0.6)
    )


@torch.no_grad()
def said(victim: Victim, images: Tensor) -> NDArray[np.int64]:
    """Classify images (N, 3, S, S); what is below the victim's threshold is a class of its own, as in an evaluation."""
    parts = [victim.judged(victim.scores(part.to(victim.device))).argmax(dim=1).cpu() for part in images.split(32)]
    return np.asarray(torch.cat(parts).numpy())


def by_photograph(rows: list[Row], kind: str = "patch") -> Rate:
    """Estimate success of views right with grey; the unit is the photograph."""
    hits: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["right"]:
            hits[row["photograph"]].append(row["hits"][kind])
    if not hits:
        return Rate(None, None, 0)
    return clip_rate([float(np.mean(values)) for values in hits.values()], [len(values) for values in hits.values()])


def of_all(rows: list[Row], target: int) -> float | None:
    """Compute the share of all views that show the target, but of its own photographs; None without others."""
    hits = [row["hits"]["patch"] for row in rows if row["label"] != target]
    return float(np.mean(hits)) if hits else None


def digital(
    victim: Victim, photos: list[Photo], patch: Patch, config: TrainConfig, cut: str, seed: int, slices: int = _SLICES
) -> list[Row]:
    """Show the patch in the same photographs in the colours of a screen, at shares spread evenly on a logarithmic scale.

    Presets draw the side of a patch evenly, and so smaller ones less often than the panel. So the shares are cut into slices,
    equally wide on that scale, and each photograph is shown once in each.

    Returns:
        A row for each view: its ``photograph`` and ``label``, whether it counts, ``right``, and the patch's success, ``hits``.
    """
    photographs = load_photos(photos, victim.preprocessing)
    rows = []
    for number, ends in enumerate(pairwise(np.geomspace(*_SHARES, slices + 1))):
        low, high = (float(np.sqrt(share / config.patch.area)) for share in ends)
        success = evaluate_patch(
            victim,
            photographs,
            patch,
            area=config.patch.area,
            cut=cut,
            eot=EotConfig(scale=(low, high)),
            seed=seed * slices + number,
        ).success
        if success.targeted is None or success.counts_for_target is None:
            raise AssertionError("the caller has checked that the patch has a target")
        rows += [
            {"photograph": str(photo.path), "label": photo.label, "right": bool(right), "hits": {"patch": float(hit)}}
            for photo, right, hit in zip(photos, success.counts_for_target, success.targeted, strict=True)
        ]
    return rows


def retained(on_paper: list[Row], on_screen: list[Row], seed: int) -> tuple[float | None, Interval | None]:
    """Divide success on paper by success on a screen, with the bootstrap's interval over photographs; None where undefined."""
    photographs = sorted({row["photograph"] for row in (*on_paper, *on_screen)})
    counts = np.zeros((len(photographs), 4))  # hits and views on paper, hits and views on a screen
    for first, rows in ((0, on_paper), (2, on_screen)):
        for row in rows:
            if row["right"]:
                counts[photographs.index(row["photograph"]), first : first + 2] += row["hits"]["patch"], 1
    return _ratio(counts), percentile_bootstrap(_ratio, counts, seed=seed)


def _ratio(counts: NDArray[np.float64]) -> float | None:
    hits, views, screen_hits, screen_views = counts.sum(axis=0)
    return float(hits * screen_views / (views * screen_hits)) if views and screen_hits else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", required=True, help="a folder with labels.csv")
    parser.add_argument("--conditions", type=Path, required=True, help="a folder of CONDITION-INTENT.npz")
    parser.add_argument("--clips", type=int, default=100, help="photographs before which each condition is held")
    parser.add_argument(
        "--no-margin", action="store_true", help="cut the patch out of its sheet; default: as the run does"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    conditions_there = sorted(options.conditions.glob("*.npz"))
    if not conditions_there:
        parser.error(f"{options.conditions} has no CONDITION-INTENT.npz")
    config, patch = TrainConfig.load(options.run / "run.json"), Patch.load(options.run)
    victim = victim_of(config)
    target = None if patch.target is None else victim.target_index(patch.target)
    if target is None:
        sys.exit("the panel counts a target class; train with --target")
    photos = limited(labelled_photos(victim, options.data, [options.run]), options.clips, options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        sheet = Path(work) / "sheet.pdf"
        cut = "square" if options.no_margin else config.patch.cut
        print_sheets(patch, 100, sheet, controls=CONTROLS, cut=cut, bleed_mm=None if cut == "sheet" else 0.0)
        for path in conditions_there:
            condition = PrintingCondition.load_npz(path)
            rows += filmed(condition, sheet, photos, victim, target, options.seed)
            print(f"{path.stem}: {by_photograph(rows[-len(photos) :])}", file=sys.stderr, flush=True)  # noqa: T201
    screen_rows = digital(victim, photos, patch, config, cut, options.seed)
    on_screen, panel = by_photograph(screen_rows), by_photograph(rows)
    conditions = {
        name: by_photograph([r for r in rows if r["condition"] == name])
        for name in sorted({r["condition"] for r in rows})
    }
    bins = {
        f"{low:g}-{high:g}": by_photograph([r for r in rows if low <= r["share"] < high])
        for low, high in pairwise(_SHARE_BINS)
    }
    worst = min(conditions, key=lambda name: conditions[name].rate if conditions[name].rate is not None else 2.0)
    retention, retention_ci95 = retained(rows, screen_rows, options.seed)
    result = {
        "digital": on_screen.rate,
        "digital_ci95": on_screen.ci95,
        "panel": panel.rate,
        "ci95": panel.ci95,
        "n": sum(row["right"] for row in rows),
        "photographs": panel.n,
        "retention": retention,
        "retention_ci95": retention_ci95,
        "worst_condition": {"name": worst, "rate": conditions[worst].rate},
        "by_condition": {name: rate.to_dict() for name, rate in conditions.items()},
        "by_share": {name: rate.to_dict() for name, rate in bins.items()},
        "controls": {kind: by_photograph(rows, kind).to_dict() for kind in CONTROLS},
        "of_all": of_all(rows, target),
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    run_main(main)
