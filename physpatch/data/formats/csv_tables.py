"""CSV files that list photographs, also with semicolons or tabs in place of commas."""

import csv
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.errors import InputError
from physpatch.data.formats.base import DataFormat, Item
from physpatch.data.formats.tables import check_bytes, items_of_rows

_STANDARD = "labels.csv"
_MOST_IN_FIRST_LINE = 2**16
_SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t"  # of spreadsheets: the second where commas are decimal points


class CsvTable(DataFormat):
    """A table of photographs with a line each: ``FILE.csv`` or ``.tsv``, or a folder with ``labels.csv``."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "FILE.csv or FILE.tsv, or a folder with labels.csv; --columns names its columns"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept the table itself, and a folder with a table of the standard name."""
        return (source.suffix.lower() in _SUFFIXES and source.is_file()) or (source / _STANDARD).is_file()

    def items(self) -> list[Item]:
        """List the photographs by line."""
        file = self.source / _STANDARD if self.source.is_dir() else self.source
        return items_of_rows(csv_rows(file), file, self.columns, anywhere=True)


def csv_rows(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a CSV file whose first one names the columns, between commas, semicolons or tabs.

    Raises:
        InputError: it is not text, too large or has far too many columns.
    """
    check_bytes(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:  # spreadsheets put a byte order mark first
            first = stream.readline(_MOST_IN_FIRST_LINE)
            if len(first) == _MOST_IN_FIRST_LINE:
                raise InputError(f"{file} has too long a first line; expected the names of its columns")
            stream.seek(0)
            return list(csv.DictReader(stream, delimiter=_delimiter(first)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is not a CSV file in UTF-8 ({error})") from error


def _delimiter(first_line: str) -> str:
    """Tell what stands between the names of columns: what splits the line into the most, outside of quotes."""
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([first_line], delimiter=delimiter), [])))
