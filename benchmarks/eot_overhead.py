"""A whole training step over the victim's own forward and backward pass to the input, on the same batch.

Both are timed in turn within one run, and the medians divided: machine speed cancels out.

    python benchmarks/eot_overhead.py [--model efficientnet_lite0] [--batch 16] [--rounds 15]
"""

import argparse
import json
import statistics
import time
from dataclasses import replace

import torch

from physpatch import EotConfig, TrainConfig, Trainer, load_photographs, load_victim


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    victim = load_victim(options.model, weights=options.weights, device=options.device)
    train, _ = load_photographs("samples", victim)
    config = TrainConfig(steps=options.rounds + 2, batch=options.batch, eot=EotConfig())
    steps = iter(Trainer(victim, train, config, target=0))
    plain = iter(Trainer(victim, train, replace(config, eot=EotConfig.none()), target=0))
    size = victim.preprocessing.size
    images = torch.rand(options.batch, 3, size, size, device=victim.device).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.zeros(options.batch, dtype=torch.int64, device=victim.device)

    def bare() -> None:
        images.requires_grad_()
        torch.nn.functional.cross_entropy(victim.scores(images), labels).backward()
        images.grad = None

    timings: dict[str, list[float]] = {"bare": [], "step": [], "no_eot": []}
    works = {"bare": bare, "step": lambda: next(steps), "no_eot": lambda: next(plain)}
    for number in range(options.rounds + 2):
        for name, work in works.items():
            _wait(victim.device)
            started = time.perf_counter()
            work()
            _wait(victim.device)
            if number >= 2:  # the first rounds allocate and choose kernels
                timings[name].append(time.perf_counter() - started)
    seconds = {name: statistics.median(values) for name, values in timings.items()}
    print(  # noqa: T201
        json.dumps(
            {
                "ratio": round(seconds["step"] / seconds["bare"], 3),
                "ratio_no_eot": round(seconds["no_eot"] / seconds["bare"], 3),
                "seconds": {name: round(value, 4) for name, value in seconds.items()},
                "model": victim.name,
                "batch": options.batch,
                "device": str(victim.device),
                "threads": torch.get_num_threads(),
            }
        )
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
