"""Photographs from the rows of tables that name their files."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibration.common.console import say
from calibration.common.errors import InputError
from physpatch.data.annotations import Annotation
from physpatch.data.formats.base import Item, Label, is_inside, member
from physpatch.data.formats.object_columns import annotations_of
from physpatch.records.data_columns import Columns, listed

MOST_BYTES = 2**28  # of a table or JSON file, which is read as a whole
_INDEX = "class_index"  # the column that holds nothing but indices


def check_bytes(file: Path) -> None:
    """Check that a file can be read as a whole.

    Raises:
        InputError: it is too large, or cannot be read.
    """
    try:
        size = file.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    if size > MOST_BYTES:
        raise InputError(f"{file} is larger than {MOST_BYTES // 2**20} MiB; split it")


def items_of_rows(
    rows: Sequence[Mapping[str, Any]], table: Path, columns: Columns, *, anywhere: bool = False, first_line: int = 2
) -> list[Item]:
    """Make photographs of a table's rows, whose files lie in the table's folder or in the one that ``columns`` names.

    With ``anywhere``, for tables that people write by hand, files elsewhere are taken, too, and it is said. ``first_line`` is
    the line of the first row, for messages.

    Raises:
        InputError: no rows, a column that is missing, or a name, label or objects that cannot be.
    """
    present = [str(name) for name in rows[0]] if rows else []
    file = columns.require("file", present, table)
    label, clip, objects = (columns.find(kind, present, table) for kind in ("label", "clip", "objects"))
    if label is None and objects is None:
        say_unlabelled(table, present)
    folder = columns.folder or table.parent
    used = Columns(file, label, clip, objects, folder)
    if anywhere:
        outside = [name for row in rows if (name := row.get(file)) and not is_inside(folder, str(name), table)]
        if outside:
            say(f"{table} names {len(outside)} photographs outside of {folder}, such as {outside[0][:80]}")
    return in_clips(
        _item(row, used, table, f"{table} line {line}", anywhere) for line, row in enumerate(rows, start=first_line)
    )


def say_unlabelled(table: Path, present: Sequence[str]) -> None:
    """Say that a table has no labels, and which columns it has."""
    say(f"{table} has no column of labels, so its photographs are unlabelled; it has {listed(present)}")


def _item(row: Mapping[str, Any], used: Columns, table: Path, where: str, anywhere: bool) -> tuple[Item, Any]:
    """Make a photograph of a row; also return its clip."""
    name = row.get(str(used.file))
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: the column {used.file} is empty")
    folder = used.folder or table.parent
    path = folder / name if anywhere else member(folder, name, table)
    label: Label | None = None
    objects: tuple[Annotation, ...] = ()
    if used.label is not None:
        label = checked_label(row.get(used.label), f"{where}: {used.label}", index=used.label == _INDEX)
    if used.objects is not None:
        objects = annotations_of(row.get(used.objects), (), path, f"{where}: {used.objects}")
    return Item(path, label, objects=objects), None if used.clip is None else row.get(used.clip)


def checked_label(value: Any, where: str, *, index: bool = False) -> Label | None:
    """Return a class as a table has it; an empty one is none, unless the column holds indices.

    Raises:
        InputError: it is something else than text and whole numbers; the message begins with ``where``.
    """
    if index:
        try:
            return int(value)
        except (TypeError, ValueError):
            raise InputError(f"{where} {value!r:.60} is not a number") from None
    if value is None or value == "":
        return None
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise InputError(f"{where} {value!r:.60} is neither a name nor an index")
    return value


def in_clips(items: Iterable[tuple[Item, Any]]) -> list[Item]:
    """Give photographs with equal second values the first of them as their clip; None and "" are no clip."""
    first: dict[Hashable, Path] = {}
    return [
        item if clip in (None, "") else replace(item, clip=first.setdefault(str(clip), item.path))
        for item, clip in items
    ]
