"""How much of a patch is left on paper, by cells, steps, area, target and seed? One thing changed at a time.

    python benchmarks/paper_frontier.py --data DATA --held HELD --out DIR [--steps 150] [--only grid]… [--plot FILE.png]

The base is what ``physpatch train`` does by default, for 'digital clock' and with fewer steps; trained on photographs of
DATA. Each patch is measured on the photographs of HELD, in colours drawn around the printing conditions that training leaves
out (as in training: faded by up to 15 %, and mixed with one another or beyond), two poses each by the preset's ranges: target
first, of views that are right with grey, with its interval over photographs; the controls at the same poses; and the patch in
the colours of a screen. Points are kept in DIR, so that a killed bench goes on; those of another network, other photographs
or other settings are made anew. Prints one JSON line a point, and draws them all.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kept_results import kept_or_made, kept_result
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from one_line import run_main
from rig_films import require_apart

from calibration.colour.printing_condition import held_back_conditions
from physpatch import EotConfig, Patch, TrainConfig, Trainer, Victim, evaluate_patch, load_victim
from physpatch.data.photographs import load_photos, photos_for
from physpatch.evaluation.figures.plots import BAD, GOOD, save_figure
from physpatch.records.patch_file import parse_grid
from physpatch.training.counted_photographs import counted_photographs
from physpatch.transforms import DEFAULT_PRESET

_AXES: Mapping[str, Sequence[Any]] = {
    "grid": ("5x5", "10x10", "14x14", "20x20", "32x32"),
    "steps": (0.5, 1, 2),  # times --steps
    "area": (0.08, 0.15, 0.25),
    "target": ("digital clock", "hand-held computer"),
    "seed": (0, 1, 2),
}
_TITLES = {
    "grid": "cells",
    "steps": "steps of training",
    "area": "area, share of the picture",
    "target": "target class",
    "seed": "seed of training",
}
_UNORDERED = ("target", "seed")
_GRIDS = ("10x10", "20x20")  # along every axis but that of the grids
_POSES = 2
_VIEW_SEED = 99  # the same views for every patch


@dataclass(frozen=True)
class Point:
    """One training."""

    grid: str
    steps: int
    area: float = 0.15
    target: str = "digital clock"
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.grid}-{self.steps}-{self.area:g}-{self.target.replace(' ', '_')}-seed{self.seed}"

    @property
    def config(self) -> TrainConfig:
        return TrainConfig.of(
            grid=parse_grid(self.grid), steps=self.steps, area=self.area, target=self.target, seed=self.seed
        )


Along = list[tuple[str, list[tuple[str, Point]]]]  # a curve's name, and its points with what stands below them


def along(axis: str, steps: int) -> Along:
    """List the curves of one axis: one of all grids, or one for each of two grids."""
    if axis == "grid":
        return [("", [(grid, Point(grid, steps)) for grid in _AXES["grid"]])]
    curves = []
    for grid in _GRIDS:
        points = []
        for value in _AXES[axis]:
            changed = round(value * steps) if axis == "steps" else value
            points.append((str(changed), Point(**{"grid": grid, "steps": steps, axis: changed})))
        curves.append((grid, points))
    return curves


class Bench:
    """Trains and measures points; what is known already is read."""

    def __init__(self, victim: Victim, data: str, held: str, out: Path) -> None:
        """Load the photographs.

        Raises:
            InputError: some are both trained and judged on.
        """
        self._victim, self._out = victim, out
        self._views = EotConfig.preset(DEFAULT_PRESET).changed(prints=held_back_conditions())
        self._training = load_photos(photos_for(victim, data), victim.preprocessing, whole=True)
        self._held = load_photos(photos_for(victim, held), victim.preprocessing)
        require_apart(self._training, self._held)
        self._settings = {
            "model": victim.weights.sha256,
            "data": self._training.fingerprint,
            "held": self._held.fingerprint,
        }
        out.mkdir(parents=True, exist_ok=True)

    def _settings_of(self, point: Point) -> dict[str, Any]:
        """Return the settings in which a kept point must agree: also the defaults, which may change between versions."""
        return self._settings | {"config": point.config.to_dict(), "views": self._views.to_dict()}

    def known(self, point: Point) -> dict[str, Any] | None:
        """Read what was measured of a point already; None if nothing was, or with other settings."""
        return kept_result(self._out / f"{point.name}.json", self._settings_of(point))

    def measured(self, point: Point) -> dict[str, Any]:
        """Train the patch of a point, and measure it."""
        config = point.config
        return kept_or_made(
            self._out / f"{point.name}.json",
            self._settings_of(point),
            lambda: {"point": point.name, **self._trained(config, point), **self._judged(config, point)},
        )

    def _trained(self, config: TrainConfig, point: Point) -> dict[str, Any]:
        counted = counted_photographs(self._victim, self._training, config)
        trainer = Trainer(self._victim, counted, config, self._victim.category_index(point.target))
        seconds = sum(record.seconds for record in trainer)
        trainer.patch.save(self._out / point.name)
        return {"photographs": len(counted), "seconds": round(seconds, 1)}

    def _judged(self, config: TrainConfig, point: Point) -> dict[str, Any]:
        judged = evaluate_patch(
            self._victim,
            self._held,
            Patch.load(self._out / point.name),
            area=config.patch.area,
            cut=config.patch.cut,
            eot=self._views,
            seed=_VIEW_SEED,
            poses=_POSES,
        )
        return {
            "paper": {sheet: rate.to_dict() for sheet, rate in judged.targeted.items()},
            "screen": judged.on_screen["targeted"].to_dict(),
            "accuracy": {sheet: round(share, 3) for sheet, share in judged.accuracy.items()},
        }


def draw(path: Path, bench: Bench, axes: Sequence[str], steps: int) -> None:
    """Draw success on paper along each axis, with intervals over photographs, and beside it that on a screen."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    for number, axis in enumerate(axes):
        panel: Axes = figure.add_subplot(2, 3, number + 1)
        panel.set(ylim=(-2, 102), xlabel=_TITLES[axis], ylabel="target first, %" if number % 3 == 0 else None)
        panel.grid(alpha=0.3)
        curves = along(axis, steps)
        below = [text for text, _ in curves[0][1]]
        panel.set(xlim=(-0.4, len(below) - 0.6))
        panel.set_xticks(range(len(below)), below, fontsize=8)
        for (name, points), colour in zip(curves, (GOOD, BAD), strict=False):
            measurements = [
                (at, value)
                for at, (_, point) in enumerate(points)
                if (value := bench.known(point)) and value["paper"]["patch"]["rate"] is not None
            ]
            if measurements:
                _curve(panel, measurements, "o" if axis in _UNORDERED else "o-", name, colour)
        if axis != "grid":
            panel.legend(frameon=False, fontsize=8, loc="upper left")
    panel = figure.add_subplot(2, 3, len(axes) + 1)
    panel.axis("off")
    panel.text(
        0.0,
        0.9,
        f"Filled: on printing conditions that\ntraining leaves out, with 95 % intervals\nover photographs.\n"
        f"Hollow: the same patch on a screen.\n\n{steps} steps, 15 % of the picture,\n'digital clock' and seed 0, "
        f"unless\nthe axis says otherwise.",
        va="top",
        fontsize=9,
    )
    save_figure(figure, path)


