"""How much longer does an evaluation of a detector take than its network, on the views that are needed?

    python benchmarks/detector_evaluation.py [--model signs] [--object stop] [--photographs 12] [--poses 2] [--rounds 2]

A view is needed once: a photograph without a patch (a drawn sign without one in each pose), and with the patch and each control
in each pose. Evaluation, rendering with network, and network alone take turns in one process, and the medians are divided:
machine speed cancels out. `ratio` is evaluation ÷ (rendering + network) by processor time, as others may share the machine;
`ratio_to_network` leaves the rendering out of the divisor. `runs` are the pictures that the network was shown, over those that
are needed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from one_line import run_main
from torch import Tensor

from physpatch import TrainConfig, load_victim
from physpatch.attack.placement import Placement
from physpatch.data.photographs import load_photos, photos_for
from physpatch.evaluation.classification import scenes
from physpatch.records.patch_file import CONTROLS, Patch
from physpatch.training.run import measure_patch
from physpatch.victims.freezing import untouched

_BATCH = 32  # as in an evaluation


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="signs")
    parser.add_argument("--object", default="stop", help="empty for a patch without an object")
    parser.add_argument("--data", default="samples")
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--poses", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    batches: list[Tensor] = []
    victim = load_victim(options.model)
    watched = replace(victim, guard=lambda images: batches.append(images.clone()) or images)
    config = TrainConfig.of(object=options.object or None, target="none")
    photographs = load_photos(photos_for(victim, options.data)[: options.photographs], victim.preprocessing)
    patch = Patch(np.random.default_rng(5).integers(0, 256, (10, 10, 3), dtype=np.uint8))

    def evaluate(judge: object = victim) -> None:
        measure_patch(judge, photographs, patch, config, seed=1, poses=options.poses)

    evaluate(watched)  # also the first, which allocates
    inputs = torch.cat(batches)
    needed_inputs = torch.unique(inputs.flatten(1), dim=0).view(-1, *inputs.shape[1:])

    @torch.no_grad()
    def run() -> None:
        with untouched(victim):
            for images in needed_inputs.split(_BATCH):
                victim.raw(images)

    @torch.no_grad()
    def render_and_run() -> None:
        placement, seen_bare = Placement.of(config), set()
        with untouched(victim):
            for scene in scenes(victim, photographs, placement, config.eot, 1, options.poses):
                if placement.sign is not None or scene.number not in seen_bare:
                    seen_bare.add(scene.number)
                    victim.raw(scene.bare)
                for cells in (patch, *(patch.control(name) for name in CONTROLS)):
                    victim.raw(scene.showing(cells))

    timed = {"evaluation": evaluate, "views": render_and_run, "network": run}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in timed}
    for _ in range(options.rounds):
        for name, work in timed.items():
            seconds[name].append(_timed(work))
    medians = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)] for name, rounds in seconds.items()
    }
    whole, views, network = (medians[name] for name in timed)
    print(  # noqa: T201
        json.dumps(
            {
                "ratio": round(whole[1] / views[1], 3),
                "ratio_of_wall_time": round(whole[0] / views[0], 3),
                "ratio_to_network": round(whole[1] / network[1], 3),
                "runs": round(len(inputs) / len(needed_inputs), 3),
                "views_needed": len(needed_inputs),
                "processor_seconds": {name: round(values[1], 2) for name, values in medians.items()},
                "model": victim.name,
                "size": victim.preprocessing.size,
            }
        )
    )


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Measure the seconds of wall and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    run_main(main)
