"""The settings of a run and what its sheets need, read from its folder. Torch-free, for printing and filming."""

from pathlib import Path

from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import folder_of


def load_run_config(folder: Path | None) -> TrainConfig | None:
    """Read the settings of a run, given by its folder or its ``patch.json``, or of a ``patch.json`` without its run.

    Returns:
        The settings; None where none are recorded.

    Raises:
        InputError: the record is damaged or was written by a newer version.
    """
    if folder is None:
        return None
    run = folder_of(folder)
    if (run / "run.json").is_file():
        from physpatch.records.run_record import RunRecord  # here, because it would slow down the help of every command

        return RunRecord.of(run).train_config
    provenance = Patch.load(folder).provenance
    return TrainConfig.from_dict(provenance["config"]) if "config" in provenance else None


def strongest_drawing(run: Path) -> Patch | None:
    """Draw the sign that, by a run's evaluation, does most in the place of its patch, in as many cells.

    Returns:
        The drawing; None where the patched sign is not taken for another one, or nothing is recorded.

    Raises:
        InputError: the record is damaged or was written by a newer version.
    """
    folder = folder_of(run)
    if not (folder / "run.json").is_file():
        return None
    from physpatch.records.patch_exchange import drawing  # here, as above
    from physpatch.records.run_record import RunRecord

    name = RunRecord.of(folder).strongest_drawn_sign
    return None if name is None else drawing(name, Patch.load(run).grid)
