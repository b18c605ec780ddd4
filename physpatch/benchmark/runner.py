"""A table of techniques × networks × grids × areas × targets, with all cells measured in the same way.

A cell is one training, and the effect of its patch on its own network and on the others. Cells are independent and saved when
they are done, so an interrupted bench resumes where it stopped, and a cluster can share the work.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError
from calibration.common.files import require_writable
from physpatch.attack.placement import Placement
from physpatch.benchmark.bench_row import BenchRow, BenchSeconds
from physpatch.evaluation.classification import EVALUATION_SEED_OFFSET, scenes
from physpatch.evaluation.figures.examples import measure_heat
from physpatch.records.config import ObjectiveConfig, OptimisationConfig, PatchConfig, TrainConfig, require_data
from physpatch.records.environment import device_name, versions
from physpatch.records.evaluation_record import HeatRecord, TargetClass
from physpatch.records.patch_file import PIXEL, check_grid_name, parse_grid
from physpatch.records.run_record import TargetChoiceRecord
from physpatch.techniques import TECHNIQUES
from physpatch.training.run import measure_patch, poses_for, split_photographs
from physpatch.training.targets import resolve_target
from physpatch.training.trainer import Trainer
from physpatch.victims.registry import load_victim

_HEAT_SCENES = 2  # of 32 photographs; the deletion test runs the network forty times for each

Say = Callable[[str], None]


@dataclass(frozen=True)
class BenchPlan:
    """The axes of a table. The first value of each axis is the base.

    Attributes:
        techniques, models, grids, areas, targets: the axes. Grids are ``RxC`` or ``pixel``; targets as for ``--target``.
        full: train every combination; otherwise the base, and each axis varied alone.
        seeds: number of trainings of each, with the base's seed and the following ones: a single one may differ by chance.
        base: all other settings of the trainings.
    """

    techniques: tuple[str, ...] = (OptimisationConfig.technique,)
    models: tuple[str, ...] = ("efficientnet_lite0",)
    grids: tuple[str, ...] = ("10x10",)
    areas: tuple[float, ...] = (PatchConfig.area,)
    targets: tuple[str, ...] = (ObjectiveConfig.target,)
    full: bool = False
    seeds: int = 1
    base: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"a bench needs at least one training seed, got {self.seeds}")
        for name in ("techniques", "models", "grids", "areas", "targets"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(
                    f"a bench needs one or more distinct {name}, got {', '.join(map(str, values)) or 'none'}"
                )
        for technique in self.techniques:
            TECHNIQUES.find(technique)
        for grid in self.grids:
            check_grid_name(grid)
        for option in ("labels", "cam_layer"):
            if len(self.models) > 1 and self.base.setting(option) is not None:
                raise InputError(f"--{option.replace('_', '-')} needs exactly one --model")
        if self.base.object.drawn_sign is not None and self.areas != (PatchConfig.area,):
            raise InputError(
                "--area is for a patch without an object; on a drawn sign, --sign-area and --object-share set its size"
            )
        if "ensemble" in self.techniques and len(self.models) < 2:
            raise InputError("technique ensemble needs several models; give --model more than once")

    def cells(self) -> list["BenchCell"]:
        """List the cells of the table, the base first, each with all of its seeds."""
        axes = (self.techniques, self.models, self.grids, self.areas, self.targets)
        base = tuple(axis[0] for axis in axes)
        cells = [self._cell(*choice) for choice in (product(*axes) if self.full else _star(base, axes))]
        return [
            replace(cell, config=cell.config.changed(seed=cell.config.optimisation.seed + number))
            for cell in cells
            for number in range(self.seeds)
        ]

    def _cell(self, technique: str, model: str, grid: str, area: float, target: str) -> "BenchCell":
        others = tuple(name for name in self.models if name != model)
        config = self.base.changed(
            technique=technique,
            model=model,
            ensemble=others if technique == "ensemble" else (),
            area=area,
            target=target,
        )
        return BenchCell(config, grid, (model, *others))


@dataclass(frozen=True)
class BenchCell:
    """One training, and the networks on which its patch is measured, its own first."""

    config: TrainConfig
    grid: str
    measured_on: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return a readable name that is unique to these settings, for the cell's file."""
        settings = json.dumps([self.config.to_dict(), self.grid, self.measured_on], sort_keys=True, default=str)
        technique, model, target = (self.config.setting(name) for name in ("technique", "model", "target"))
        words = f"{technique}-{model}-{self.grid}-{100 * Placement.of(self.config).area:.3g}pc-{target}"
        readable = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in words)
        return f"{readable}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def run_bench(
    plan: BenchPlan, folder: Path, *, ray_address: str | None = None, progress: Any = None, say: Say = print
) -> list[BenchRow]:
    """Measure the missing cells, and return the rows of all.

    Args:
        plan: the comparison.
        folder: where cells and tables are saved; cells found there are not measured again.
        ray_address: of a Ray cluster to share the work; None to do it here, cell by cell.
        progress: called with the number of cells done, their total, and a name.
        say: receives one line at a time.

    Raises:
        InputError: an unusable model, target or data, or a folder that cannot be written.
    """
    require_writable(folder)
    require_data(plan.base.data.source)
    cells = plan.cells()
    paths = {cell.name: folder / "cells" / f"{cell.name}.json" for cell in cells}
    missing = [cell for cell in cells if not paths[cell.name].is_file()]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} cells are already done")
    show = progress or (lambda *_: None)
    done = len(cells) - len(missing)
    try:
        for cell, result in _results(missing, ray_address, say):
            result.save(paths[cell.name])
            done += 1
            show(done, len(cells), cell.name)
    except KeyboardInterrupt:
        say(f"stopped with {done} of {len(cells)} cells done; the same command goes on from there")
        raise
    return [BenchRow.load(paths[cell.name]) for cell in cells]


