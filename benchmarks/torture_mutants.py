"""Damaged artefacts through their readers: no traceback, no hang, no flood of memory."""

import json
import os
import random
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture_artefacts import KINDS, ROOT, Kind, make_artefacts, surroundings
from torture_mutations import mutate

LIMIT_S = 10.0
LIMIT_BYTES = 2**30  # beyond what the process holds before it reads anything damaged
_STOP_BYTES = 2 * LIMIT_BYTES  # at which a reader is ended
_START_S = 300.0
_MUTANTS_PER_PROCESS = 200


@dataclass
class Tally:
    """What was tried, and what was lost, by kind."""

    tried: int = 0
    readings: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    mutants_lost: set[int] = field(default_factory=set)
    slowest_s: float = 0.0
    most_mib: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {
            "tried": self.tried,
            "survived": self.tried - len(self.mutants_lost),
            "lost": len(self.mutants_lost),
            "readings": self.readings,
            "kinds": dict(self.lost.most_common()),
            "slowest_s": round(self.slowest_s, 2),
            "most_mib": self.most_mib,
        }


def run_mutants(count: int, seed: int, keep: Path, tally: Tally, only: str = "") -> None:
    """Try ``count`` mutants; keep those that are lost, each with a note, under ``keep``.

    Args:
        count: of mutants.
        seed: equal seeds give equal mutants of equal artefacts.
        keep: folder for what is lost.
        tally: filled as it goes, so that an interrupted run has what it tried.
        only: a part of the names of the artefacts to be tried; "" for all.
    """
    kinds = [kind for kind in KINDS if only in kind.file]
    with tempfile.TemporaryDirectory(prefix="physpatch-torture-") as work:
        whole = cached_artefacts(Path(work))
        worker = Worker()
        try:
            for number in range(count):
                rng = random.Random(f"{seed}-{number}")
                kind = rng.choices(kinds, [kind.weight for kind in kinds])[0]
                folder = Path(work) / "mutant"
                file, how = make_mutant(kind, whole, folder, rng)
                tally.tried += 1
                for reader in kind.readers:
                    answer = worker.read(reader, folder)
                    tally.readings += 1
                    tally.slowest_s = max(tally.slowest_s, answer["seconds"])
                    tally.most_mib = max(tally.most_mib, answer["mib"])
                    if answer["kind"] != "survived":
                        tally.lost[f"{kind.file}: {answer['kind']}"] += 1
                        tally.mutants_lost.add(number)
                        _keep(
                            file, keep / f"{seed}-{number}", {"how": how, "file": kind.file, "reader": reader} | answer
                        )
                shutil.rmtree(folder)
                if number % _MUTANTS_PER_PROCESS == _MUTANTS_PER_PROCESS - 1:
                    worker.stop()
        finally:
            worker.stop()


def cached_artefacts(work: Path) -> Path:
    """Make the artefacts, or take those that ``PHYSPATCH_TORTURE`` names."""
    folder = os.environ.get("PHYSPATCH_TORTURE")
    if folder:
        return Path(folder).resolve()
    whole = work / "whole"
    whole.mkdir()
    return make_artefacts(whole)


def make_mutant(kind: Kind, whole: Path, folder: Path, rng: random.Random) -> tuple[Path, str]:
    """Link the artefacts into a folder, and damage one of them; return its file and how it was damaged."""
    shutil.copytree(whole, folder, copy_function=os.link, symlinks=True)
    for part in ("run", "session"):
        (folder / f"{part}-whole").symlink_to(whole / part)
    for name in kind.spoilt:
        damaged = folder / name
        damaged.unlink()
        damaged.write_bytes(b"SQLite format 3\x00" + bytes(500))
    file = rng.choice(sorted(folder.glob(kind.file)))
    return file, mutate(file, kind.form, rng)


def _keep(file: Path, folder: Path, note: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        shutil.copy(file, folder)
    with open(folder / "note.jsonl", "a", encoding="utf-8") as stream:
        stream.write(json.dumps(note) + "\n")


class Worker:
    """A process that reads, so that what crashes, hangs or takes too much memory can be ended."""

    def __init__(self) -> None:
        """Wait for the first task with the start."""
        self._process: subprocess.Popen[str] | None = None
        self._baseline = 0

    def stop(self) -> None:
        """End the process; the next task starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None

    def read(self, reader: str, folder: Path) -> dict[str, Any]:
        """Run a reader in a folder; return how it went: ``kind``, ``words``, ``seconds`` and ``mib``."""
        if self._process is None:
            self._start()
        begun = time.monotonic()
        answer, most = self._ask(reader, folder, LIMIT_S)
        seconds = time.monotonic() - begun
        if answer is None:
            kind = "memory" if most > _STOP_BYTES else "hang" if seconds >= LIMIT_S else "crash"
            code = self._process and self._process.poll()
            answer = {"kind": kind, "words": f"exit code {code}" if kind == "crash" else ""}
            self.stop()
        elif most > LIMIT_BYTES:
            answer = {"kind": "memory", "words": answer["words"]}
        return answer | {"seconds": round(seconds, 2), "mib": max(0, most) // 2**20}

    def _start(self) -> None:
        command = [sys.executable, __file__]
        environment = surroundings() | {"PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}", "MPLBACKEND": "agg"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._baseline = 0
        if self._ask("", Path(), _START_S)[0] is None:
            raise RuntimeError("the process that reads could not be started")
        self._baseline = _resident(self._process.pid)

    def _ask(self, reader: str, folder: Path, limit_s: float) -> tuple[dict[str, Any] | None, int]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        most, end = 0, time.monotonic() + limit_s
        try:
            process.stdin.write(json.dumps([reader, str(folder)]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return None, 0
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while time.monotonic() < end:
                if selector.select(0.05):
                    line = process.stdout.readline()
                    answer = json.loads(line) if line else None
                    peak = answer["peak"] if answer else most + self._baseline
                    return answer, peak - self._baseline
                most = max(most, _resident(process.pid) - self._baseline)
                if most > _STOP_BYTES and self._baseline:
                    return None, most
        return None, most


def _resident(pid: int, name: str = "VmRSS") -> int:
    """Read the resident memory of a process in bytes, or its peak (``VmHWM``); 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _tasks() -> Iterator[tuple[str, str]]:
    for line in sys.stdin:
        yield tuple(json.loads(line))


def _serve() -> None:
    """Answer tasks from standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    import torture_readers

    home = Path.cwd()
    for reader, folder in _tasks():
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
        if reader:
            os.chdir(folder)
            outcome = torture_readers.read(reader)
            os.chdir(home)
            result = {"kind": outcome.kind, "words": outcome.words}
        else:
            result = _warm(torture_readers)
        answers.write(json.dumps(result | {"peak": _resident(os.getpid(), "VmHWM")}) + "\n")
        answers.flush()


def _warm(readers: Any) -> dict[str, str]:
    """Load what readers share, so that it counts neither as their time nor as their memory."""
    import polars  # noqa: F401

    import captures.report  # noqa: F401

    readers._loaded()
    return {"kind": "survived", "words": ""}


if __name__ == "__main__":
    _serve()
