"""Weights & Biases, in its offline mode."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.extras import import_extra
from physpatch.records.run_logs.base import Parameter, RunLog

_PROJECT = "physpatch"


class WandbLog(RunLog):
    """Write an offline run, which ``wandb sync`` can upload later; nothing is uploaded here, whatever is set elsewhere."""

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "an offline run, which stays here until `wandb sync` (extra wandb)"

    @classmethod
    def require(cls) -> None:
        """Check that wandb is installed."""
        _wandb()

    def __init__(self, folder: Path, title: str, step: int = 0) -> None:
        """Begin an offline run; one that goes on has the id of the earlier part, so that both are synchronised as one."""
        wandb = _wandb()
        folder.mkdir(parents=True, exist_ok=True)
        id_file = folder / (re.sub(r"[^-.\w]+", "-", title) + ".id")
        before = id_file.read_text().strip() if step and id_file.is_file() else None
        self._image = wandb.Image
        self._run = wandb.init(
            project=_PROJECT,
            name=title,
            id=before,
            dir=str(folder),
            mode="offline",
            resume=None,
            reinit="create_new",
            settings=wandb.Settings(
                mode="offline",
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
            ),
        )
        id_file.write_text(self._run.id)

    def parameters(self, values: Mapping[str, Parameter]) -> None:
        """Log settings as the run's config."""
        self._run.config.update(dict(values), allow_val_change=True)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of a step."""
        self._run.log(dict(values), step=step)

    def results(self, values: Mapping[str, float]) -> None:
        """Write final numbers to the run's summary."""
        self._run.summary.update(dict(values))

    def picture(self, name: str, file: Path) -> None:
        """Log a picture."""
        self._run.log({name: self._image(str(file))})

    def close(self, *, finished: bool) -> None:
        """End the run. wandb's own process writes the last of its file a moment later, and always before this process ends."""
        self._run.finish(exit_code=0 if finished else 1)


def _wandb() -> Any:
    # Read when it is imported: it would report errors to its makers.
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    return import_extra("wandb", "wandb", "--log wandb")
