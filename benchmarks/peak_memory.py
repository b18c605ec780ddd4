"""Peak memory of training steps over that of the bare victim's forward and backward pass, and seconds an image by batch.

    python benchmarks/peak_memory.py [--model efficientnet_lite0] [--batch 16]

Each is measured in a process of its own, as resident memory at its peak beyond what is resident once the victim and the
photographs are loaded; Linux alone says so. Prints one JSON line.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from one_line import run_main


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--measure", choices=("bare", "step"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measure(options.measure, options.model, options.batch)))  # noqa: T201
        return
    peaks = {kind: _in_a_process(kind, options.model, options.batch) for kind in ("bare", "step")}
    by_batch = {
        batch: _in_a_process("step", options.model, batch)["seconds"] / batch
        for batch in (max(1, options.batch // 2), options.batch, 2 * options.batch)
    }
    print(  # noqa: T201
        json.dumps(
            {
                "ratio": round(peaks["step"]["mebibytes"] / peaks["bare"]["mebibytes"], 3),
                "mebibytes": {kind: round(values["mebibytes"]) for kind, values in peaks.items()},
                "seconds_an_image": {batch: round(seconds, 4) for batch, seconds in by_batch.items()},
                "model": options.model,
                "batch": options.batch,
            }
        )
    )


def _in_a_process(kind: str, model: str, batch: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", kind, "--model", model, "--batch", str(batch)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(process.returncode)  # it has said why
    return json.loads(process.stdout.splitlines()[-1])


def _measure(kind: str, model: str, batch: int) -> dict[str, float]:
    import torch

    from physpatch import TrainConfig, Trainer, keep_freed_memory, load_photographs, load_victim

    keep_freed_memory()  # as the command line does
    victim = load_victim(model, device="cpu")
    train, _ = load_photographs("samples", victim)
    size = victim.preprocessing.size
    images = torch.rand(batch, size, size, 3).permute(0, 3, 1, 2)
    steps = iter(Trainer(victim, train, TrainConfig.of(steps=100, batch=batch), target=0))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of loading, is forgotten
    before = _peak_kibibytes()
    started = time.perf_counter()
    for number in range(5):
        if number == 2:
            started = time.perf_counter()  # the first ones allocate and choose kernels
        if kind == "step":
            next(steps)
        else:
            leaf = images.detach().requires_grad_()
            scores = victim.scores(leaf)
            torch.nn.functional.cross_entropy(scores, torch.zeros(batch, dtype=torch.int64)).backward()
    seconds = (time.perf_counter() - started) / 3
    return {"mebibytes": (_peak_kibibytes() - before) / 1024, "seconds": seconds}


def _peak_kibibytes() -> int:
    """Read the peak of resident memory since it was last forgotten."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak)


if __name__ == "__main__":
    run_main(main)
