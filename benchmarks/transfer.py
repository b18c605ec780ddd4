"""Does a patch fool a network that it was not trained on? Ways of training, several seeds, judged on held-out photographs.

    python benchmarks/transfer.py --data DATA --held HELD --train efficientnet_lite0 --train efficientnet_lite1 \
        --on efficientnet_lite2 [--way pgd:logit:feature-mixup+ghost]... [--grid 10x10] [--steps 100] [--seeds 3] \
        [--start dark]

Trains on all photographs of DATA and judges on those of HELD, in the colours of a screen and cut out, with the preset ``desk``.
A way of training is a technique, an objective and transfer methods. Prints one JSON line for each way and seed: target first on
the photographs that are right with grey at the same pose, with its interval over photographs, and the accuracy beside that with
random cells, for each network of ``--on``; and the gradient evaluations, which are images times networks. Ways of training
compare where these are equal.
"""

import argparse
import json
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from one_line import run_main
from rig_films import require_apart

from calibration.common.errors import InputError
from physpatch import EotConfig, TrainConfig, load_victim
from physpatch.attack.placement import Placement
from physpatch.benchmark.plan import Way
from physpatch.data.photographs import UNLABELLED, Photographs, load_photos, photos_for
from physpatch.evaluation.classification import rate_over, scenes
from physpatch.records.config import RANDOM_STARTS
from physpatch.records.patch_file import Patch, parse_grid
from physpatch.rendering.cells import cells_from_patch
from physpatch.training.trainer import Trainer
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_LAST_STEPS = 20
_VIEW_SEED = 99  # the same views for every way of training


def main() -> None:
    """Print one JSON line a seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--held", required=True)
    parser.add_argument("--train", action="append", required=True)
    parser.add_argument("--on", action="append", required=True)
    parser.add_argument("--way", action="append", metavar="TECHNIQUE[:OBJECTIVE[:TRANSFER+…]]", help="default: pgd")
    parser.add_argument("--target", default="digital clock")
    parser.add_argument(
        "--start", choices=RANDOM_STARTS, help="the random cells to begin with; default: of all colours"
    )
    parser.add_argument("--grid", default="10x10")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--poses", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder for the patches")
    options = parser.parse_args()
    base = TrainConfig.of(
        grid=parse_grid(options.grid),
        cut="square",
        steps=options.steps,
        batch=options.batch,
        start=options.start or (),
        eot=EotConfig.preset("desk").changed(prints=()),
    )
    victims = [load_victim(name) for name in options.train]
    first, *other_victims = victims
    training = load_photos(photos_for(first, options.data), first.preprocessing, whole=True)
    judges = [Judge(load_victim(name), options.held, base, options.poses) for name in options.on]
    for judge in judges:
        require_apart(training, judge.photographs)
    target = first.category_index(options.target)
    for way in options.way or ["pgd"]:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            config = Way.parse(way).applied(base).changed(seed=seed)
            trainer = Trainer(first, training, config, target, others=other_victims)
            records = list(trainer)
            if options.out:
                trainer.patch.save(options.out / f"{way.replace(':', '-')}-{options.grid}-seed{seed}")
            line = {
                "way": way,
                "grid": options.grid,
                "start": options.start,
                "trained_on": options.train,
                "seed": seed,
                "gradient_evaluations": options.steps * options.batch * len(victims),
                "seconds": round(sum(record.seconds for record in records), 1),
                "success_in_training": round(fmean(record.success for record in records[-_LAST_STEPS:]), 3),
                "judged": {judge.victim.name: judge.judged(trainer.patch) for judge in judges},
            }
            print(json.dumps(line), flush=True)  # noqa: T201


class Judge:
    """A network and the views in which it judges every patch; the controls are judged once."""

    def __init__(self, victim: Victim, held: str, config: TrainConfig, poses: int) -> None:
        """Load the photographs of ``held`` at the network's size."""
        self.victim, self._poses = victim, poses
        labelled = [photo for photo in photos_for(victim, held) if photo.label != UNLABELLED]
        self.photographs: Photographs = load_photos(labelled, victim.preprocessing)
        self._placement, self._eot, self._grid = Placement.of(config), config.eot, config.patch.grid
        self._labels = self.photographs.labels.repeat(poses)
        self._units = self.photographs.units.repeat(poses)

    def judged(self, patch: Patch) -> dict[str, Any]:
        """Judge a patch: rates with their intervals over photographs.

        Raises:
            InputError: the network has no class of the target's name.
        """
        assert patch.target is not None
        target = self.victim.target_index(patch.target)
        if target is None:
            raise InputError(f"{self.victim.name} has no class {patch.target['name']!r}; give another --target or --on")
        answers, grey = self._answers(patch), self._grey
        counted = (grey == self._labels) & (self._labels != target)
        return {
            "targeted": rate_over(answers == target, counted, self._units).to_dict(),
            "accuracy": round(float((answers == self._labels).float().mean()), 3),
            "random": round(float((self._random == self._labels).float().mean()), 3),
        }

    @cached_property
    def _grey(self) -> torch.Tensor:
        return self._answers(Patch(np.zeros((*self._grid, 3), np.uint8)).control("grey"))

    @cached_property
    def _random(self) -> torch.Tensor:
        return self._answers(Patch(np.zeros((*self._grid, 3), np.uint8)).control("random"))

    @torch.no_grad()
    def _answers(self, patch: Patch) -> torch.Tensor:
        """Return the network's answer in each view (poses * N,)."""
        cells, answers = cells_from_patch(patch, self.victim.device), []
        with untouched(self.victim):
            for scene in scenes(self.victim, self.photographs, self._placement, self._eot, _VIEW_SEED, self._poses):
                views = self._placement.compose(scene.images, cells, scene.params)
                answers.append(self.victim.scores(views).argmax(dim=1).cpu())
        return torch.cat(answers)


if __name__ == "__main__":
    run_main(main)
