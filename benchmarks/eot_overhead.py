"""A whole training step over the victim's own forward and backward pass to the input, on the same batch.

Both are timed in turn within one run, and the medians divided: machine speed cancels out. The victim is the one that the
trainer uses, its batch norms folded. `ratio` is for the default preset; beside it every effect at its widest, none, and
other grids.

    python benchmarks/eot_overhead.py [--model efficientnet_lite0] [--batch 16] [--rounds 15]
"""

import argparse
import json
import statistics
import time
from functools import partial

import torch
from in_turn import in_turn
from one_line import run_main

from physpatch import EotConfig, TrainConfig, Trainer, keep_freed_memory, load_photographs, load_victim
from physpatch.records.environment import device_name


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    keep_freed_memory()  # as the command line does
    victim = load_victim(options.model, weights=options.weights, device=options.device)
    train, _ = load_photographs("samples", victim)
    config = TrainConfig.of(steps=options.rounds + 2, batch=options.batch)
    desk = config.eot
    one_condition = desk.changed(prints=desk.prints[:1], print_mix=(0.0, 0.0), print_fade=(0.0, 0.0))
    trainers = {
        name: iter(Trainer(victim, train, config.changed(**changes), target=0))
        for name, changes in (
            ("step", {}),
            ("one_condition", {"eot": one_condition}),  # less it, "step" is what a population of them costs
            ("cut_out_on_screen", {"eot": EotConfig(), "cut": "square"}),
            ("every_effect", {"eot": EotConfig.preset("outdoor")}),
            ("no_eot", {"eot": EotConfig.none(), "cut": "square"}),
            ("grid_32", {"grid": (32, 32)}),
            ("grid_pixel", {"grid": (87, 87)}),
        )
    }
    size = victim.preprocessing.size
    images = torch.rand(options.batch, 3, size, size, device=victim.device).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.zeros(options.batch, dtype=torch.int64, device=victim.device)
    half = victim.device.type == "cuda"

    def bare() -> None:
        images.requires_grad_()
        with torch.autocast(victim.device.type, torch.bfloat16, enabled=half):
            scores = victim.scores(images)
        torch.nn.functional.cross_entropy(scores.float(), labels).backward()
        images.grad = None

    works = {"bare": bare} | {name: partial(next, steps) for name, steps in trainers.items()}
    timings: dict[str, list[float]] = {name: [] for name in works}
    for number in range(options.rounds + 2):
        for name in in_turn(works, number):
            work = works[name]
            _wait(victim.device)
            started = time.perf_counter()
            work()
            _wait(victim.device)
            if number >= 2:  # the first rounds allocate and choose kernels
                timings[name].append(time.perf_counter() - started)
    seconds = {name: statistics.median(values) for name, values in timings.items()}
    ratios = {name: round(value / seconds["bare"], 3) for name, value in seconds.items() if name != "bare"}
    print(  # noqa: T201
        json.dumps(
            {
                "ratio": ratios.pop("step"),
                "ratios": ratios,
                "seconds": {name: round(value, 4) for name, value in seconds.items()},
                "model": victim.name,
                "batch": options.batch,
                "device": device_name(victim.device),
            }
        )
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    run_main(main)
