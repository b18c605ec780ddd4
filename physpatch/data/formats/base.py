"""The interface of formats of data sets."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from calibration.common.console import say
from calibration.common.errors import InputError
from physpatch.data.annotations import Annotation
from physpatch.records.data_columns import Columns

Label = str | int
"""A class as a data set gives it: a name, a WordNet id or an index."""


@dataclass(frozen=True)
class Item:
    """One photograph of a data set.

    Attributes:
        path: its file.
        label: its class; None if it has none.
        clip: a file that stands for the clip that it is a frame of, with others: the video, or the first photograph of it.
        objects: its labelled objects.
    """

    path: Path
    label: Label | None = None
    clip: Path | None = None
    objects: tuple[Annotation, ...] = ()


class DataFormat(ABC):
    """A format of data sets lists a folder's or a file's photographs. It is created for one data set.

    Attributes:
        name: of the format.
        summary: what it is, in one line.
        has_columns: whether ``--columns`` means something to it.
        in_order: whether as many classes as the model has, none of which is known by name, are the model's in order.
        fallback: whether it is tried after all others.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    has_columns: ClassVar[bool] = True
    in_order: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    def __init__(self, source: Path, columns: Columns) -> None:
        """Prepare to list ``source``, with the columns that the user named."""
        self.source, self.columns = source, columns

    @classmethod
    @abstractmethod
    def recognises(cls, source: Path) -> bool:
        """Tell by the names of files whether a folder or file has this format."""

    @abstractmethod
    def items(self) -> list[Item]:
        """List the photographs in a fixed order.

        Raises:
            InputError: a file is damaged, hostile or lacks something.
            UnavailableError: a package is not installed.
        """

    def classes(self) -> tuple[Label, ...]:
        """List classes that the data set declares, which may have no photographs."""
        return ()


def member(folder: Path, name: str, where: Path) -> Path:
    """Return the file of a photograph that a table names, which must lie in a folder, also after links are followed.

    Args:
        folder: that the name starts from.
        name: as the table has it; it may be an absolute path.
        where: the table, for messages.

    Raises:
        InputError: it leads out of the folder, or is no name of a file.
    """
    if not name or not is_inside(folder, name, where):
        raise InputError(
            f"{where}: {name[:60]!r} is not in {folder}; if that is meant, give the folder that holds it with --columns "
            "folder=DIR"
        )
    return folder / name


def is_inside(folder: Path, name: str, where: Path) -> bool:
    """Tell whether a file that a table names lies in a folder, also after links are followed; see :func:`member`.

    Raises:
        InputError: it is no name of a file.
    """
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except (ValueError, OSError, RuntimeError) as error:  # a null character, too long, a loop of links
        raise InputError(f"{where}: {name[:60]!r} is no name of a file ({error})") from error


def say_splits(source: Path, names: Sequence[str]) -> None:
    """Say that several splits are read together, since physpatch makes its own split by content."""
    different = list(dict.fromkeys(names))
    if len(different) > 1:
        say(f"{source}: {', '.join(different[:8])} are read together; give one of them to --data to use it alone")
