"""A session's database: SQLite in WAL mode, written while the session runs.

Schema 5, in ``PRAGMA user_version``:

``frames``: one row per frame and model, with the columns of :class:`FrameRow`; the primary key is (frame, model).
``events``: one row per event: ``number`` (in order), ``time_s``, ``kind``, ``words``. The kinds are ``lost`` and ``back``
(the camera, or what a video file can still be decoded to; the time between them is a gap), ``unreadable`` (a still that was
left out), ``refused`` (a setting), ``step`` and ``done`` (a step of the plan starts or
is complete), ``continued`` (a session that had ended goes on), and the user's commands: ``mark``, ``pause``, ``resume``,
``region`` and the others of
:data:`captures.viewers.controls.COMMANDS`.

Schema 1 had no events and no columns from ``top5`` on, schema 2 no ``object_xyxy``, schema 3 no ``true_distance_m``, schema 4
no ``camera``; these are empty when read.
"""

import csv
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import Field, asdict, astuple, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import atomic_path, require_writable, temporary_name
from calibration.common.text import cleaned
from captures.sources.frame import Event
from captures.storage.stored_rows import trouble_in_events, trouble_in_rows

SESSION_DATABASE = "session.db"
RAW_FOLDER = "raw"  # of the original frames that are kept
WHOLE_SUFFIX, LOSSY_SUFFIX = ".png", ".jpg"
SCHEMA_VERSION = 5


@dataclass(frozen=True)
class FrameRow:
    """The result of one model on one frame: the columns of ``frames.csv``, in this order; None is an empty field.

    Attributes:
        frame: the source's number of the frame; missing numbers were dropped.
        time_s: seconds from the start.
        condition: the kind of sheet that is shown, or ``none``.
        clip: number of the clip.
        model: name of the model.
        top1, top1_score: the class with the highest score, and its score.
        target_score: score of the target class; None without a target.
        success: 1 or 0; None if it cannot be determined, as for an untargeted patch and an unknown true class.
        distance_m, yaw_deg, pitch_deg, roll_deg: pose of the sheet; None if no sheet was found.
        patch_px: area of the patch in pixels.
        px_per_cell: side of a cell in pixels.
        label: the true class, if known.
        heat_in_patch: share of the Grad-CAM heat inside the patch.
        boxes: detections as JSON, [[label, score, left, top, right, bottom], ...] in pixels.
        top5: a classifier's top classes as JSON, [[label, score], ...].
        region: the part of the frame that a classifier saw, as JSON, [left, top, width, height].
        patch_xy: corners of the patch in the frame as JSON, [[x, y], ...], clockwise from the patch's own top left.
        light: the user's name for the light.
        step: number of the plan's step.
        delay_s: time from capture to result.
        object_xyxy: box of the sign that carries the patch, as JSON, [left, top, right, bottom].
        true_distance_m: the sheet's distance as a rig planned it, not as markers measure it; None for cameras.
        camera: exposure, gain, white balance and focus as JSON, {name: value}, as far as the driver tells, in its units.
    """

    frame: int
    time_s: float
    condition: str
    clip: int
    model: str
    top1: str
    top1_score: float
    target_score: float | None
    success: int | None
    distance_m: float | None
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    patch_px: float | None
    px_per_cell: float | None
    label: str | None = None
    heat_in_patch: float | None = None
    boxes: str | None = None
    top5: str | None = None
    region: str | None = None
    patch_xy: str | None = None
    light: str | None = None
    step: int | None = None
    delay_s: float | None = None
    object_xyxy: str | None = None
    true_distance_m: float | None = None
    camera: str | None = None

    @property
    def region_px(self) -> tuple[int, int, int, int] | None:
        """Return left, top, width and height of the region; None without one."""
        if self.region is None:
            return None
        left, top, width, height = json.loads(self.region)
        return left, top, width, height


COLUMNS = tuple(field.name for field in fields(FrameRow))


class SessionStore(AbstractContextManager["SessionStore"]):
    """Write ``session.db``; committed rows survive a crash of the process."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        """Create the database, or open the one of a session that goes on.

        Raises:
            InputError: if a new session's folder has one already, or if it cannot be written.
        """
        require_writable(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        try:
            if not resume:
                _create(path)
            self._connection = sqlite3.connect(path)
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except FileExistsError as error:
            raise refused_folder(path.parent) from error
        except sqlite3.OperationalError as error:
            raise InputError(f"{path} cannot be written ({error}); use another --out") from error

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def add(self, rows: Sequence[FrameRow], events: Iterable[Event] = ()) -> None:
        """Commit the rows of one frame and the events before it.

        Raises:
            PhyspatchError: if the database cannot be written, as on a full disk.
        """
        places = ", ".join(f":{name}" for name in COLUMNS)
        try:
            with self._connection:
                self._connection.executemany(f"INSERT INTO frames VALUES ({places})", [_storable(row) for row in rows])
                self._connection.executemany(
                    "INSERT INTO events (time_s, kind, words) VALUES (:time_s, :kind, :words)",
                    [_storable(event) for event in events],
                )
        except sqlite3.OperationalError as error:  # a full disk, above all
            raise PhyspatchError(
                f"{self._path} can no longer be written ({error}); earlier frames are kept. Free some space, or film into "
                "another --out"
            ) from error


def _create(path: Path) -> None:
    """Create an empty database, which appears in its folder as a whole.

    Raises:
        FileExistsError: if there is one already; of two sessions that begin at once, one is refused here.
    """
    temporary = temporary_name(path)
    try:
        with closing(sqlite3.connect(temporary)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute(f"CREATE TABLE frames ({', '.join(COLUMNS)}, PRIMARY KEY (frame, model)) WITHOUT ROWID")
            connection.execute("CREATE TABLE events (number INTEGER PRIMARY KEY, time_s, kind, words)")
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _storable(record: FrameRow | Event) -> dict[str, Any]:
    """Return the values of a row; text is cleaned, because sources and files give it too."""
    return {name: cleaned(value) if isinstance(value, str) else value for name, value in asdict(record).items()}


def read_rows(session: Path) -> list[FrameRow]:
    """Read all rows of a session folder, in order of frames.

    Raises:
        InputError: if there is no session, or its database is damaged or of a newer version.
    """
    values = _read(session, "frames", COLUMNS, "frame, model")
    _refuse(trouble_in_rows(values, COLUMNS), session)
    return [FrameRow(*row) for row in values]


def read_schema(session: Path) -> int:
    """Return the version of a session's database; raise as :func:`read_rows` does."""
    with _opened(session) as connection:
        return _schema(connection, session / SESSION_DATABASE)


