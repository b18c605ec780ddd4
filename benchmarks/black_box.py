"""How far does a number of queries reach, without gradients? Success on held-out photographs along the way.

    python benchmarks/black_box.py --data DATA --held HELD [--model efficientnet_lite0] [--technique evolution] \
        [--objective cross-entropy] [--imitate MODEL]… [--null] [--best K] [--start PATCH]… [--queries 20000] \
        [--marks 8] [--seed 0]

Trains on all photographs of DATA and judges on those of HELD, in the colours of a screen and cut out, with the preset ``desk``.
Prints one JSON line for each mark: the queries so far, the loss and success of the latest steps' candidates, and target first
on the photographs that are right with grey at the same pose, with its interval over photographs.
"""

import argparse
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import torch
from one_line import run_main
from rig_films import require_apart
from torch import Tensor, nn
from transfer import Judge

from physpatch import EotConfig, TrainConfig, load_victim
from physpatch.data.photographs import load_photos, photos_for
from physpatch.records.patch_file import parse_grid
from physpatch.training.trainer import Trainer

_LATEST = 20  # steps


class BestClasses(nn.Module):
    """A classifier that tells the probabilities of its best classes, like many products; what they leave is spread evenly."""

    def __init__(self, network: nn.Module, told: int) -> None:
        super().__init__()
        self._network, self._told = network, told

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        probabilities = self._network(images).softmax(dim=1)
        best, classes = probabilities.topk(self._told, dim=1)
        remainder = (1 - best.sum(dim=1, keepdim=True)).clamp(min=1e-6) / (probabilities.shape[1] - self._told)
        return remainder.expand_as(probabilities).scatter(1, classes, best).log()


def main() -> None:
    """Print one JSON line for each mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--held", required=True)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--technique", default="evolution")
    parser.add_argument("--objective", default="cross-entropy")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument(
        "--imitate",
        action="append",
        default=[],
        metavar="MODEL",
        help="a network that learns to answer like --model, for its gradients; several take turns",
    )
    parser.add_argument("--null", action="store_true", help="the networks of --imitate never learn")
    parser.add_argument("--best", type=int, metavar="K", help="the model tells no more than its K best classes")
    parser.add_argument(
        "--start", action="append", default=[], help="a patch to begin with; of several, the best continues"
    )
    parser.add_argument("--target", default="digital clock")
    parser.add_argument("--grid", default="10x10")
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--marks", type=int, default=8, help="how often the patch is judged on the way")
    parser.add_argument("--poses", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a folder for the patch")
    options = parser.parse_args()
    config = TrainConfig.of(
        technique=options.technique,
        objective=options.objective,
        learning_rate=options.learning_rate,
        imitate=tuple(options.imitate),
        start=tuple(options.start),
        queries=options.queries,
        grid=parse_grid(options.grid),
        cut="square",
        seed=options.seed,
        eot=EotConfig.preset("desk").changed(prints=()),
    )
    victim = load_victim(options.model)
    photographs = load_photos(photos_for(victim, options.data), victim.preprocessing, whole=True)
    judge = Judge(victim, options.held, config, options.poses)
    require_apart(photographs, judge.photographs)
    imitators = [load_victim(name) for name in options.imitate]
    queried_victim = victim
    if options.best is not None:
        queried_victim = replace(victim, module=BestClasses(victim.module, options.best), differentiable=False)
    with patch("physpatch.attack.imitation._RATE", 0.0) if options.null else nullcontext():
        trainer = Trainer(
            queried_victim, photographs, config, victim.category_index(options.target), imitators=imitators
        )
    marks = {round(trainer.total_steps * number / options.marks) for number in range(1, options.marks + 1)}
    records = []
    for record in trainer:
        records.append(record)
        if record.step in marks:
            latest = records[-_LATEST:]
            line = {
                "technique": options.technique,
                "objective": options.objective,
                "imitate": options.imitate,
                "null": options.null,
                "best": options.best,
                "seed": options.seed,
                "queries": record.queries,
                "loss": round(fmean(step.loss for step in latest), 3),
                "success_of_candidates": round(fmean(step.success for step in latest), 3),
                "seconds": round(sum(step.seconds for step in records), 1),
                "judged": judge.judged(trainer.patch),
            }
            print(json.dumps(line), flush=True)  # noqa: T201
            if options.out:
                trainer.patch.save(options.out)


if __name__ == "__main__":
    run_main(main)
