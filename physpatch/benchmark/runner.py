"""A table of techniques × networks × grids × areas × targets and more, with all cells measured in the same way.

A cell is one training, and the effect of its patch on its own network and on the others. Cells are independent and saved when
they are done, so an interrupted bench resumes where it stopped, and a cluster can share the work.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from calibration.common.errors import InputError
from calibration.common.files import require_writable
from physpatch.attack.placement import Placement
from physpatch.benchmark.bench_row import BenchMark, BenchRow, BenchSeconds
from physpatch.benchmark.plan import RANDOM_START, BenchCell, BenchPlan
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import EVALUATION_SEED_OFFSET, scenes
from physpatch.evaluation.figures.examples import measure_heat
from physpatch.records.config import TrainConfig, require_data
from physpatch.records.environment import device_name, versions
from physpatch.records.evaluation_record import EvaluationRecord, HeatRecord, TargetClass
from physpatch.records.patch_file import PIXEL, Patch, parse_grid
from physpatch.records.run_record import TargetChoiceRecord
from physpatch.training.counted_photographs import counted_photographs
from physpatch.training.run import measure_patch, poses_for, split_held_out, split_photographs
from physpatch.training.run_evaluation import measure_behind
from physpatch.training.targets import resolve_target
from physpatch.training.trainer import Trainer
from physpatch.training.victim_access import require_alike
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim, named_apart

_HEAT_SCENES = 2  # of 32 photographs; the deletion test runs the network forty times for each

Say = Callable[[str], None]


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
    starts = list({cell.start.name: cell.start for cell in cells if cell.start is not None}.values())
    paths = {cell.name: folder / "cells" / f"{cell.name}.json" for cell in (*starts, *cells)}
    missing = [[cell for cell in stage if not paths[cell.name].is_file()] for stage in (starts, cells)]
    needed = {cell.start.name for cell in missing[1] if cell.start is not None}
    missing[0] = [cell for cell in missing[0] if cell.name in needed]
    done, total = len(cells) - len(missing[1]), len(cells) + len(missing[0])
    if done:
        say(f"{done} of {len(cells)} cells are already done")
    show = progress or (lambda *_: None)
    try:
        for stage in missing:
            ready = [_with_start(cell, paths) for cell in stage]
            for cell, result in _results(ready, ray_address, say):
                result.save(paths[cell.name])
                done += 1
                show(done, total, cell.name)
    except KeyboardInterrupt:
        say(f"stopped with {done} of {total} cells done; the same command goes on from there")
        raise
    return [BenchRow.load(paths[cell.name]) for cell in cells]


def _with_start(cell: BenchCell, paths: dict[str, Path]) -> BenchCell:
    if cell.start is None:
        return cell
    row = BenchRow.load(paths[cell.start.name])
    target = None if row.target is None else row.target.to_dict()
    return replace(cell, start_patch=Patch(np.array(row.patch, np.uint8), target))


def _results(cells: list[BenchCell], ray_address: str | None, say: Say) -> Iterator[tuple[BenchCell, BenchRow]]:
    if not cells:
        return
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
    victim_config = cell.config.victim
    shared = {
        "device": victim_config.device,
        "trust": victim_config.trust_weights,
        "say": say,
        **victim_config.model_options,
    }
    victims = _loaded(cell.measured_on, shared)
    imitators = [load_victim(name, **shared) for name in cell.config.optimisation.imitate]
    victim = victims[cell.measured_on[0]]
    config = cell.config.changed(grid=_grid(cell, victim.preprocessing.size))
    training, own_photographs = split_photographs(config, victim)
    held_out = {
        name: own_photographs if judge is victim else split_held_out(config, judge) for name, judge in victims.items()
    }
    for name in victims:
        if not len(held_out[name]):
            raise InputError(
                f"{config.data.source} holds out no labelled photographs, on which a bench measures: sort more photographs "
                "into folders named after their classes, or name the classes in a labels.csv"
            )
    training = counted_photographs(victim, training, config)
    ensemble = [victims[name] for name in config.victim.ensemble]
    require_alike((victim, *ensemble))
    starts = [] if cell.start_patch is None else [cell.start_patch]
    choice = resolve_target(config.objective.target, victim, training, config, say, others=ensemble, starts=starts)
    trainer = Trainer(
        victim, training, config, choice.index, others=ensemble, start=cell.start_patch, imitators=imitators
    )
    marks, seconds = _train(trainer, cell.marks, victim, own_photographs)
    patch = trainer.patch
    measured: dict[str, EvaluationRecord] = {}
    for name, judge in victims.items():
        measured |= _measure(judge, held_out[name], patch, config, cell.behind)
    if cell.marks:
        marks.append(_mark(trainer, trainer.total_steps, trainer.queries, seconds, measured[victim.name]))
    return BenchRow(
        name=cell.name,
        technique=cell.way,
        model=victim.name,
        grid=cell.grid,
        area=config.patch.area if config.object.name is None else config.object.share,
        target_asked=cell.config.objective.target,
        target=TargetClass.of(patch.target),
        target_choice=TargetChoiceRecord.model_validate(choice.to_dict()),
        also=[member.name for member in ensemble],
        defence=cell.defence,
        start=RANDOM_START if cell.start is None else cell.start.measured_on[0],
        measured=measured,
        marks=marks,
        heat=_heat(victim, own_photographs, patch, config) if cell.heat else HeatRecord(n=0),
        patch=patch.cells.tolist(),
        seed=config.optimisation.seed,
        config=config.to_dict(),
        seconds=BenchSeconds(training=round(seconds, 1), all=round(time.perf_counter() - started, 1)),
        device=device_name(victim.device),
        versions=versions(),
    )


def _loaded(names: Sequence[str], options: Mapping[str, Any]) -> dict[str, Victim]:
    """Load networks by name or file, in that order; on which their own names do not depend, as rows are compared by them."""
    victims: dict[str, Victim] = {}
    for name in sorted(names):
        victims[name] = named_apart(load_victim(name, **options), [victim.name for victim in victims.values()])
    return {name: victims[name] for name in names}


def _train(trainer: Trainer, count: int, victim: Victim, photographs: Photographs) -> tuple[list[BenchMark], float]:
    """Train to the end, and return the marks before it and the seconds of training."""
    due = {round(trainer.total_steps * number / count) for number in range(1, count)}
    marks, seconds = [], 0.0
    for record in trainer:
        seconds += record.seconds
        if record.step in due:
            (result,) = _measure(victim, photographs, trainer.patch, trainer.config, ()).values()
            marks.append(_mark(trainer, record.step, record.queries, seconds, result))
    return marks, seconds


def _mark(trainer: Trainer, step: int, queries: int | None, seconds: float, measured: EvaluationRecord) -> BenchMark:
    images = 0 if trainer.counts_queries else step * trainer.config.optimisation.batch
    networks = 1 + len(trainer.config.victim.ensemble)
    return BenchMark(
        step=step,
        queries=queries,
        gradient_evaluations=images * networks,
        seconds=round(seconds, 1),
        measured=measured,
    )


def _measure(
    victim: Victim, photographs: Photographs, patch: Patch, config: TrainConfig, behind: tuple[str, ...]
) -> dict[str, EvaluationRecord]:
    """Measure a patch on a network, and on the same views behind defences."""
    seed = config.optimisation.seed + EVALUATION_SEED_OFFSET
    poses = poses_for(victim, photographs)
    measure = partial(measure_patch, photographs=photographs, patch=patch, config=config, seed=seed, poses=poses)
    bare = measure(victim)
    measured = {victim.name: bare.to_record()}
    for name in behind:
        measured |= measure_behind(victim, name, bare, measure, photographs, seed)
    return measured


def _heat(victim: Victim, photographs: Photographs, patch: Patch, config: TrainConfig) -> HeatRecord:
    seed = config.optimisation.seed + EVALUATION_SEED_OFFSET
    looked_at = islice(scenes(victim, photographs, Placement.of(config), config.eot, seed), _HEAT_SCENES)
    return HeatRecord.model_validate(measure_heat(victim, looked_at, patch))


def _grid(cell: BenchCell, size: int) -> tuple[int, int]:
    if cell.grid != PIXEL:
        return parse_grid(cell.grid)
    side = max(1, round(size * cell.config.patch.area**0.5))
    return side, side
