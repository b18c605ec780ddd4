"""Kill commands at random moments: what they leave is whole or absent, and the next command goes on as if nothing had been."""

import json
import random
import re
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torture_artefacts import BENCH, LIVE, TRAIN
from torture_commands import Command
from torture_mutants import Tally

from calibration.common.errors import InputError
from calibration.common.files import atomic_path
from calibration.common.pictures import open_picture
from calibration.sheet.pdf_reader import page_count
from captures.results.session_record import SessionRecord
from captures.storage import read_events, read_rows
from physpatch.benchmark.bench_row import BenchRow
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord

_STEPS = "3"
_TERM_SHARE = 0.25  # of the kills that ask, with SIGTERM, instead of ending at once
_LONGEST_S = 300.0
_ABANDONED_S = 2.5  # temporary files of killed commands that are older are removed by the next one
_TEMPORARY = re.compile(r"\..+\.physpatch-\d+(\..*)?")  # what `atomic_path` names what it writes
_ENDED = (0, 128 + signal.SIGTERM, -signal.SIGTERM)  # before it was asked, as asked, or before it could listen


@dataclass(frozen=True)
class Job:
    """A command to kill.

    Attributes:
        words: of the command.
        weight: how often it is killed, relative to the others.
        follow: runs the command that goes on, and returns what is lost; "" for nothing.
    """

    words: tuple[str, ...]
    weight: int
    follow: Callable[[Path, Path], str]


@dataclass
class Kill:
    """One kill, as it was noted."""

    number: int
    job: str
    signal: str
    after_s: float
    losses: list[str] = field(default_factory=list)


def run_kills(
    count: int, seed: int, keep: Path, tally: Tally, note: Callable[[str], None] = lambda _: None, again: bool = False
) -> None:
    """Kill ``count`` commands, each at a moment drawn uniformly from the duration of an undisturbed one.

    What is tried is noted under ``keep`` as it goes. A later run with the same seed counts it and does the rest.

    Args:
        count: of kills.
        seed: of commands, signals and moments.
        keep: folder for the notes, for the undisturbed commands' files, and for what lost something.
        tally: filled as it goes.
        note: receives a line about each kill.
        again: forget what was tried before, as after a change of the program.
    """
    home, notes = keep / "kills", keep / f"kills-{seed}.jsonl"
    if again:
        shutil.rmtree(home, ignore_errors=True)
        notes.unlink(missing_ok=True)
    noted_kills = {kill.number: kill for kill in _read(notes) if kill.number < count}
    for kill in noted_kills.values():
        _count(kill, tally)
    if len(noted_kills) < count:
        durations = _undisturbed(home, note)
    for number in sorted(set(range(count)) - noted_kills.keys()):
        with tempfile.TemporaryDirectory(prefix="physpatch-torture-") as work:
            kill = _try(number, random.Random(f"{seed}-{number}"), Path(work), home, durations)
            if kill.losses:
                shutil.copytree(work, keep / f"kill-{seed}-{number}", symlinks=True, dirs_exist_ok=True)
        with open(notes, "a", encoding="utf-8") as stream:
            stream.write("\n" + json.dumps(asdict(kill)))  # not after half a line of a bench that was killed itself
        _count(kill, tally)
        of = f"{kill.after_s:.2f} of {durations[kill.job]:.1f} s"
        note(f"{number + 1}/{count} {kill.job} {kill.signal} at {of}: {'; '.join(kill.losses) or 'nothing lost'}")


def _read(notes: Path) -> Iterator[Kill]:
    for line in notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else ():
        try:
            yield Kill(**json.loads(line))
        except (ValueError, TypeError):  # half a line, or none
            continue


def _count(kill: Kill, tally: Tally) -> None:
    tally.tried += 1
    for loss in kill.losses:
        tally.mutants_lost.add(kill.number)
        tally.lost[f"{kill.job}: {loss}"[:120]] += 1


def _undisturbed(home: Path, note: Callable[[str], None]) -> dict[str, float]:
    """Run each command once to its end, unless that was done; return how long they take, in seconds."""
    file = home / "durations.json"
    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / "run-whole").symlink_to("run")
    durations = {}
    for name, job in _JOBS.items():
        begun = time.monotonic()
        if trouble := _follow(home, *job.words):
            raise RuntimeError(f"the undisturbed {trouble}")
        durations[name] = round(time.monotonic() - begun, 2)
        note(f"{name} takes {durations[name]:.1f} s")
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(durations), encoding="utf-8")
    return durations


def _try(number: int, rng: random.Random, folder: Path, home: Path, durations: dict[str, float]) -> Kill:
    name = rng.choices(list(_JOBS), [job.weight for job in _JOBS.values()])[0]
    (folder / "run-whole").symlink_to((home / "run").resolve())
    if name == "report":
        for part in ("run", "session"):
            shutil.copytree(home / part, folder / part, symlinks=True)
        for output in ("report.html", "result.json", "frames.parquet", "sequences.csv"):
            (folder / "session" / output).unlink(missing_ok=True)
    how = signal.SIGTERM if rng.random() < _TERM_SHARE else signal.SIGKILL
    kill = Kill(number, name, how.name, round(rng.uniform(0, durations[name]), 3))
    wrong = _kill(_JOBS[name], folder, kill.after_s, how)
    kill.losses = [*wrong, *_damaged(folder)]
    if any(_left(folder)):
        time.sleep(_ABANDONED_S)
    kill.losses += [*filter(None, [_JOBS[name].follow(folder, home)]), *_left(folder)]
    return kill


