"""A session on disk: SQLite in WAL mode, a row a frame and model as it happens.

Schema 3, in ``PRAGMA user_version``:

``frames``: a row a frame and model, the columns of :class:`FrameRow`; the primary key is (frame, model).
``events``: what happened besides, a row each: ``number`` (in order), ``time_s``, ``kind``, ``words``. The kinds are
``lost`` and ``back`` (the camera: between them is a gap), ``refused`` (a setting), ``step`` (asked for) and ``done`` (a
step of the protocol), and what people asked: ``mark``, ``pause``, ``resume``, ``region`` and the other commands of
:data:`captures.viewers.controls.COMMANDS`.

Schema 1 had neither events nor the columns from ``top5`` on, schema 2 no ``object_xyxy``; they are read with these empty.
"""

import csv
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import Field, asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import atomic_path
from captures.sources.frame import Event

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class FrameRow:
    """What one model made of one frame. The columns of ``frames.csv``, in this order; None is an empty field.

    ``frame`` is the number that the source gave it: missing numbers were dropped. ``success`` is 1 or 0, or None where it
    cannot be said (an untargeted patch before an unknown object). As JSON: ``boxes`` is a detector's output, [[label, score,
    left, top, right, bottom], ...] in pixels; ``top5`` a classifier's, [[label, score], ...]; ``region`` the part of the frame
    that it saw, [left, top, width, height]; ``patch_xy`` the patch's corners in the frame, [[x, y], ...] clockwise from its own
    top left, which is its mask; ``object_xyxy`` the box of the sign that carries it, [left, top, right,
    bottom]. ``step`` is the protocol's; ``delay_s`` from capture to answer.
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


COLUMNS = tuple(field.name for field in fields(FrameRow))


class SessionStore(AbstractContextManager["SessionStore"]):
    """Writes ``session.db``; what is committed survives a kill."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path)
            self._connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            raise InputError(f"{path} cannot be written ({error}); give another --out") from error
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self._connection:
            self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            self._connection.execute(
                f"CREATE TABLE frames ({', '.join(COLUMNS)}, PRIMARY KEY (frame, model)) WITHOUT ROWID"
            )
            self._connection.execute("CREATE TABLE events (number INTEGER PRIMARY KEY, time_s, kind, words)")

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def add(self, rows: Sequence[FrameRow], events: Iterable[Event] = ()) -> None:
        """Commit the rows of one frame and the events before it."""
        places = ", ".join(f":{name}" for name in COLUMNS)
        try:
            with self._connection:
                self._connection.executemany(f"INSERT INTO frames VALUES ({places})", [asdict(row) for row in rows])
                self._connection.executemany(
                    "INSERT INTO events (time_s, kind, words) VALUES (:time_s, :kind, :words)",
                    [asdict(event) for event in events],
                )
        except sqlite3.OperationalError as error:  # a full disk, above all
            raise PhyspatchError(
                f"the session cannot be written any further ({error}); the frames before are kept"
            ) from error


def read_rows(session: Path) -> list[FrameRow]:
    """All rows of a session folder, by frame.

    Raises:
        InputError: no session there, a damaged database, or one of a newer version.
    """
    return [FrameRow(*row) for row in _read(session, "frames", COLUMNS, "frame, model")]


def read_events(session: Path) -> list[Event]:
    """What happened in a session besides its frames, in order; the errors of :func:`read_rows`."""
    return [Event(*row) for row in _read(session, "events", ("time_s", "kind", "words"), "number")]


def _read(session: Path, table: str, columns: Sequence[str], order: str) -> list[tuple]:
    path = session / "session.db"
    if not path.is_file():
        raise InputError(f"{session} is no session: it has no session.db")
    try:
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise InputError(f"{path} was written by a newer physpatch (schema {version}); update this one")
            there = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
            if not there:  # a table that came with a later schema
                return []
            asked = ", ".join(name if name in there else f"NULL AS {name}" for name in columns)
            return connection.execute(f"SELECT {asked} FROM {table} ORDER BY {order}").fetchall()
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is damaged: {error}") from error


def export_parquet(session: Path) -> Path:
    """Write ``frames.parquet`` from the database: the columns of ``frames.csv``, typed, for pandas and polars."""
    import polars

    rows = read_rows(session)
    kinds = {field.name: _kind(field) for field in fields(FrameRow)}
    schema = {
        name: {int: polars.Int64, float: polars.Float64, str: polars.String}[kind] for name, kind in kinds.items()
    }
    table = polars.DataFrame([astuple(row) for row in rows], schema=schema, orient="row", strict=False)
    path = session / "frames.parquet"
    with atomic_path(path) as temporary:
        table.write_parquet(temporary)
    return path


def _kind(column: "Field[Any]") -> type:
    """The type of a column, None left out."""
    named = column.type if isinstance(column.type, type) else get_args(column.type)[0]
    return named if isinstance(named, type) else str


def export_csv(session: Path) -> Path:
    """Write ``frames.csv`` from the database."""
    path = session / "frames.csv"
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in read_rows(session))
    return path
