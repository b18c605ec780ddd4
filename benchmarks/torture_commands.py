"""Run commands in processes that begin with everything loaded, so that a kill falls into their work and not into imports."""

import importlib
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from torture_artefacts import surroundings

_HEAVY = (
    "cv2",
    "polars",
    "cli",
    "physpatch.training.run",
    "physpatch.benchmark.runner",
    "captures.report",
    "captures.workflows.session_start",
    "physpatch.commands.train",
    "captures.commands.live",
)
# Held-out photographs are measured in few views, and pictures show few, because a kill needs every stage and not its length.
_SHORT = {
    "physpatch.training.run._VIEWS_WANTED": 12,
    "physpatch.evaluation.grad_cam._DELETION_STEPS": 3,
    "physpatch.evaluation.figures.examples._EOT_SHOWN": 4,
}
_POLL_S = 0.005


class Command:
    """A ``physpatch`` command in a process of its own, with its words in ``said``.

    Attributes:
        code: its exit code once it has ended; minus the signal that ended it.
    """

    def __init__(self, folder: Path, *words: str) -> None:
        """Start the command in ``folder``."""
        load()
        self.code: int | None = None
        self._log = folder / f".said-{time.monotonic_ns()}"
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            _become(folder, self._log, words)

    def wait(self, longest_s: float) -> bool:
        """Wait for its end; return False if it has not ended by then."""
        end = time.monotonic() + longest_s
        while self.code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return False
            else:
                time.sleep(_POLL_S)
        return True

    def send(self, how: signal.Signals) -> None:
        """Send a signal, if it has not ended."""
        if self.code is None:
            os.kill(self._pid, how)

    def end(self) -> str:
        """End it if it runs; return what it printed."""
        self.send(signal.SIGKILL)
        self.wait(60.0)
        words = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
        with suppress(OSError):
            self._log.unlink()
        return words


def load() -> None:
    """Load what all commands use."""
    os.environ |= surroundings()  # one thread, no network; before torch is loaded
    for name in _HEAVY:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    for name, value in _SHORT.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)


def _become(folder: Path, log: Path, words: tuple[str, ...]) -> NoReturn:
    """Be the command; never returns."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # the command sets its own
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the bench's
        os.chdir(folder)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = ["physpatch", *words]
        import cli

        cli.main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
