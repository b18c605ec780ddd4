"""Kill commands at random moments: what they leave is whole or absent, and the next command goes on as if nothing had been."""

import json
import random
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torture_artefacts import BENCH, LIVE, TRAIN, command, physpatch, surroundings
from torture_mutants import Tally

from calibration.common.errors import InputError
from calibration.common.pictures import open_picture
from calibration.sheet.pdf_reader import page_count
from captures.storage import read_events, read_rows
from physpatch.benchmark.bench_row import BenchRow
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord

_STEPS = "4"
_TERM_SHARE = 0.25  # of the kills that ask, with SIGTERM, instead of ending at once
_LONGEST_S = 300.0
_TEMPORARY = re.compile(r"\..+\.physpatch-\d+(\..*)?")  # what `atomic_path` names what it writes


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


def run_kills(count: int, seed: int, tally: Tally, note: Callable[[str], None] = lambda _: None) -> None:
    """Kill ``count`` commands, each at a moment drawn uniformly from the duration of an undisturbed one.

    Args:
        count: of kills.
        seed: of commands, signals and moments.
        tally: filled as it goes.
        note: receives a line about each kill that lost something.
    """
    with tempfile.TemporaryDirectory(prefix="physpatch-torture-") as work:
        whole = Path(work) / "whole"
        whole.mkdir()
        (whole / "run-whole").symlink_to("run")
        durations = {name: _duration(job, whole) for name, job in _JOBS.items()}
        for number in range(count):
            rng = random.Random(f"{seed}-{number}")
            name = rng.choices(list(_JOBS), [job.weight for job in _JOBS.values()])[0]
            folder = Path(work) / f"{number}"
            folder.mkdir()
            (folder / "run-whole").symlink_to(whole / "run")
            if name == "report":
                subprocess.run(["cp", "-r", str(whole / "session"), str(folder)], check=True)
                subprocess.run(["cp", "-r", str(whole / "run"), str(folder)], check=True)
                for made in ("report.html", "result.json", "frames.parquet", "sequences.csv"):
                    (folder / "session" / made).unlink(missing_ok=True)
            asked = rng.random() < _TERM_SHARE
            moment = rng.uniform(0, durations[name])
            how = _kill(_JOBS[name], folder, moment, signal.SIGTERM if asked else signal.SIGKILL)
            tally.tried += 1
            losses = [*_damaged(folder), *filter(None, [how, _JOBS[name].follow(folder, whole)]), *_left(folder)]
            if losses:
                tally.mutants_lost.add(number)
                for loss in losses:
                    tally.lost[f"{name}: {loss}"[:120]] += 1
                note(f"{number} {name} {'SIGTERM' if asked else 'SIGKILL'} at {moment:.2f} s: {losses}")


def _duration(job: Job, whole: Path) -> float:
    begun = time.monotonic()
    physpatch(whole, *job.words)
    return time.monotonic() - begun


def _kill(job: Job, folder: Path, after_s: float, how: signal.Signals) -> str:
    """Start a command and end it; return what it did wrong itself."""
    process = subprocess.Popen(
        command(*job.words),
        cwd=folder,
        env=surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    process.send_signal(how)
    try:
        _, said = process.communicate(timeout=_LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"did not end after {how.name}"
    began = "cli.py" in said or "physpatch" in said
    return "traceback" if "Traceback" in said and began and how == signal.SIGTERM else ""


def _follow(folder: Path, *words: str) -> str:
    done = subprocess.run(
        command(*words), cwd=folder, env=surroundings(), capture_output=True, text=True, check=False, timeout=_LONGEST_S
    )
    if "Traceback" in done.stderr:
        return f"{words[0]} after it: traceback"
    return "" if done.returncode == 0 else f"{words[0]} after it: {done.stderr.strip().splitlines()[-1]}"


def _resumed(folder: Path, whole: Path) -> str:
    began = (folder / "run/run.json").is_file()
    trouble = _follow(folder, "train", "--resume", "--out", "run") if began else _follow(folder, *_JOBS["train"].words)
    if trouble:
        return trouble
    cells = [Patch.load(place / "run").cells for place in (folder, whole)]
    return "" if np.array_equal(*cells) else "the resumed patch differs"


def _reported(folder: Path, _: Path) -> str:
    if not (folder / "session/session.db").is_file():
        return ""  # it had not begun
    trouble = _follow(folder, "report", "session", "--no-replay")
    if not trouble and not (folder / "session/report.html").is_file():
        return "no report"
    return trouble


def _benched(folder: Path, whole: Path) -> str:
    trouble = _follow(folder, *_JOBS["bench"].words)
    if trouble:
        return trouble
    for cell in (whole / "bench/cells").glob("*.json"):
        rows = [BenchRow.load(place / "bench/cells" / cell.name) for place in (folder, whole)]
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
        except (InputError, ValueError, SafetensorError, OSError) as error:
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
    import sqlite3

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
    "bench": Job(("bench", *BENCH, "--out", "bench"), 1, _benched),
    "report": Job(("report", "session", "--no-replay"), 2, _report_again),
}
