"""Labelled objects in a column of Hugging Face's tables."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError
from calibration.common.pictures import picture_size
from physpatch.data.annotations import Annotation, Box
from physpatch.data.formats.base import Label

_BOXES = ("bbox", "bboxes", "boxes", "box")
_CLASSES = ("category", "categories", "label", "labels", "class", "name", "category_id", "class_id")


def annotations_of(value: Any, names: Sequence[str], picture: Path, where: str) -> tuple[Annotation, ...]:
    """Read a picture's objects, as the library ``datasets`` writes them for the task object detection.

    Args:
        value: an object of lists, such as ``{"bbox": [[left, top, width, height]], "category": [0]}`` in pixels, or a list of
            objects, each with one box; None where there are none.
        names: of the classes that numbers stand for; empty if the numbers are the detector's.
        picture: whose size the boxes are a share of.
        where: it is, for messages.

    Raises:
        InputError: it is something else, or a box has no size.
    """
    try:
        pairs = list(_pairs(value))
        if not pairs:
            return ()
        width, height = picture_size(picture)
        return tuple(Annotation(_class(kind, names), _share(box, width, height)) for box, kind in pairs)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"{where} holds no objects ({error!r:.60}); expected boxes under {_BOXES[0]}, each left, top, width, height in "
            f"pixels, and classes under {_CLASSES[0]}"
        ) from error


def class_names(feature: Any, depth: int = 6) -> tuple[str, ...]:
    """Find the names of a feature's classes, also of one nested in lists; empty if it has none."""
    if not isinstance(feature, Mapping) or not depth:
        return ()
    if isinstance(names := feature.get("names"), list):
        return tuple(map(str, names))
    return next((names for value in feature.values() if (names := class_names(value, depth - 1))), ())


def _pairs(value: Any) -> Iterator[tuple[Sequence[Any], Any]]:
    """Yield each object's box and class."""
    if value is None:
        return
    if isinstance(value, Mapping):
        yield from zip(_entry(value, _BOXES) or (), _entry(value, _CLASSES) or (), strict=True)
    else:
        yield from ((_entry(entry, _BOXES), _entry(entry, _CLASSES)) for entry in value)


def _entry(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return value[next((key for key in keys if key in value), keys[0])]


def _class(value: Any, names: Sequence[str]) -> Label:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"class {value!r}")
    return names[value] if names else value


def _share(box: Sequence[Any], of_width: int, of_height: int) -> Box:
    left, top, width, height = (float(number) for number in box)
    if not (all(map(isfinite, (left, top, width, height))) and width > 0 and height > 0):
        raise ValueError(f"box {box}")
    return left / of_width, top / of_height, (left + width) / of_width, (top + height) / of_height
