"""A session on disk: SQLite in WAL mode, a row a frame and model as it happens."""

import csv
import sqlite3
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from calibration.errors import InputError, PhyspatchError
from calibration.files import atomic_path

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FrameRow:
    """What one model made of one frame. The columns of ``frames.csv``, in this order; None is an empty field.

    ``success`` is 1 or 0, or None where it cannot be said (an untargeted patch before an unknown object).
    ``boxes`` is a detector's output as JSON: [[label, score, left, top, right, bottom], ...] in pixels.
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

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def add(self, rows: list[FrameRow]) -> None:
        """Commit the rows of one frame."""
        places = ", ".join(f":{name}" for name in COLUMNS)
        try:
            with self._connection:
                self._connection.executemany(f"INSERT INTO frames VALUES ({places})", [asdict(row) for row in rows])
        except sqlite3.OperationalError as error:  # a full disk, above all
            raise PhyspatchError(
                f"the session cannot be written any further ({error}); the frames before are kept"
            ) from error


def read_rows(session: Path) -> list[FrameRow]:
    """All rows of a session folder, by frame.

    Raises:
        InputError: no session there, a damaged database, or one of a newer version.
    """
    path = session / "session.db"
    if not path.is_file():
        raise InputError(f"{session} is no session: it has no session.db")
    try:
        with closing(sqlite3.connect(path)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise InputError(f"{path} was written by a newer physpatch (schema {version}); update this one")
            rows = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM frames ORDER BY frame, model").fetchall()
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return [FrameRow(*row) for row in rows]


def export_csv(session: Path) -> Path:
    """Write ``frames.csv`` from the database."""
    path = session / "frames.csv"
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(row) for row in read_rows(session))
    return path
