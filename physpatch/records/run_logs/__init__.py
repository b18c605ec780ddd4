"""Logs for other tools: one per module here, or a class behind an entry point ``physpatch.run_logs``."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from calibration.common.registry import Registry
from physpatch.records.run_logs.base import Parameter, RunLog

LOGS = Registry("log", RunLog, __name__, "physpatch.run_logs")

__all__ = ["LOGS", "RunLog", "RunLogs", "open_logs", "require_logs"]


class RunLogs:
    """Several logs of the same run or session, or none; see :class:`RunLog` for the methods."""

    def __init__(self, logs: Sequence[RunLog]) -> None:
        """Join open logs."""
        self._logs = logs

    def parameters(self, values: Mapping[str, Parameter]) -> None:
        """Log settings, once."""
        for log in self._logs:
            log.parameters(values)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers of one step."""
        for log in self._logs:
            log.metrics(values, step)

    def results(self, values: Mapping[str, float]) -> None:
        """Log final numbers."""
        for log in self._logs:
            log.results(values)

    def picture(self, name: str, file: Path) -> None:
        """Log a PNG file under a name; do nothing if it was not written."""
        for log in self._logs if file.is_file() else ():
            log.picture(name, file)


def require_logs(asked: Sequence[str]) -> None:
    """Check the names of logs and their packages, before what takes long.

    Raises:
        InputError: no such log.
        UnavailableError: its package is not installed.
    """
    for text in asked:
        LOGS.find(text.partition("=")[0]).require()


@contextmanager
def open_logs(asked: Sequence[str], beside: Path, title: str, step: int = 0) -> Iterator[RunLogs]:
    """Open logs for the time of a block, which is finished if it ends without an exception.

    Args:
        asked: names, each once; ``NAME=DIR`` writes in DIR, which several runs can share.
        beside: the folder of the run or session, where a log without DIR gets a folder of its name.
        title, step: see :class:`RunLog`.

    Raises:
        InputError: no such log.
        UnavailableError: its package is not installed.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_opened(text, beside, title, step)) for text in dict.fromkeys(asked)]
        yield RunLogs(logs)


@contextmanager
def _opened(text: str, beside: Path, title: str, step: int) -> Iterator[RunLog]:
    name, _, place = text.partition("=")
    kind = LOGS.find(name)
    log = kind(Path(place).absolute() if place else (beside / name).absolute(), title, step)
    finished = False
    try:
        yield log
        finished = True
    finally:
        log.close(finished=finished)
