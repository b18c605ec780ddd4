"""Does a patch on a sign fool a detector that it was not trained on? Each detector is left out once, over several seeds.

    python -m physpatch.training.sign_detector.train --data DATA --work WORK --network yolo11n --seed 0 --out 11n-0.pt
    python benchmarks/detector_transfer.py --data DATA --detector 11n-0.pt --detector 8n-0.pt --detector 8n-1.pt --out DIR \
        [--objective cross-entropy]… [--seeds 3] [--steps 100] [--grid 10x10] [--trained 0.4:1.2] [--only 11n-0]…

A patch of each seed and objective is trained on a stop sign that the other detectors see, and measured on all of them, before
photographs of DATA that neither detectors nor patch learned from: the share of views in which the sign is lost, of those in
which it is found with a grey sticker at the same pose, and whether it is then hidden or taken for another sign. Random cells
stand beside it, and the null of a sign that is taken for another one: a drawing of each other sign, in as many cells, as the
patch. Patches are kept in DIR with what was measured, so that a killed bench goes on; those of other settings are made anew.
Prints one JSON line a patch.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from kept_results import kept_or_made
from one_line import run_main

from calibration.common.files import file_sha256
from calibration.sheet.road_signs import SIGNS
from physpatch import Patch, TrainConfig, Trainer, Victim, load_victim
from physpatch.data.photographs import Photographs
from physpatch.evaluation.detection import ObjectEvaluation
from physpatch.records.eot_config import parse_range
from physpatch.records.patch_exchange import drawing
from physpatch.records.patch_file import parse_grid
from physpatch.training.run import measure_patch, split_photographs

_OBJECT = "stop"
_VIEW_SEED = 1  # the same views for every patch


def main() -> None:
    """Print one JSON line a patch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--detector", type=Path, action="append", required=True, help="two or more, of the same signs")
    parser.add_argument("--out", type=Path, required=True, help="where patches are kept")
    parser.add_argument("--only", action="append", help="leave out only the detector of this name; default: each")
    parser.add_argument("--objective", action="append", help="default: cross-entropy")
    parser.add_argument("--grid", default="10x10")
    parser.add_argument(
        "--trained", type=_widths, default=(0.4, 1.2), help="widths of the sign, of a third of the picture"
    )
    parser.add_argument("--measured", type=_widths, help="widths to measure at; default: those of training")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=100, help="photographs to measure on")
    options = parser.parse_args()
    detectors = {file.stem: load_victim(str(file)) for file in options.detector}
    if len(detectors) < 2 or not {*(options.only or ())} <= {*detectors}:
        parser.error("give --detector twice or more, files of different names; --only is one of these names")
    files = {file.stem: file_sha256(file) for file in options.detector}
    base = TrainConfig.of(
        data=options.data,
        object=_OBJECT,
        sign_area=0.12,
        target="none",
        grid=parse_grid(options.grid),
        steps=options.steps,
        batch=options.batch,
    )
    base = base.changed(eot=base.eot.changed(scale=options.trained))
    bench = Bench(detectors, files, base, options.measured or options.trained, options.limit, options.out)
    for sign in SIGNS:
        if sign != _OBJECT:
            by_detector = bench.judged(drawing(sign, base.patch.grid), base)
            print(json.dumps({"drawing": sign, "grid": options.grid, "on": by_detector}), flush=True)  # noqa: T201
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for objective in options.objective or ["cross-entropy"]:
            for left_out in options.only or detectors:
                print(json.dumps(bench.point(left_out, base.changed(objective=objective, seed=seed))), flush=True)  # noqa: T201


def _widths(text: str) -> tuple[float, float]:
    return parse_range(f"scale={text}")[1]


class Bench:
    """Trains patches on all detectors but one, and measures them on each."""

    def __init__(
        self,
        detectors: Mapping[str, Victim],
        files: Mapping[str, str],
        base: TrainConfig,
        widths: tuple[float, float],
        limit: int,
        out: Path,
    ) -> None:
        """Load the photographs; ``files`` are the detectors' SHA-256."""
        self._detectors, self._out = detectors, out
        self._views = base.eot.changed(scale=widths)
        self._training: dict[str, Photographs] = {}
        self._held_out: dict[str, Photographs] = {}
        for name, victim in detectors.items():
            self._training[name], held_out = split_photographs(base, victim)
            self._held_out[name] = held_out.subset(torch.arange(len(held_out)) < limit)
        self._settings = {
            "detectors": dict(files),
            "measured": list(widths),
            "photographs": {name: held_out.fingerprint for name, held_out in self._held_out.items()},
            "training": {name: training.fingerprint for name, training in self._training.items()},
        }
        out.mkdir(parents=True, exist_ok=True)

    def point(self, left_out: str, config: TrainConfig) -> dict[str, Any]:
        """Train on all detectors but one, and measure on each; read what is known already."""
        rows, columns = config.patch.grid
        grid, optimisation = f"{rows}x{columns}", config.optimisation
        name = f"{left_out}-{config.objective.loss}-{grid}-{optimisation.steps}-seed{optimisation.seed}"
        result = kept_or_made(
            self._out / f"{name}.json",
            self._settings | {"config": config.to_dict()},
            lambda: self._measured(left_out, config, self._out / name),
        )
        return {"point": name} | {key: part for key, part in result.items() if key != "settings"}

    def _measured(self, left_out: str, config: TrainConfig, folder: Path) -> dict[str, Any]:
        first, *other_names = (name for name in self._detectors if name != left_out)
        other_victims = [self._detectors[name] for name in other_names]
        trainer = Trainer(self._detectors[first], self._training[first], config, None, others=other_victims)
        seconds = sum(record.seconds for record in trainer)
        trainer.patch.save(folder)
        by_detector = self.judged(Patch.load(folder), config)
        return {
            "left_out": left_out,
            "seconds": round(seconds, 1),
            "on_left_out": by_detector.pop(left_out),
            "on_trained": by_detector,
        }

    def judged(self, patch: Patch, config: TrainConfig) -> dict[str, dict[str, Any]]:
        """Measure a patch on each detector."""
        view_config = config.changed(eot=self._views)
        return {
            name: judged(victim, self._held_out[name], patch, view_config) for name, victim in self._detectors.items()
        }


def judged(victim: Victim, photographs: Photographs, patch: Patch, config: TrainConfig) -> dict[str, Any]:
    """Measure a patch on one detector."""
    result = measure_patch(victim, photographs, patch, config, seed=_VIEW_SEED, poses=1)
    assert isinstance(result, ObjectEvaluation)
    return {
        "lost": result.untargeted["patch"].to_dict(),
        "hidden": result.hidden["patch"].rate,
        "relabelled": result.relabelled["patch"].rate,
        "random_lost": result.untargeted["random"].to_dict(),
        "drawing_lost": None if result.drawn_sign is None else asdict(result.drawn_sign),
        "found": {sheet: round(share, 3) for sheet, share in result.accuracy.items()},
    }


if __name__ == "__main__":
    run_main(main)