def _curve(panel: Axes, measurements: Sequence[tuple[int, dict[str, Any]]], style: str, name: str, colour: str) -> None:
    places = [at for at, _ in measurements]
    rates = [value["paper"]["patch"] for _, value in measurements]
    shares = [100 * rate["rate"] for rate in rates]
    spread = [
        [share - 100 * rate["ci95"][0] for share, rate in zip(shares, rates, strict=True)],
        [100 * rate["ci95"][1] - share for share, rate in zip(shares, rates, strict=True)],
    ]
    panel.errorbar(places, shares, yerr=spread, fmt=style, color=colour, label=name, markersize=5, linewidth=1)
    screen = [100 * value["screen"]["rate"] for _, value in measurements]
    panel.plot(places, screen, "o", color=colour, markerfacecolor="none", markersize=6)


def wanted(axes: Sequence[str], steps: int) -> list[Point]:
    """List the points of these axes, each once, the cheap ones first."""
    every = {point for axis in axes for _, points in along(axis, steps) for _, point in points}
    return sorted(every, key=lambda point: (point.steps, point.name))


def main() -> None:
    """Print one JSON line a point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--held", required=True)
    parser.add_argument("--out", type=Path, required=True, help="where points are kept")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", action="append", choices=list(_AXES), metavar="AXIS", help="default: all axes")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    axes = options.only or list(_AXES)
    bench = Bench(load_victim(options.model), options.data, options.held, options.out)
    for point in wanted(axes, options.steps):
        print(json.dumps(bench.measured(point)), flush=True)  # noqa: T201
    if options.plot:
        draw(options.plot, bench, list(_AXES), options.steps)


if __name__ == "__main__":
    run_main(main)