def read_events(session: Path) -> list[Event]:
    """Read the events of a session, in order; raise as :func:`read_rows` does."""
    values = _read(session, "events", ("time_s", "kind", "words"), "number")
    _refuse(trouble_in_events(values), session)
    return [Event(*row) for row in values]


def _refuse(trouble: str, session: Path) -> None:
    if trouble:
        raise _damaged(session / SESSION_DATABASE, trouble)


def _read(session: Path, table: str, columns: Sequence[str], order: str) -> list[tuple]:
    with _opened(session) as connection:
        _schema(connection, session / SESSION_DATABASE)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "frames" not in tables:
            raise InputError(
                f"{session / SESSION_DATABASE} is empty: the session was ended before it began, or the disk was full; restore "
                "it from a backup, or film again"
            )
        if table not in tables:  # it was added by a later schema
            return []
        existing = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
        selected = ", ".join(name if name in existing else f"NULL AS {name}" for name in columns)
        return connection.execute(f"SELECT {selected} FROM {table} ORDER BY {order}").fetchall()


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise InputError(f"{path} was written by a newer physpatch (schema {version}); update physpatch")
    return version


@contextmanager
def _opened(session: Path) -> Iterator[sqlite3.Connection]:
    """Open a session's database to read it, with errors in words."""
    path = session / SESSION_DATABASE
    if not path.is_file():
        raise InputError(f"{session} is not a session: it has no session.db")
    try:
        with _open_to_read(path) as connection:
            yield connection
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter where SQLite quotes damaged text
        raise _damaged(path, error) from error


def _damaged(path: Path, why: object) -> InputError:
    return InputError(
        f"{path} is damaged ({why}); restore it from a backup, or save what is left with `sqlite3 session.db .recover`"
    )


@contextmanager
def _open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database without writing, on a read-only disk too.

    For a database in WAL mode, SQLite makes files beside it, unless it is told that nothing changes it. With commits in the
    log, of a session that runs or was killed, the log has to be read; where SQLite cannot make its files, it reads a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    with ExitStack() as stack:
        if not log.is_file() or log.stat().st_size == 0:
            yield stack.enter_context(_connected(path, "mode=ro&immutable=1"))
            return
        try:
            connection = stack.enter_context(_connected(path, "mode=ro"))
            connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="physpatch-")))
            shutil.copy(log, folder)
            connection = stack.enter_context(_connected(Path(shutil.copy(path, folder)), "mode=rw"))
        yield connection


def _connected(path: Path, options: str) -> "closing[sqlite3.Connection]":
    return closing(sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True))


def refused_folder(folder: Path) -> InputError:
    """Build the error for a folder that already has a session."""
    return InputError(f"{folder} already contains a session; use another --out")


def export_parquet(session: Path) -> Path:
    """Write ``frames.parquet`` from the database, with the typed columns of ``frames.csv``; return its path."""
    import polars

    rows = read_rows(session)
    kinds = {field.name: _kind(field) for field in fields(FrameRow)}
    schema = {
        name: {int: polars.Int64, float: polars.Float64, str: polars.String}[kind] for name, kind in kinds.items()
    }
    table = polars.DataFrame([astuple(row) for row in rows], schema=schema, orient="row", strict=False)
    path, packed = session / "frames.parquet", io.BytesIO()
    table.write_parquet(packed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getbuffer())
    return path


def _kind(column: "Field[Any]") -> type:
    """Return the type of a column, without None."""
    named = column.type if isinstance(column.type, type) else get_args(column.type)[0]
    return named if isinstance(named, type) else str


def read_exported_rows(session: Path) -> list[FrameRow]:
    """Read the rows back from ``frames.csv``, for a session whose database is damaged; none if that file is not whole."""
    kinds = {field.name: _kind(field) for field in fields(FrameRow)}
    required = {field.name for field in fields(FrameRow) if NoneType not in get_args(field.type)}  # "" is no None there
    try:
        with open(session / "frames.csv", newline="", encoding="utf-8") as stream:
            values: Iterator[list[Any]] = (
                [kind(row[name]) if row[name] or name in required else None for name, kind in kinds.items()]
                for row in csv.DictReader(stream)
            )
            rows = [FrameRow(*row) for row in values]
        return [] if trouble_in_rows([astuple(row) for row in rows], COLUMNS) else rows
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return []


def export_csv(session: Path) -> Path:
    """Write ``frames.csv`` from the database; return its path."""
    path = session / "frames.csv"
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in read_rows(session))
    return path
