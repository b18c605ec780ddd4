"""The cells that a training begins with: random ones, of all colours or dark, or those of a patch."""

from pathlib import Path

import torch
from torch import Generator, Tensor

from calibration.common.errors import InputError, unknown_name
from physpatch.records.config import RANDOM_STARTS, TrainConfig
from physpatch.records.patch_exchange import to_cells
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import find_run
from physpatch.rendering.cells import cells_from_patch


def starting_cells(config: TrainConfig, generator: Generator) -> list[Tensor]:
    """Return the cells (3, rows, columns) of each start, in [0, 1]; those that nothing is named for are of all colours.

    Random cells are drawn for each, also where a patch takes their place, so that no start depends on what the others are.

    Raises:
        InputError: a name that is no patch or run.
    """
    named_starts = config.optimisation.start
    names = [*named_starts, *["random"] * (config.optimisation.starts - len(named_starts))]
    drawn = [torch.rand(3, *config.patch.grid, generator=generator) for _ in names]
    return [
        cells * RANDOM_STARTS[name]
        if name in RANDOM_STARTS
        else cells_of(Patch.load(find_run(name)), config.patch.grid)
        for name, cells in zip(names, drawn, strict=True)
    ]


def anchored_start(name: str) -> str:
    """Return what a training begins with as its record names it: the path of a run or patch made absolute.

    Raises:
        InputError: a name that is no patch or run, nor one of :data:`RANDOM_STARTS`.
    """
    if name in RANDOM_STARTS:
        return name
    if not Path(name).exists():
        raise InputError(f"{unknown_name('start', name, RANDOM_STARTS)}; it may also be a run's folder or a patch.json")
    return str(find_run(name).resolve())


def cells_of(patch: Patch, grid: tuple[int, int]) -> Tensor:
    """Return a patch's cells (3, rows, columns); those of another grid are averaged in linear light or repeated."""
    return cells_from_patch(Patch(to_cells(patch.cells, grid)))
