"""Work that a command needs from a room which its own room must not import. The door hands it in as ``Context.obj``."""

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
    """Training learns from a session, though sessions are above training."""

    def __call__(self, folder: Path, given: Mapping[str, Any], preset: str | None, say: Say) -> TrainConfig:
        """Build the settings to train with after the session in ``folder``; ``given`` are the fields set by the person."""
        ...


class PrintRun(Protocol):
    """The virtual rig shows a sheet that was printed, though printing is beside filming."""

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
        """Write a run's patch, on its sign where it has one, as a PDF to scale."""
        ...


@dataclass(frozen=True)
class Workflows:
    """What the door hands to the commands of the rooms."""

    config_from_session: ConfigFromSession
    print_run: PrintRun

    @classmethod
    def of(cls, context: click.Context) -> "Workflows":
        """Find what the door handed in."""
        handed = context.find_object(cls)
        if handed is None:
            raise RuntimeError("this command runs from cli.py, which hands in what other rooms do for it")
        return handed
