"""CSV files that list photographs."""

import csv
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.errors import InputError
from physpatch.data.formats.base import DataFormat, Item
from physpatch.data.formats.tables import check_bytes, items_of_rows

_STANDARD = "labels.csv"
_MOST_IN_FIRST_LINE = 2**16


class CsvTable(DataFormat):
    """A table of photographs with a line each: ``FILE.csv``, or a folder with ``labels.csv``."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "FILE.csv, or a folder with labels.csv; --columns names its columns"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept the table itself, and a folder with a table of the standard name."""
        return (source.suffix.lower() == ".csv" and source.is_file()) or (source / _STANDARD).is_file()

    def items(self) -> list[Item]:
        """List the photographs by line."""
        file = self.source / _STANDARD if self.source.is_dir() else self.source
        return items_of_rows(csv_rows(file), file, self.columns, anywhere=True)


def csv_rows(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a CSV file whose first one names the columns.

    Raises:
        InputError: it is not text, too large or has far too many columns.
    """
    check_bytes(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:  # spreadsheets put a byte order mark first
            if len(stream.readline(_MOST_IN_FIRST_LINE)) == _MOST_IN_FIRST_LINE:
                raise InputError(f"{file} has too long a first line; expected the names of its columns")
            stream.seek(0)
            return list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is not a CSV file in UTF-8 ({error})") from error
