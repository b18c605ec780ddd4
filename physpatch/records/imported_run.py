"""A run of a patch that was made elsewhere: the files of a run, without any claim of how it was trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError
from calibration.common.files import file_sha256
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, TargetClass
from physpatch.records.patch_exchange import read_pixels, to_cells
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import folder_of, mark_as_latest
from physpatch.records.run_record import RUN_FILE, ImportRecord, RunRecord, WeightsRecord

IMPORTED = "imported"  # status of such a run
_UNCLAIMED = ("optimisation",)  # settings that say how a patch was trained
_MEASURED_WITH = ("victim", "data", "eot")  # settings that an evaluation may replace
_KEPT_OBJECTIVE = ("target", "goal", "scope")  # of the objective: what it aims at, not how it was reached


def import_run(
    picture: Path,
    out: Path,
    config: TrainConfig,
    *,
    grid: tuple[int, int] | None = None,
    target: dict[str, Any] | None = None,
    note: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Patch:
    """Make a run folder of a patch from elsewhere; it is evaluated, printed, filmed and reported like any other.

    Args:
        picture: see :func:`physpatch.records.patch_exchange.read_pixels`.
        out: the new folder; ``runs/latest`` links to it.
        config: what it is measured with: model, data, area, cut, object and ranges. The rest is not recorded.
        grid: rows and columns of cells; None for a cell of each pixel.
        target: the class that it aims at, as in a patch file; None for an untargeted patch.
        note: of the user, such as where it was published.
        say: receives why ``runs/latest`` could not be linked to it.

    Raises:
        InputError: an unusable picture, or a folder that already holds a run.
    """
    if (out / RUN_FILE).exists() or (out / "patch.json").exists():
        raise InputError(f"{out} already holds a run; give another --out")
    pixels, words = read_pixels(picture)
    cells = to_cells(pixels, grid)
    rows, columns = cells.shape[:2]
    how = words
    if grid is not None:
        averaged = rows <= pixels.shape[0] and columns <= pixels.shape[1]
        how += (
            f", averaged to {rows}x{columns} cells in linear light" if averaged else f", repeated to {rows}x{columns}"
        )
    origin = ImportRecord(file=picture.name, sha256=file_sha256(picture), read=how, note=note)
    patch = Patch(cells, target, {"imported": origin.to_dict()})
    patch.save(out)
    settings = (
        config.anchored()
        .changed(grid=(rows, columns), target="none" if target is None else str(target["index"]))
        .to_dict()
    )
    settings = {name: section for name, section in settings.items() if name not in _UNCLAIMED}
    settings["objective"] = {name: settings["objective"][name] for name in _KEPT_OBJECTIVE}
    RunRecord(
        physpatch_run=1,
        config=settings,
        target=TargetClass.of(target),
        seed=config.optimisation.seed,
        device="",
        weights=None,
        data=None,
        imported=origin,
        status=IMPORTED,
    ).save(out / RUN_FILE)
    mark_as_latest(out, say)
    return patch


def save_results(
    folder: Path, results: dict[str, EvaluationRecord], measured_by: WeightsRecord, config: TrainConfig, seed: int
) -> None:
    """Save an imported run's first or newest results, for its report and :mod:`captures.results.gate`.

    Args:
        folder: of the run, or its ``patch.json``.
        results: by network, the first one's first.
        measured_by: that network.
        config: the network, photographs and ranges with which they were measured, which become the run's.
        seed: of the poses, which becomes the run's.

    Raises:
        InputError: a run that was trained here, whose results are those of its training.
    """
    run, record = require_imported(folder)
    first, *other_names = results
    saved = (
        results[first].changed(others={name: results[name] for name in other_names}) if other_names else results[first]
    )
    used = config.to_dict()
    settings = record.config | {name: used[name] for name in _MEASURED_WITH}
    record.changed(results=saved, weights=measured_by, config=settings, seed=seed).save(run / RUN_FILE)


def require_imported(folder: Path) -> tuple[Path, RunRecord]:
    """Find the folder and the record of an imported run, whose results can be saved.

    Args:
        folder: of the run, or its ``patch.json``.

    Raises:
        InputError: a run that was trained here, whose results are those of its training, or a patch without a run.
    """
    run = folder_of(folder)
    record = RunRecord.of(run)
    if record.imported is None:
        raise InputError(
            f"{run} keeps the results of its training; --save is for imported patches, else give --json FILE"
        )
    return run, record
