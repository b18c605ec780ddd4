"""Step time and strength beside adversarial-robustness-toolbox's AdversarialPatchPyTorch, in one run.

    pip install -e '.[bench]'
    python benchmarks/versus_art.py --data DIR --out OUT [--steps 80] [--seeds 3] [--target NAME] [--timed 12]

Both train a square patch of 87×87 cells, one a pixel, 15 % of the image, against EfficientNet-Lite0, with rotation, scale
and perspective and nothing else, on photographs that are cropped and flipped alike. Prints one JSON object of two parts.

"step": seconds a step and ART's over ours. ART gets the network as its library loads it ("as shipped", with gradients for
every weight), the same with its weights frozen, and, for equal folding, the one whose batch norms physpatch has folded.

"strength": both have the folded network, the same number of steps and of settings to be tuned over (optimisers and learning
rates, each with one seed; ART's defaults are among them), and the best of each by the mean success along the way, judged in its
own renderer on photographs kept from training, goes on with further seeds. These are judged on held-out photographs in both
renderers, at the same poses, where the plain grey patch leaves the answer right: success along the way, at the end, the
difference paired by seed, and the steps and, at equal folding, the seconds until half of the photographs show the target.

What was trained is kept in OUT, so that a killed run goes on.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art_patch import AREA, BATCH, ROTATION_DEG, SCALE, SIDE, TILT_DEG, ArtPatch, ArtRenderer, library_network
from in_turn import in_turn
from kept_results import kept_or_made
from numpy.typing import NDArray
from one_line import run_main

from calibration.common.errors import InputError
from physpatch import EotConfig, Patch, TrainConfig, Trainer, keep_freed_memory, load_photographs, load_victim
from physpatch.attack.placement import Placement
from physpatch.data.batch_sampler import BatchSource
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import scenes
from physpatch.stats.intervals import mean_interval, wilson
from physpatch.victims.freezing import untouched

_EOT = EotConfig.none().changed(
    rotation_deg=(-ROTATION_DEG, ROTATION_DEG),
    tilt_deg=(-TILT_DEG, TILT_DEG),
    scale=(1 - SCALE, 1 + SCALE),
)
_EVERY = 5  # steps between two looks at the patch
_REACHED = 0.5
_KEPT_EVERY = 6  # one photograph in so many is kept from training, to tune on
_POSE_SEED = 1000
RENDERERS = ("ours", "art")
# Settings to be tuned over, as many of each; the first of each are the defaults.
SETTINGS: dict[str, tuple[tuple[str, float], ...]] = {
    "ours": (("pgd", 0.05), ("pgd", 0.02), ("pgd", 0.1), ("pgd", 0.2), ("adam", 0.2), ("adam", 0.05), ("adam", 0.5)),
    "art": (("Adam", 5.0), ("Adam", 0.1), ("Adam", 0.05), ("Adam", 0.02), ("pgd", 0.1), ("pgd", 0.05), ("pgd", 0.02)),
}
Setting = tuple[str, float]
Run = Callable[[int], None]
Cells = Callable[[], NDArray[np.uint8]]


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples")
    parser.add_argument("--out", type=Path, required=True, help="where patches are kept")
    parser.add_argument("--target", default="French horn")
    parser.add_argument("--steps", type=int, default=80, help="of each training; 0 leaves the strength out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--timed", type=int, default=12, help="timed steps of each; 0 leaves the step time out")
    options = parser.parse_args()
    if 0 < options.steps < _EVERY or options.seeds < 1:
        parser.error(f"expected --steps 0 or from {_EVERY} on, between two looks at the patch, and 1 or more --seeds")
    keep_freed_memory()  # as the command line does; for either side
    warnings.simplefilter("ignore")
    bench = Bench(options.data, options.target, options.steps, options.out)
    result: dict[str, Any] = {"photographs": len(bench.train), "threads": torch.get_num_threads()}
    if options.timed:
        result["step"] = bench.step_times(options.timed)
    if options.steps:
        result["strength"] = bench.strength(options.seeds, result.get("step"))
    print(json.dumps(result))  # noqa: T201


class Bench:
    """The photographs and the network that both train against."""

    def __init__(self, data: str, target: str, steps: int, out: Path) -> None:
        self.victim = load_victim("efficientnet_lite0", device="cpu")
        train, self.held_out = load_photographs(data, self.victim)
        tuning_mask = torch.arange(len(train)) % _KEPT_EVERY == 0
        self.train, tuned_on = train.subset(~tuning_mask), train.subset(tuning_mask)
        self.tuned_on = replace(
            tuned_on, images=tuned_on.central(self.victim.preprocessing.size)
        )  # as the held-out ones
        self._batches = BatchSource(self.victim, self.train, BATCH)
        self._target = self.victim.category_index(target)
        self._steps, self._out = steps, out
        self._art = ArtRenderer(self.victim)

    def step_times(self, steps: int) -> dict[str, Any]:
        """Measure the seconds a step, in turn, so that what else the machine does meets all alike."""
        frozen = library_network().requires_grad_(False)
        runs = {
            "ours": self._ours(("pgd", 0.05), 0, 10 * (steps + 8))[0],
            "as_shipped": ArtPatch(library_network(), self._batches, self._target).run,
            "frozen": ArtPatch(frozen, self._batches, self._target).run,
            "folded": ArtPatch(self.victim.module, self._batches, self._target).run,
        }
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(steps // 4 + 1):
            for name in in_turn(runs, number):
                started = time.perf_counter()
                runs[name](4)
                if number:  # the first round allocates and chooses kernels
                    seconds[name].append((time.perf_counter() - started) / 4)
        step = {name: statistics.median(values) for name, values in seconds.items()}
        return {
            "seconds": {name: round(value, 3) for name, value in step.items()},
            "art_over_ours": {name: round(value / step["ours"], 2) for name, value in step.items() if name != "ours"},
        }

    def strength(self, seeds: int, step: dict[str, Any] | None) -> dict[str, Any]:
        """Tune both, and compare the best of each over seeds."""
        tuning = {name: [self._tuned(name, setting) for setting in settings] for name, settings in SETTINGS.items()}
        best = {name: max(tried, key=lambda result: result["mean"])["setting"] for name, tried in tuning.items()}
        # Seed 0 was tuned with, and is not measured on.
        trained = {
            name: [self._judged(self._trained(name, setting, seed), self.held_out) for seed in range(1, seeds + 1)]
            for name, setting in best.items()
        }
        return {
            "steps": self._steps,
            "held_out": len(self.held_out),
            "tuning": tuning,
            "best": best,
            "seeds": seeds,
            "judged_by": {
                renderer: self._compared(
                    {name: [judged[renderer] for judged in by_seed] for name, by_seed in trained.items()}, step
                )
                for renderer in RENDERERS
            },
        }

    def _tuned(self, name: str, setting: Setting) -> dict[str, Any]:
        curve = self._judged(self._trained(name, setting, 0), self.tuned_on, (name,))[name]
        shares = [rate["rate"] for rate in curve]
        tuned = {"setting": list(setting), "mean": round(statistics.fmean(shares), 3), "end": round(shares[-1], 3)}
        print(f"{name} {tuned}", file=sys.stderr, flush=True)  # noqa: T201
        return tuned

    def _compared(self, by_name: dict[str, list[list[dict[str, Any]]]], step: dict[str, Any] | None) -> dict[str, Any]:
        """Summarise what one renderer says of both over the seeds."""
        comparison: dict[str, Any] = {}
        for name, curves in by_name.items():
            reached = [
                next((_EVERY * (i + 1) for i, rate in enumerate(curve) if rate["rate"] >= _REACHED), None)
                for curve in curves
            ]
            comparison[name] = {
                "end": [curve[-1] for curve in curves],
                "end_mean": round(statistics.fmean(curve[-1]["rate"] for curve in curves), 3),
                "curve": [round(statistics.fmean(shares), 3) for shares in zip(*_shares(curves), strict=True)],
                "steps_to_half": reached,
            }
            if step is not None and None not in reached:
                step_seconds = step["seconds"]["ours" if name == "ours" else "folded"]
                comparison[name]["seconds_to_half"] = round(step_seconds * statistics.fmean(filter(None, reached)), 1)
        ends = [[curve[-1]["rate"] for curve in by_name[name]] for name in RENDERERS]
        gain = mean_interval([ours - art for ours, art in zip(*ends, strict=True)])
        comparison["ours_less_art"] = gain and {"mean": gain[0], "ci95": gain[1]}
        return comparison

    def _judged(
        self, patches: Sequence[Patch], photographs: Photographs, renderers: Sequence[str] = RENDERERS
    ) -> dict[str, list[dict[str, Any]]]:
        """Measure each patch's targeted success on photographs that are right with grey and no target there, by renderer."""
        placement = Placement(AREA, grid=patches[0].grid)
        grey = patches[0].control("grey")
        shown_patches = (grey, *patches)
        hits = {renderer: np.zeros(len(patches), dtype=int) for renderer in renderers}
        counted = dict.fromkeys(renderers, 0)
        with untouched(self.victim), torch.no_grad():
            batches = scenes(self.victim, photographs, placement, _EOT, _POSE_SEED)
            for number, scene in enumerate(batches):
                for renderer in renderers:
                    drawn = (
                        map(scene.showing, shown_patches)
                        if renderer == "ours"
                        else self._art.showing(scene.images, shown_patches, _POSE_SEED + number)
                    )
                    with_grey, *answers = (self.victim.scores(images).argmax(dim=1).cpu() for images in drawn)
                    fair = (with_grey == scene.labels) & (scene.labels != self._target)
                    counted[renderer] += int(fair.sum())
                    hits[renderer] += [int((fair & (answer == self._target)).sum()) for answer in answers]
        for name, count in counted.items():
            if not count:
                raise InputError(
                    f"none of {len(photographs)} photographs is right behind grey as {name} draws it; give more"
                )
        return {name: [wilson(int(hit), counted[name]).to_dict() for hit in hits[name]] for name in renderers}

    def _trained(self, name: str, setting: Setting, seed: int) -> list[Patch]:
        """Return the patches along a training's way, from OUT where they are there."""
        file = self._out / f"{name}-{setting[0]}-{setting[1]:g}-{seed}.json"
        settings = {
            "steps": self._steps,
            "target": self._target,
            "every": _EVERY,
            "photographs": self.train.fingerprint,
        } | ({"drawn": "cropped and flipped"} if name == "art" else {})  # in the past, ART had the central squares

        def trained() -> dict[str, Any]:
            run, cells = self._ours(setting, seed, self._steps) if name == "ours" else self._theirs(setting, seed)
            way = []
            for _ in range(self._steps // _EVERY):
                run(_EVERY)
                way.append(cells().tolist())
            return {"way": way}

        self._out.mkdir(parents=True, exist_ok=True)
        result = kept_or_made(file, settings, trained)
        target = {"index": self._target, "name": self.victim.categories[self._target]}
        return [Patch(np.array(cells, dtype=np.uint8), target) for cells in result["way"]]

    def _ours(self, setting: Setting, seed: int, steps: int) -> tuple[Run, Cells]:
        config = TrainConfig.of(
            steps=steps,
            batch=BATCH,
            grid=(SIDE, SIDE),
            area=AREA,
            cut="square",
            eot=_EOT,
            technique=setting[0],
            learning_rate=setting[1],
            seed=seed,
        )
        trainer = Trainer(self.victim, self.train, config, self._target)
        records = iter(trainer)

        def run(count: int) -> None:
            for _ in range(count):
                next(records)

        return run, lambda: trainer.patch.cells

    def _theirs(self, setting: Setting, seed: int) -> tuple[Run, Cells]:
        optimizer, rate = setting
        patch = ArtPatch(
            self.victim.module, self._batches, self._target, optimizer=optimizer, learning_rate=rate, seed=seed
        )
        return patch.run, patch.cells


def _shares(curves: Sequence[Sequence[dict[str, Any]]]) -> list[list[float]]:
    return [[rate["rate"] for rate in curve] for curve in curves]


if __name__ == "__main__":
    run_main(main)