def _results(cells: list[BenchCell], ray_address: str | None, say: Say) -> Iterator[tuple[BenchCell, BenchRow]]:
    if ray_address is not None:
        from physpatch.benchmark.ray_backend import run_on_ray

        yield from run_on_ray(measure_cell, cells, ray_address, say=say)
        return
    for cell in cells:
        say(f"training {cell.name}")
        yield cell, measure_cell(cell, say)


def measure_cell(cell: BenchCell, say: Say = lambda _: None) -> BenchRow:
    """Train one patch and measure it. The result depends only on the cell, not on the machine.

    Raises:
        InputError: an unusable model, target or data.
    """
    started = time.perf_counter()
    asked = cell.config.victim
    shared = {"device": asked.device, "trust": asked.trust_weights, "say": say, **asked.model_options}
    victims = {name: load_victim(name, **shared) for name in cell.measured_on}
    victim = victims[cell.measured_on[0]]
    config = cell.config.changed(grid=_grid(cell, victim.preprocessing.size))
    held_out = {}
    for name, judge in victims.items():
        train, held_out[name] = split_photographs(config, judge)
        if not len(held_out[name]):
            raise InputError(
                f"{config.data.source} holds out no labelled photographs, on which a bench measures: sort more photographs "
                "into folders named after their classes, or name the classes in a labels.csv"
            )
        if judge is victim:
            training = train
    others = [victims[name] for name in config.victim.ensemble]
    choice = resolve_target(config.objective.target, victim, training, config, say, others=others)
    trainer = Trainer(victim, training, config, choice.index, others=others)
    seconds = sum(record.seconds for record in trainer)
    seed, patch, measured = config.optimisation.seed + EVALUATION_SEED_OFFSET, trainer.patch, {}
    for name, judge in victims.items():
        photographs = held_out[name]
        measured[judge.name] = measure_patch(
            judge, photographs, patch, config, seed=seed, poses=poses_for(photographs)
        ).to_record()
    looked_at = islice(
        scenes(victim, held_out[cell.measured_on[0]], Placement.of(config), config.eot, seed), _HEAT_SCENES
    )
    heat = HeatRecord.model_validate(measure_heat(victim, looked_at, patch))
    return BenchRow(
        name=cell.name,
        technique=config.optimisation.technique,
        model=victim.name,
        grid=cell.grid,
        area=Placement.of(config).area,
        target_asked=cell.config.objective.target,
        target=TargetClass.of(patch.target),
        target_choice=TargetChoiceRecord.model_validate(choice.to_dict()),
        also=list(config.victim.ensemble),
        measured=measured,
        heat=heat,
        patch=patch.cells.tolist(),
        seed=config.optimisation.seed,
        config=config.to_dict(),
        seconds=BenchSeconds(training=round(seconds, 1), all=round(time.perf_counter() - started, 1)),
        device=device_name(victim.device),
        versions=versions(),
    )


def _grid(cell: BenchCell, size: int) -> tuple[int, int]:
    if cell.grid != PIXEL:
        return parse_grid(cell.grid)
    side = max(1, round(size * cell.config.patch.area**0.5))
    return side, side


def _star(base: tuple[Any, ...], axes: tuple[tuple[Any, ...], ...]) -> Iterator[tuple[Any, ...]]:
    yield base
    for number, axis in enumerate(axes):
        for value in axis[1:]:
            yield (*base[:number], value, *base[number + 1 :])
