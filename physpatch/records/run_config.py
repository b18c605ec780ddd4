"""The settings of a run, read from its folder. Torch-free, for printing and filming."""

from pathlib import Path

from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch


def load_run_config(folder: Path | None) -> TrainConfig | None:
    """Read the settings of a run folder, or of a ``patch.json`` without its run; None where none are recorded.

    Raises:
        InputError: the record is damaged or was written by a newer version.
    """
    if folder is None:
        return None
    if (folder / "run.json").is_file():
        from physpatch.records.run_record import RunRecord  # here, because it would slow down the help of every command

        return RunRecord.of(folder).train_config
    made = Patch.load(folder).provenance
    return TrainConfig.from_dict(made["config"]) if "config" in made else None
