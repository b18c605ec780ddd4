"""Pictures in Arrow tables, as Hugging Face's ``datasets`` writes them. Only pyarrow reads them, so no one's code runs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError, first_line
from calibration.common.extras import import_extra
from physpatch.data.formats.base import Item, Label, member
from physpatch.data.formats.object_columns import annotations_of, class_names
from physpatch.data.formats.tables import checked_label, say_unlabelled
from physpatch.data.formats.unpacking import unpacked
from physpatch.records.data_columns import Columns

ROWS_AT_ONCE = 64


def pyarrow_module(name: str) -> Any:
    """Import a module of pyarrow.

    Raises:
        UnavailableError: it is not installed; the message names the extra.
    """
    return import_extra(f"pyarrow.{name}", "parquet", "this data set")


def damaged(file: Path, error: Exception) -> InputError:
    """Build the error for a file that pyarrow cannot read."""
    return InputError(f"{file} is damaged or cut off ({first_line(error, 100)}); get it again")


class ArrowColumns:
    """The columns of one table: which holds pictures, which their classes, and what the numbers of classes mean."""

    def __init__(self, schema: Any, file: Path, columns: Columns, features: Mapping[str, Any] | None = None) -> None:
        """Find the columns.

        Args:
            schema: the table's pyarrow schema.
            file: the table, for messages.
            columns: those that the user named.
            features: of ``datasets``, by column; None for those in the schema's metadata.

        Raises:
            InputError: no column of pictures, or one that the user named is missing.
        """
        present, self.file, self._folder = list(schema.names), file, columns.folder or file.parent
        self.picture = columns.require("file", present, file)
        self.label, self.clip, self.objects = (
            columns.find(kind, present, file) for kind in ("label", "clip", "objects")
        )
        if self.label is None and self.objects is None:
            say_unlabelled(file, present)
        column_features = features if features is not None else _features(schema.metadata or {})
        self.classes = class_names(column_features.get(self.label or ""))
        self._object_names = class_names(column_features.get(self.objects or ""))

    @property
    def names(self) -> list[str]:
        """List the columns to read."""
        return list(
            dict.fromkeys(name for name in (self.picture, self.label, self.clip, self.objects) if name is not None)
        )

    def items(self, batches: Iterable[Any]) -> Iterator[tuple[Item, Any]]:
        """Yield the photographs of record batches, unpacked, each with its clip.

        Raises:
            InputError: a row without a picture, or with a class that cannot be.
        """
        number = 0
        for batch in batches:
            batch.validate(full=True)  # offsets of a stranger may lead anywhere
            for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                for row in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                    number += 1
                    yield self._item(row, f"{self.file} row {number}"), None if self.clip is None else row[self.clip]

    def _item(self, row: Mapping[str, Any], where: str) -> Item:
        value = row[self.picture]
        data, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, value)
        if isinstance(data, bytes):
            path = unpacked(data, where)
        elif isinstance(name, str):
            path = member(self._folder, name, self.file)
        else:
            raise InputError(
                f"{where}: {self.picture} holds no picture; name the right column with --columns file=NAME"
            )
        label = None if self.label is None else self._class(row[self.label], f"{where}: {self.label}")
        if self.objects is None:
            return Item(path, label)
        objects = annotations_of(row[self.objects], self._object_names, path, f"{where}: {self.objects}")
        return Item(path, label, objects=objects)

    def _class(self, value: Any, where: str) -> Label | None:
        """Return a class by its name, where the number has one; -1 is no class."""
        label = checked_label(value, where)
        if not isinstance(label, int) or not self.classes:
            return label
        if label >= len(self.classes):
            raise InputError(f"{where} {label} out of range; it names {len(self.classes)} classes")
        return self.classes[label] if label >= 0 else None


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Read the features of ``datasets`` in a schema's metadata; empty where there are none."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}
