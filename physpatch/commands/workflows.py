"""Functions that commands need from packages above their own. ``cli.py`` passes them in as ``Context.obj``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from calibration.sheet.layout import SheetLayout
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch

Say = Callable[[str], None]


class ConfigFromSession(Protocol):
    """Builds a training config from a session, whose package is above that of training."""

    def __call__(self, folder: Path, given: Mapping[str, Any], preset: str | None, say: Say) -> TrainConfig:
        """Build the config for training on the session in ``folder``; ``given`` are the settings from the command line."""
        ...


class PrintRun(Protocol):
    """Prints a run's sheet for the virtual rig, whose package must not import that of printing."""

    def __call__(
        self,
        patch: Patch,
        config: TrainConfig,
        size_mm: float,
        out: Path,
        *,
        paper: str = "a4",
        controls: Sequence[str] = (),
    ) -> tuple[SheetLayout, ...]:
        """Write a run's patch, with the sign that carries it, as a PDF to scale."""
        ...


@dataclass(frozen=True)
class Workflows:
    """The functions that ``cli.py`` passes to commands."""

    config_from_session: ConfigFromSession
    print_run: PrintRun

    @classmethod
    def of(cls, context: click.Context) -> "Workflows":
        """Return the functions that ``cli.py`` passed in."""
        handed = context.find_object(cls)
        if handed is None:
            raise RuntimeError("this command must be run through cli.py, which provides functions of other packages")
        return handed
