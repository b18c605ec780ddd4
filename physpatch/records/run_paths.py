"""Where runs lie. Torch-free, so that every command finds them the same way."""

import os
from pathlib import Path

from calibration.common.errors import InputError
from calibration.common.files import atomic_path

RUNS_FOLDER = Path("runs")
LATEST = RUNS_FOLDER / "latest"


def mark_as_latest(folder: Path) -> None:
    """Point ``runs/latest`` at a run folder, wherever it lies."""
    with atomic_path(LATEST) as temporary:
        temporary.symlink_to(os.path.relpath(folder, LATEST.parent), target_is_directory=True)


def find_run(run: str | None) -> Path:
    """The run folder, or patch.json, that a command means; without a name the latest.

    Raises:
        InputError: there is none.
    """
    folder = Path(run) if run else LATEST
    if not folder.exists():
        if run:
            raise InputError(f"no run {folder}; name a run folder or a patch.json")
        raise InputError("no run yet under runs/; train one with `physpatch train --eot`, or name a run folder")
    return folder


def sheet_of(run: Path) -> Path:
    """Return where the printed sheet of a run folder, or of a patch.json, lies."""
    return (run.parent if run.is_file() else run) / "sheet.pdf"
