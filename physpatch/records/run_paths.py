"""The locations of runs. Torch-free, so that every command finds them the same way."""

import os
from collections.abc import Callable
from pathlib import Path

from calibration.common.errors import InputError
from calibration.common.files import atomic_path

RUNS_FOLDER = Path("runs")
LATEST = RUNS_FOLDER / "latest"


def mark_as_latest(folder: Path, say: Callable[[str], None]) -> None:
    """Make ``runs/latest`` a link to a run folder; say so if that is not possible, as in a folder that is read-only."""
    try:
        with atomic_path(LATEST) as temporary:
            temporary.symlink_to(os.path.relpath(folder, LATEST.parent), target_is_directory=True)
    except OSError as error:
        say(f"{LATEST} cannot be linked to this run ({error.strerror}); name it in further commands: {folder}")


def find_run(run: str | None) -> Path:
    """Find the run folder, or patch.json, given to a command; without a name, the latest run.

    Raises:
        InputError: no such run.
    """
    folder = Path(run) if run else LATEST
    if not folder.exists():
        if run:
            raise InputError(f"no run {folder}; give a run folder or a patch.json")
        raise InputError("no run yet under runs/; train one with `physpatch train --eot`, or give a run folder")
    return folder


def folder_of(run: Path) -> Path:
    """Return the folder of a run that is given by its folder or its patch.json."""
    return run.parent if run.is_file() else run


def sheet_of(folder: Path) -> Path:
    """Return the path of the printed sheet of a run or session folder, or of a patch.json."""
    return folder_of(folder) / "sheet.pdf"