def _kill(job: Job, folder: Path, after_s: float, how: signal.Signals) -> list[str]:
    """Start a command and end it; return what it did wrong itself."""
    command = Command(folder, *job.words)
    try:
        command.wait(after_s)
        command.send(how)
        if not command.wait(_LONGEST_S):
            return [f"did not end after {how.name}"]
    finally:
        output = command.end()
    if how != signal.SIGTERM:
        return []
    wrong = ["traceback after SIGTERM"] if "Traceback" in output else []
    if command.code not in _ENDED:
        wrong.append(f"exit code {command.code} after SIGTERM")
    if command.code == _ENDED[1] and "interrupted" not in output:
        wrong.append("SIGTERM was not answered in words")
    return wrong + _left_open(folder / "session")


def _left_open(session: Path) -> list[str]:
    """Name what a session that was asked to end did not write: its status, and its rows for other programs."""
    if not (session / "session.db").is_file():
        return []
    wrong = [] if (session / "frames.csv").is_file() else ["no frames.csv after SIGTERM"]
    return wrong + ["still recording after SIGTERM"] * (SessionRecord.of(session).status == "recording")


def _follow(folder: Path, *words: str) -> str:
    command = Command(folder, *words)
    try:
        if not command.wait(_LONGEST_S):
            return f"{words[0]} after it: it does not end"
    finally:
        output = command.end()
    if "Traceback" in output:
        return f"{words[0]} after it: traceback: {_last_line(output)}"
    return "" if command.code == 0 else f"{words[0]} after it: exit code {command.code}, {_last_line(output)}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing said"])[-1]


def _resumed(folder: Path, home: Path) -> str:
    began = (folder / "run/run.json").is_file()
    trouble = _follow(folder, "train", "--resume", "--out", "run") if began else _follow(folder, *_JOBS["train"].words)
    if trouble:
        return trouble
    cells = [Patch.load(place / "run").cells for place in (folder, home)]
    return "" if np.array_equal(*cells) else "the resumed patch differs"


def _reported(folder: Path, _: Path) -> str:
    if not (folder / "session/session.db").is_file():
        return _follow(folder, *_JOBS["live"].words)  # it had not begun
    trouble = _follow(folder, "report", "session", "--no-replay")
    if not trouble and not (folder / "session/report.html").is_file():
        return "no report"
    return trouble


def _benched(folder: Path, home: Path) -> str:
    trouble = _follow(folder, *_JOBS["bench"].words)
    if trouble:
        return trouble
    for cell in (home / "bench/cells").glob("*.json"):
        rows = [BenchRow.load(place / "bench/cells" / cell.name) for place in (folder, home)]
        if rows[0].patch != rows[1].patch or rows[0].measured != rows[1].measured:
            return "a bench's row differs"
    return ""


def _report_again(folder: Path, _: Path) -> str:
    return _follow(folder, *_JOBS["report"].words)


def _damaged(folder: Path) -> Iterator[str]:
    """Name the artefacts that are neither whole nor absent. Frames and film of a session are written as it goes."""
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder).parts
        if not file.is_file() or file.name.startswith(".") or "run-whole" in inside or inside[:2] in _AS_IT_GOES:
            continue
        check = _CHECKS.get(file.name) or _CHECKS.get(file.suffix)
        try:
            if check is not None:
                check(file)
        except (InputError, ValueError, SafetensorError, OSError, sqlite3.Error) as error:
            yield f"{file.name} is not whole: {str(error)[:60]}"


_AS_IT_GOES = {("session", "frames"), ("session", "raw")}


def _left(folder: Path) -> Iterator[str]:
    for file in folder.rglob(".*"):
        if _TEMPORARY.fullmatch(file.name):
            yield f"left over: {re.sub(r'-[0-9]+', '-PID', file.name)}"


def _has_end(file: Path) -> None:
    if not file.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it has no end")


def _tensors(file: Path) -> None:
    with safe_open(file, "np") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no dict
            opened.get_tensor(name)


def _parquet(file: Path) -> None:
    if not file.read_bytes().endswith(b"PAR1"):
        raise ValueError("it has no end")


def _database(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise ValueError("integrity")
    read_rows(file.parent)
    read_events(file.parent)


_CHECKS: dict[str, Callable[[Path], Any]] = {
    "patch.json": Patch.load,
    "run.json": RunRecord.load,
    "session.db": _database,
    ".json": lambda file: json.loads(file.read_text(encoding="utf-8")),
    ".png": open_picture,
    ".jpg": open_picture,
    ".pdf": page_count,
    ".html": _has_end,
    ".safetensors": _tensors,
    ".parquet": _parquet,
}
_JOBS: dict[str, Job] = {
    "train": Job(("train", *TRAIN, "--steps", _STEPS, "--out", "run"), 4, _resumed),
    "live": Job(("live", "run-whole", *LIVE, "--clips", "4", "--out", "session"), 4, _reported),
    "bench": Job(("bench", *BENCH, "--limit", "12", "--out", "bench"), 1, _benched),
    "report": Job(("report", "session", "--no-replay"), 2, _report_again),
}
