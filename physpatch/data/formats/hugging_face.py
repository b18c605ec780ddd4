"""Folders of Hugging Face's ``imagefolder``, whose classes stand in ``metadata.csv`` or ``metadata.jsonl``."""

import json
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.errors import InputError
from physpatch.data.formats.base import DataFormat, Item, say_splits
from physpatch.data.formats.csv_tables import csv_rows
from physpatch.data.formats.tables import check_bytes, items_of_rows

_NAMES = ("metadata.csv", "metadata.jsonl")


class ImageFolderWithMetadata(DataFormat):
    """Pictures beside a table that names them in ``file_name``, also with a table in each split's sub-folder."""

    name: ClassVar[str] = "imagefolder"
    summary: ClassVar[str] = "Hugging Face's imagefolder with metadata.csv or metadata.jsonl, also of objects"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept a folder with such a table, or with sub-folders that have one."""
        return source.is_dir() and bool(_tables(source))

    def items(self) -> list[Item]:
        """List the photographs of all tables."""
        tables = _tables(self.source)
        say_splits(self.source, [table.parent.name for table in tables])
        items: list[Item] = []
        for table in tables:
            if table.suffix == ".csv":
                items += items_of_rows(csv_rows(table), table, self.columns)
            else:
                items += items_of_rows(_json_lines(table), table, self.columns, first_line=1)
        return items


def _tables(folder: Path) -> list[Path]:
    beside = [folder / name for name in _NAMES if (folder / name).is_file()]
    return beside[:1] or sorted(file for name in _NAMES for file in folder.glob(f"*/{name}"))


def _json_lines(file: Path) -> list[dict[str, Any]]:
    check_bytes(file)
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (ValueError, RecursionError):
        rows = [None]
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{file} is not JSON Lines; expected an object in each line")
    return rows
