"""What a list or a gallery says about each run and session."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import write_text
from calibration.common.text import number_of
from captures.gap.decomposition import digital_rate
from captures.report.answer import answer_of
from captures.report.sections.pictures import key_frames
from captures.report.wording import PARTS_OF_A_DEMO
from captures.results.aggregation import CONTROL
from captures.results.recorded_session import Kind, RecordedSession, kind_of, require_kind
from captures.results.session_record import SessionRecord
from captures.session.live_session import SESSIONS_FOLDER
from captures.storage import SESSION_DATABASE
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import RUNS_FOLDER
from physpatch.records.run_record import RUN_FILE, RunRecord
from physpatch.stats.intervals import Rate

TAGS_FILE = "tags.txt"
REPORT_FILE = "report.html"
_DEEPEST = 3  # folders below those that are listed
_LONGEST_TAG = 40


@dataclass(frozen=True)
class Entry:
    """A run or a session.

    Attributes:
        folder: where it is.
        kind: run or session.
        changed: when it was begun or, for a run, last written.
        model: the first network.
        target: name of the target class; None without one.
        measure: the outcome that the rates count, one of ``calibration.common.success.MEASURES``; empty without rates.
        digital: success on held-out photographs.
        camera: success on camera.
        control: the same with the grey control, on photographs for a run and on camera for a session.
        verdict: of a session, in a few words.
        facts: what it was made with, such as cells and technique.
        tags: the user's.
        size_bytes: of all files.
        picture: the cells or a key frame; None without one.
        trouble: why it cannot be read; empty if it can.
    """

    folder: Path
    kind: Kind
    changed: datetime
    model: str = ""
    target: str | None = None
    measure: str = ""
    digital: Rate | None = None
    camera: Rate | None = None
    control: Rate | None = None
    verdict: str = ""
    facts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    size_bytes: int = 0
    picture: Path | None = None
    trouble: str = ""

    @property
    def report(self) -> Path | None:
        """Return its HTML report, which for a part of a demo lies beside it; None if there is none."""
        beside = [self.folder.parent] if self.folder.name in PARTS_OF_A_DEMO else []
        return next((path for at in (self.folder, *beside) if (path := at / REPORT_FILE).is_file()), None)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        rates = {name: getattr(self, name) for name in ("digital", "camera", "control")}
        return {
            "folder": str(self.folder),
            "kind": self.kind,
            "changed": self.changed.isoformat(timespec="seconds"),
            "model": self.model,
            "target": self.target,
            "measure": self.measure,
            **{name: None if rate is None else rate.to_dict() for name, rate in rates.items()},
            "verdict": self.verdict,
            "facts": list(self.facts),
            "tags": list(self.tags),
            "size_bytes": self.size_bytes,
            "trouble": self.trouble,
        }


def list_entries(folders: Iterable[Path] = ()) -> list[Entry]:
    """Read all runs and sessions in some folders, the newest first; by default ``runs/`` and ``sessions/``.

    A damaged one is listed with its trouble.

    Raises:
        InputError: a folder that does not exist.
    """
    roots = list(folders)
    for root in roots:
        if not root.is_dir():
            raise InputError(f"no folder {root}; give a folder of runs or sessions")
    roots = roots or [root for root in (RUNS_FOLDER, SESSIONS_FOLDER) if root.is_dir()]
    by_path = {folder.resolve(): folder for root in roots for folder in _found(root, _DEEPEST)}
    return sorted((read_entry(folder) for folder in by_path.values()), key=lambda entry: entry.changed, reverse=True)


def read_entry(folder: Path) -> Entry:
    """Read one run or session.

    Raises:
        InputError: the folder is neither.
    """
    kind = require_kind(folder)
    common: dict[str, Any] = {"tags": read_tags(folder), "size_bytes": _size(folder)}
    marker = folder / (RUN_FILE if kind == "run" else SESSION_DATABASE)
    changed = datetime.fromtimestamp((marker if marker.exists() else folder).stat().st_mtime, UTC)
    try:
        read = _run(folder) if kind == "run" else _session(folder)
    except PhyspatchError as error:
        read = {"trouble": str(error)}
    return Entry(folder, kind, **({"changed": changed} | common | read))


def read_tags(folder: Path) -> tuple[str, ...]:
    """Read the user's tags, in order of their names."""
    try:
        lines = (folder / TAGS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    return tuple(sorted({line.strip()[:_LONGEST_TAG] for line in lines} - {""}))


def write_tags(folder: Path, add: Iterable[str], remove: Iterable[str] = ()) -> tuple[str, ...]:
    """Add and remove tags; return those that are there now.

    Raises:
        InputError: the folder is neither a run nor a session, or a tag is empty, too long or not in one line.
    """
    if kind_of(folder) is None:
        raise InputError(f"{folder} is neither a run nor a session; give the folder of one")
    words = list(add)
    for word in words:
        if not word.strip() or len(word) > _LONGEST_TAG or not word.isprintable():
            raise InputError(f"{word!r} is no tag; expected one line of at most {_LONGEST_TAG} characters")
    tags = sorted((set(read_tags(folder)) | {word.strip() for word in words}) - set(remove))
    write_text(folder / TAGS_FILE, "".join(f"{tag}\n" for tag in tags))
    return tuple(tags)


def _found(root: Path, depth: int) -> Iterator[Path]:
    if kind_of(root) is not None:
        yield root
        return
    if depth:
        for child in sorted(root.iterdir()):
            if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                yield from _found(child, depth - 1)


def _run(folder: Path) -> dict[str, Any]:
    record = RunRecord.of(folder)
    results, facts = record.results, [record.status] if record.status != "finished" else []
    if (folder / "patch.json").is_file():
        rows, columns = Patch.load(folder).grid
        facts.append(f"{rows} × {columns} cells")
    optimisation = record.config.get("optimisation")
    technique = optimisation.get("technique") if isinstance(optimisation, dict) else None
    facts += [technique] if isinstance(technique, str) else []
    read: dict[str, Any] = {
        "model": "" if record.weights is None else record.weights.model,
        "target": record.target.name if record.target else None,
    }
    if results is not None:
        measure = "target" if record.target else "wrong"
        controls = results.control_targeted_success if record.target else results.control_untargeted_success
        read |= {"measure": measure, "digital": digital_rate(results, measure), "control": controls.get(CONTROL)}
    picture = folder / "patch.png"
    return read | {"facts": tuple(facts), "picture": picture if picture.is_file() else None}


def _session(folder: Path) -> dict[str, Any]:
    session = RecordedSession.open(folder)
    record, answer = session.record, answer_of(session)
    facts = [_source_words(record), number_of(session.tally.design().clips, "clip")]
    if record.reanalysis is not None:
        facts.append(f"analysed again from {Path(record.reanalysis.session).name}")
    frames = key_frames(folder)
    patched = [file for (_, condition), file in frames.items() if condition == "patch"]
    read: dict[str, Any] = {
        "model": session.tally.models[0] if session.tally.models else "",
        "target": session.target,
        "facts": tuple(facts),
        "picture": next(iter(patched or frames.values()), None),
    }
    if answer is not None:
        control = answer.controls.get(CONTROL)
        read |= {"measure": answer.measure, "camera": answer.rate, "control": control, "verdict": answer.verdict}
    try:
        begun = datetime.fromisoformat(record.begun)
    except ValueError:
        return read
    return read | {"changed": begun if begun.tzinfo else begun.replace(tzinfo=UTC)}


def _source_words(record: SessionRecord) -> str:
    if record.virtual:
        return f"rendered: {record.scene}" if record.scene else "virtual rig"
    source = record.source or ""
    return "phone" if source == "phone" else Path(source).name if Path(source).suffix or "/" in source else "camera"


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a training or session beside this removes its temporary files
                total += (Path(parent) / name).lstat().st_size
    return total
