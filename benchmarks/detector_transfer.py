"""Does a patch on a sign fool a detector that it was not trained on? Each detector is left out once, over several seeds.

    python -m physpatch.training.sign_detector.train --data DATA --work WORK --network yolo11n --seed 0 --out 11n-0.pt
    python benchmarks/detector_transfer.py --data DATA --detector 11n-0.pt --detector 8n-0.pt --detector 8n-1.pt --out DIR \
        [--objective cross-entropy]… [--seeds 3] [--steps 100] [--grid 10x10] [--near 0.4] [--only 11n-0]…

A patch of each seed and objective is trained on a stop sign that the other detectors see, and measured on all of them, before
photographs of DATA that neither detectors nor patch learned from: the share of views in which the sign is lost, of those in
which it is found with a grey sticker at the same pose, and whether it is then hidden or taken for another sign. Random cells
stand beside it. Points are kept in DIR, so that a killed bench goes on; those of other settings are made anew. Prints one JSON
line a patch.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from calibration.common.files import file_sha256, read_json, write_json
from physpatch import Patch, TrainConfig, Trainer, Victim, load_victim
from physpatch.data.photographs import Photographs
from physpatch.evaluation.detection import ObjectEvaluation
from physpatch.records.patch_file import parse_grid
from physpatch.training.run import measure_patch, split_photographs

_VIEW_SEED = 1  # the same views for every patch


def main() -> None:
    """Print one JSON line a patch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--detector", type=Path, action="append", required=True, help="two or more, of the same signs")
    parser.add_argument("--out", type=Path, required=True, help="where points are kept")
    parser.add_argument("--only", action="append", help="leave out only the detector of this name; default: each")
    parser.add_argument("--objective", action="append", help="default: cross-entropy")
    parser.add_argument("--grid", default="10x10")
    parser.add_argument("--near", type=float, default=0.4, help="least width of the sign, of a third of the picture")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=100, help="photographs to measure on")
    options = parser.parse_args()
    if len(options.detector) < 2:
        parser.error("give --detector twice or more")
    detectors = {file.stem: load_victim(str(file)) for file in options.detector}
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for objective in options.objective or ["cross-entropy"]:
            for left_out in options.only or detectors:
                config = TrainConfig.of(
                    data=options.data,
                    object="stop",
                    sign_area=0.12,
                    target="none",
                    grid=parse_grid(options.grid),
                    objective=objective,
                    steps=options.steps,
                    batch=options.batch,
                    seed=seed,
                )
                config = config.changed(eot=config.eot.changed(scale=(options.near, 1.2)))
                settings = {
                    "config": config.to_dict(),
                    "detectors": {file.stem: file_sha256(file) for file in options.detector},
                    "limit": options.limit,
                }
                name = f"{left_out}-{objective}-{options.grid}-{options.steps}-seed{seed}"
                known = options.out / f"{name}.json"
                value = dict(read_json(known)) if known.is_file() else {}
                if value.get("settings") != json.loads(json.dumps(settings)):
                    value = {
                        "settings": settings,
                        **measured(detectors, left_out, config, options.out / name, options.limit),
                    }
                    write_json(known, value)
                print(json.dumps({"point": name} | {k: v for k, v in value.items() if k != "settings"}), flush=True)  # noqa: T201


def measured(
    detectors: dict[str, Victim], left_out: str, config: TrainConfig, folder: Path, limit: int
) -> dict[str, Any]:
    """Train on all detectors but one, and measure on each."""
    first, *others = (victim for name, victim in detectors.items() if name != left_out)
    training, held_out = split_photographs(config, first)
    trainer = Trainer(first, training, config, None, others=others)
    seconds = sum(record.seconds for record in trainer)
    trainer.patch.save(folder)
    told = {
        name: judged(victim, held_out.subset(torch.arange(len(held_out)) < limit), Patch.load(folder), config)
        for name, victim in detectors.items()
    }
    return {
        "left_out": left_out,
        "seconds": round(seconds, 1),
        "on_left_out": told.pop(left_out),
        "on_trained": told,
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
        "found": {sheet: round(share, 3) for sheet, share in result.accuracy.items()},
    }


if __name__ == "__main__":
    main()
