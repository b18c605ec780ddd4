"""TensorBoard's event files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from physpatch.records.run_logs.base import Parameter, RunLog


class TensorBoardLog(RunLog):
    """Write scalars, one text with the settings, and pictures."""

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "event files for `tensorboard --logdir`"

    def __init__(self, folder: Path, title: str, step: int = 0) -> None:
        """Open an event file; where ``step`` is above 0, later steps that an earlier one has are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self._title, self._last = title, step
        # Files are read in the order of their names, which begin with the whole second: a later one of the same second
        # could come first, and its steps would be hidden by what the earlier one hides.
        while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
            time.sleep(0.05)
        self._writer = SummaryWriter(folder, purge_step=step + 1 if step else None)

    def parameters(self, values: Mapping[str, Parameter]) -> None:
        """Log settings as a table."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text(f"{self._title}/parameters", f"| setting | value |\n|---|---|\n{rows}", self._last)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars."""
        self._last = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def results(self, values: Mapping[str, float]) -> None:
        """Log scalars at the last step, under ``final``."""
        for name, value in values.items():
            self._writer.add_scalar(f"final/{name}", value, self._last)

    def picture(self, name: str, file: Path) -> None:
        """Log a picture at the last step."""
        from calibration.common.pictures import read_picture

        self._writer.add_image(name, read_picture(file), self._last, dataformats="HWC")

    def close(self, *, finished: bool) -> None:
        """Close the event file."""
        self._writer.close()
