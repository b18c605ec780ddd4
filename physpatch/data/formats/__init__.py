"""Formats of data sets: one per module here, or a class behind an entry point ``physpatch.data_formats``."""

from pathlib import Path

from calibration.common.errors import InputError
from calibration.common.registry import Registry
from physpatch.data.formats.base import DataFormat, Item, Label
from physpatch.records.data_columns import Columns

FORMATS = Registry("data format", DataFormat, __name__, "physpatch.data_formats")

__all__ = ["FORMATS", "DataFormat", "Item", "Label", "open_data_set"]


def open_data_set(source: Path, columns: Columns) -> DataFormat:
    """Find the format of a folder or file, and prepare to list it.

    Raises:
        InputError: no format recognises it, or columns are named for one that has none.
    """
    for kind in sorted(FORMATS.values(), key=lambda kind: kind.fallback):
        if kind.recognises(source):
            if columns != Columns() and not kind.has_columns:
                raise InputError(f"{source} has no table whose columns could be named; leave out --columns")
            return kind(source, columns)
    raise InputError(
        f"{source} is no data set that can be read; expected a folder of photographs, a .csv or a .parquet file"
    )
