"""What ultralytics writes into the files that it exports: class names, side of the input, images at once, task."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from calibration.common.errors import InputError
from physpatch.victims.labels import names_in
from physpatch.victims.preprocessing import Task

_LONGEST = 2**20  # characters of one note


@dataclass(frozen=True)
class ExportNotes:
    """The notes in a file; empty for a file of another program.

    Attributes:
        categories: names of the classes; empty where they are not noted.
        size: side of the input, in pixels; None for any, or where it is not noted.
        usual_size: side of the input of a network that takes any; None where it is not noted.
        batch: the images at once that the network was exported for; None for any, or where it is not noted.
        plain: whether a classifier takes RGB in [0, 1] as it is, as ultralytics' own do.
    """

    categories: tuple[str, ...] = ()
    size: int | None = None
    usual_size: int | None = None
    batch: int | None = None
    plain: bool = False

    @classmethod
    def of(cls, noted: Mapping[str, Any], file: Path) -> "ExportNotes":
        """Read the notes: values, or texts of them.

        Raises:
            InputError: the network is there for another task than classes or boxes, or for images that are not square.
        """
        task, names, side, batch, settings = (_value(noted.get(k)) for k in ("task", "names", "imgsz", "batch", "args"))
        if isinstance(names, Mapping) and task is None and "stride" in noted:
            return cls(names_in(names, file))  # YOLOv5's own exporter notes no more
        if not isinstance(names, Mapping) or not isinstance(task, str):
            return cls()
        if task not in get_args(Task):
            raise InputError(f"{file} is there to {task}; expected a model that classifies, or one that detects boxes")
        sides = side if isinstance(side, list) else [side]
        if len(set(sides)) != 1:
            raise InputError(f"{file} takes images of {sides} pixels; expected square ones, such as imgsz=640 exports")
        dynamic = isinstance(settings, Mapping) and settings.get("dynamic") is True
        size = {"usual_size" if dynamic else "size": _count(sides[0])}
        return cls(names_in(names, file), **size, batch=None if dynamic else _count(batch), plain=True)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _value(noted: Any) -> Any:
    """Read a note that may be the text of a value, as Python writes it."""
    if not isinstance(noted, str) or len(noted) > _LONGEST:
        return noted
    try:
        return ast.literal_eval(noted)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return noted
