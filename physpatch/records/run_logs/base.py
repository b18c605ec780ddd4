"""The interface of logs for other tools."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

Parameter = str | int | float | bool | None


class RunLog(ABC):
    """A log writes what happens into files of another tool, on this machine only. It is created for one run or session.

    Attributes:
        name: as in ``--log NAME``, and of the folder that it writes in.
        summary: where it writes, in one line.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @classmethod
    def require(cls) -> None:
        """Check that the tool's package is installed.

        Raises:
            UnavailableError: it is not; the message names the extra.
        """
        return

    @abstractmethod
    def __init__(self, folder: Path, title: str, step: int = 0) -> None:
        """Open the log.

        Args:
            folder: to write in; it may hold logs of others.
            title: of this run or session.
            step: the last one that was logged before a run was interrupted, which now goes on; 0 for a new run.
        """

    @abstractmethod
    def parameters(self, values: Mapping[str, Parameter]) -> None:
        """Log settings, once."""

    @abstractmethod
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of one step."""

    @abstractmethod
    def results(self, values: Mapping[str, float]) -> None:
        """Log final numbers."""

    @abstractmethod
    def picture(self, name: str, file: Path) -> None:
        """Log a PNG file under a name."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """Write what is left, and mark the run as finished or stopped."""
