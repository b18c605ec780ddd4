"""Parquet files, with pictures in a column ``image``, as data sets on the Hugging Face Hub have them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from physpatch.data.formats.arrow_rows import ROWS_AT_ONCE, ArrowColumns, damaged, pyarrow_module
from physpatch.data.formats.base import DataFormat, Item, Label, say_splits
from physpatch.data.formats.tables import in_clips

_MOST_ENTRIES = 100_000  # columns or row groups that a file may declare


class Parquet(DataFormat):
    """A Parquet file, or a folder of them, also one folder deeper."""

    name: ClassVar[str] = "parquet"
    summary: ClassVar[str] = "FILE.parquet or a folder of them, with the pictures in a column (extra parquet)"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept such files, and folders of them."""
        return bool(_files(source))

    def items(self) -> list[Item]:
        """List the photographs of all files."""
        files = _files(self.source)
        say_splits(self.source, [file.name.partition("-")[0] for file in files if "-of-" in file.name])
        self._classes: dict[Label, None] = {}
        return in_clips(pair for file in files for pair in self._rows(file))

    def classes(self) -> tuple[Label, ...]:
        """List the classes that the files name."""
        return tuple(self._classes)

    def _rows(self, file: Path) -> Iterator[tuple[Item, Any]]:
        pyarrow, parquet = pyarrow_module("lib"), pyarrow_module("parquet")
        try:
            with parquet.ParquetFile(
                file, thrift_container_size_limit=_MOST_ENTRIES, arrow_extensions_enabled=False
            ) as table:
                columns = ArrowColumns(table.schema_arrow, file, self.columns)
                self._classes |= dict.fromkeys(columns.classes)
                yield from columns.items(table.iter_batches(ROWS_AT_ONCE, columns=columns.names, use_threads=False))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise damaged(file, error) from error


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(
            file for pattern in ("*.parquet", "*/*.parquet") for file in source.glob(pattern) if file.is_file()
        )
    return [source] if source.suffix.lower() == ".parquet" and source.is_file() else []
