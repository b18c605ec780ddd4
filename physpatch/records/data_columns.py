"""The columns of a table of photographs, as ``--columns file=NAME,label=NAME`` names them. The module does not import torch."""

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

from calibration.common.errors import InputError, unknown_name

_USUAL = {  # names that tables have, the first of which is taken
    "file": ("file", "file_name", "filename", "filepath", "file_path", "path", "image", "image_path", "img", "picture"),
    "label": ("class_index", "label", "labels", "class", "class_name", "category", "target"),
    "clip": ("clip",),
    "objects": ("objects",),
}
_MOST_COLUMNS = 1000
_MOST_SHOWN = 8


@dataclass(frozen=True)
class Columns:
    """Names of columns; None where the usual names are looked for.

    Attributes:
        file: of the photographs' paths, or of the pictures themselves.
        label: of their classes, by name, WordNet id or index.
        clip: of the clips that photographs are from: those of one clip are on the same side of the split.
        objects: of the labelled objects, with boxes.
        folder: not a column, but the folder that the paths start from; None for that of the table.
    """

    file: str | None = None
    label: str | None = None
    clip: str | None = None
    objects: str | None = None
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str | None) -> "Columns":
        """Parse ``file=NAME,label=NAME,clip=NAME,objects=NAME,folder=DIR``, each of which may be left out.

        A name with commas is quoted as in a CSV file: ``"file=what, where",label=NAME``.

        Raises:
            InputError: another key, or no name.
        """
        keys = [field.name for field in fields(cls)]
        names: dict[str, str] = {}
        for part in _parts(text) if text is not None else ():
            key, _, name = (word.strip() for word in part.partition("="))
            if key not in keys:
                raise unknown_name("kind of column", key, keys)
            if not name or key in names:
                raise InputError(f"--columns {text!r} is not understood; expected file=NAME,label=NAME, each once")
            names[key] = name
        folder = names.pop("folder", None)
        return cls(**names, folder=None if folder is None else Path(folder))

    @staticmethod
    def absolute(text: str | None) -> str | None:
        """Make the folder in a text for :meth:`parse` absolute, so that it is found from elsewhere."""
        if text is None:
            return None
        stream = io.StringIO()
        csv.writer(stream, lineterminator="").writerow(
            f"{key}={Path(name.strip()).resolve()}" if key.strip() == "folder" else f"{key}={name}"
            for key, _, name in (part.partition("=") for part in _parts(text))
        )
        return stream.getvalue()

    def find(self, kind: str, present: Collection[str], where: Path) -> str | None:
        """Find the column of a kind in a table; None if there is none of a usual name, and none was asked for.

        Raises:
            InputError: the table has not the column that was asked for, or too many columns.
        """
        if len(present) > _MOST_COLUMNS:
            raise InputError(f"{where} has {len(present)} columns; expected at most {_MOST_COLUMNS}")
        column: str | None = getattr(self, kind)
        if column is not None and column not in present:
            raise InputError(f"{where} has no column {column!r}; it has {listed(present)}")
        return column or next((name for name in _USUAL[kind] if name in present), None)

    def require(self, kind: str, present: Collection[str], where: Path) -> str:
        """Find a column like :meth:`find`; it must be there.

        Raises:
            InputError: it is not; the message says how to name it.
        """
        column = self.find(kind, present, where)
        if column is None:
            raise InputError(
                f"{where} needs the columns file and label, or name its own with --columns {kind}=NAME,…; it has "
                f"{listed(present)}"
            )
        return column


def _parts(text: str) -> list[str]:
    """Split at commas, outside of quotes."""
    return next(csv.reader([text], skipinitialspace=True), []) or [""]


def listed(names: Collection[object]) -> str:
    """List names for a message, shortened; the word none if there are none."""
    text = ", ".join(str(name)[:40] for name in list(names)[:_MOST_SHOWN])
    return (text or "none") + (" …" if len(names) > _MOST_SHOWN else "")
