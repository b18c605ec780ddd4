"""The settings of a run, read from its folder. Torch-free, for printing and filming."""

from pathlib import Path

from calibration.common.files import read_json
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch


def load_run_config(folder: Path | None) -> TrainConfig | None:
    """Read the settings of a run folder, or of a ``patch.json`` without its run; None where none are recorded.

    Raises:
        InputError: the record is damaged or was written by a newer version.
    """
    if folder is None:
        return None
    record = folder / "run.json"
    made = read_json(record) if record.is_file() else Patch.load(folder).provenance
    return TrainConfig.from_dict(made["config"]) if "config" in made else None
