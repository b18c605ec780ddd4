"""Folders that ``Dataset.save_to_disk`` of Hugging Face's ``datasets`` writes: Arrow files and JSON about them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.errors import InputError
from calibration.common.files import read_json
from physpatch.data.formats.arrow_rows import ArrowColumns, damaged, pyarrow_module
from physpatch.data.formats.base import DataFormat, Item, Label, member, say_splits
from physpatch.data.formats.tables import in_clips

_STATE, _SPLITS, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"


class SavedDataset(DataFormat):
    """A ``Dataset`` on disk, or a ``DatasetDict`` with one in a sub-folder for each split."""

    name: ClassVar[str] = "saved-dataset"
    summary: ClassVar[str] = "what Hugging Face's Dataset.save_to_disk wrote (extra parquet)"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept a folder with the JSON of either."""
        return (source / _STATE).is_file() or (source / _SPLITS).is_file()

    def items(self) -> list[Item]:
        """List the photographs of all splits."""
        self._classes: dict[Label, None] = {}
        parts = [self.source] if (self.source / _STATE).is_file() else self._splits()
        say_splits(self.source, [part.name for part in parts])
        return in_clips(pair for part in parts for pair in self._rows(part))

    def classes(self) -> tuple[Label, ...]:
        """List the classes that the data set names."""
        return tuple(self._classes)

    def _splits(self) -> list[Path]:
        names = _entry(self.source / _SPLITS, "splits")
        return [member(self.source, str(name), self.source / _SPLITS) for name in names]

    def _rows(self, folder: Path) -> Iterator[tuple[Item, Any]]:
        pyarrow, ipc = pyarrow_module("lib"), pyarrow_module("ipc")
        info = read_json(folder / _INFO) if (folder / _INFO).is_file() else {}
        features = info.get("features") if isinstance(info, dict) else None
        for entry in _entry(folder / _STATE, "_data_files"):
            file = member(folder, str(entry.get("filename")) if isinstance(entry, dict) else "", folder / _STATE)
            try:
                with pyarrow.memory_map(str(file)) as mapped, ipc.open_stream(mapped) as stream:
                    columns = ArrowColumns(
                        stream.schema, file, self.columns, features if isinstance(features, Mapping) else None
                    )
                    self._classes |= dict.fromkeys(columns.classes)
                    yield from columns.items(batch.select(columns.names) for batch in stream)
            except (pyarrow.ArrowException, OSError, ValueError) as error:
                raise damaged(file, error) from error


def _entry(file: Path, key: str) -> list[Any]:
    """Read a list in a JSON file of ``datasets``."""
    content = read_json(file, "save the data set again")
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list) or not value:
        raise InputError(f"{file} has no {key}; save the data set again")
    return value
