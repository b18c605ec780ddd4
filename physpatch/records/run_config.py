"""The settings of a run, read from its folder. Torch-free, for printing and filming."""

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
