"""Class names: those of ImageNet and COCO, and those in a file of labels."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from calibration.common.errors import InputError, unknown_name
from calibration.common.text import has_controls

NAMED = ("imagenet", "coco")  # what can be given instead of a file
_COCO_NUMBERS = 91  # classes as COCO numbers them, from 0 for the background on, with gaps
_MOST_BYTES = 16 * 2**20
_KEYS = ("names", "id2label", "labels", "classes")  # YOLO's data.yaml, Hugging Face's config.json, and common ones


@cache
def imagenet_categories() -> tuple[str, ...]:
    """Return ImageNet's 1000 class names in index order, as torchvision carries them."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_IMAGENET_CATEGORIES)


@cache
def coco_categories(count: int = 80) -> tuple[str, ...]:
    """Return COCO's class names: the 80 that are used, or all 91 as COCO numbers them, with background and gaps."""
    from torchvision.models._meta import _COCO_CATEGORIES

    everything = tuple(_COCO_CATEGORIES)
    return everything if count == _COCO_NUMBERS else tuple(n for n in everything if n not in ("__background__", "N/A"))


def numbered_categories(count: int) -> tuple[str, ...]:
    """Name the classes of a model that has no names: ImageNet's for 1000 classes, or else "class 0" and so on."""
    return imagenet_categories() if count == len(imagenet_categories()) else tuple(f"class {i}" for i in range(count))


def read_labels(source: str | Path, count: int | None = None) -> tuple[str, ...]:
    """Read class names in index order: ``imagenet``, ``coco``, or a file.

    A text file has a name per line. JSON and YAML hold a list, or an object by index whose values are names or lists that end
    with one (Keras' ``imagenet_class_index.json``), or of indices by name (``class_to_idx``); it may be under ``names``,
    ``id2label``, ``labels`` or ``classes``.

    Args:
        source: one of :data:`NAMED`, or the path of a file.
        count: the number of the model's classes; None where it is not known yet.

    Raises:
        InputError: no such file, names that cannot be read, or another number of them.
    """
    if str(source) == "imagenet":
        names = imagenet_categories()
    elif str(source) == "coco":
        names = coco_categories(count or 80)
    else:
        names = _from_file(Path(source))
    if count is not None and len(names) != count:
        raise InputError(f"{source} names {len(names)} classes, but the model has {count}")
    return names


def check_names(names: Sequence[Any], owner: str) -> tuple[str, ...]:
    """Check the class names that a user gives in Python.

    Raises:
        InputError: none, one that is no printable text, or one that two classes have; ``owner`` has them, for the message.
    """
    if not names:
        raise InputError(f"the categories of {owner} are empty; name its classes, in order")
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip() or has_controls(name):
            raise InputError(f"category {index} of {owner} is {name!r}; expected a name without control characters")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"the categories of {owner} name {twice!r} more than once; give each class a name of its own")
    return tuple(names)


def find_category(text: str, names: Sequence[str], owner: str) -> int:
    """Find a class by index or by name among ``names``; ``owner`` has them, for messages.

    Raises:
        InputError: no such class, and the message suggests similar names; or several classes of this name.
    """
    if re.fullmatch(r"-?\d+", text):
        if not 0 <= int(text) < len(names):
            raise InputError(f"class index {text} out of range; {owner} has classes 0 to {len(names) - 1}")
        return int(text)
    indices = named_alike(text, names)
    if not indices:
        raise unknown_name("class", text, names)
    if len(indices) > 1:
        raise InputError(
            f"several classes of {owner} are called {text!r}: {', '.join(map(str, indices))}; give its index"
        )
    return indices[0]


def named_alike(text: str, names: Sequence[str]) -> list[int]:
    """Find the indices of the classes called so: those spelled exactly so, or else all with the same :func:`normal_name`."""
    normal_text = normal_name(text)
    alike = [index for index, name in enumerate(names) if normal_text == normal_name(name)]
    return [index for index in alike if names[index] == text] or alike


def normal_name(name: str) -> str:
    """Normalise a class name for comparison: lower case, with spaces for underscores and hyphens."""
    return name.lower().replace("_", " ").replace("-", " ").strip()


def _from_file(file: Path) -> tuple[str, ...]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file} is too large for a file of class names")
        text = file.read_text(encoding="utf-8-sig")
        value = _parsed(text, file.suffix.lower())
    except FileNotFoundError as error:
        raise InputError(f"no file of labels {file}; give a file, or {' or '.join(NAMED)}") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError of JSON, text or a path
        raise InputError(f"{file} holds no class names that can be read: {' '.join(str(error).split())}") from error
    return names_in(value, file)


def names_in(value: Any, file: Path) -> tuple[str, ...]:
    """Read class names in a value of JSON or YAML, as in :func:`read_labels`; ``file`` is where it was found.

    Raises:
        InputError: the value holds none.
    """
    names = tuple(_in_order(value, file))
    if not names or not all(names):
        raise InputError(f"{file} holds no class names; expected one per line, or a list or an object by index")
    for index, name in enumerate(names):
        if has_controls(name):
            raise InputError(f"{file}: the name of class {index}, {name!r}, has control characters; remove them")
    return names


def _parsed(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    if suffix in (".yaml", ".yml"):
        return yaml.safe_load(text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _by_value(value: Mapping[Any, Any], file: Path) -> dict[int, Any]:
    """Read an object of indices by name, such as torchvision's ``class_to_idx``.

    Raises:
        InputError: neither its keys nor its values are indices, or two names have the same.
    """
    indices = list(value.values())
    if not all(isinstance(index, int) and not isinstance(index, bool) for index in indices):
        raise InputError(f"{file} is an object whose keys are not class indices 0, 1, 2 …, and neither are its values")
    twice = next((index for index, count in Counter(indices).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{file} gives the index {twice} to two names")
    return {index: name for name, index in value.items()}


def _is_by_name(value: Mapping[Any, Any]) -> bool:
    """Tell whether the values are all the indices: names may be numbers, too, such as the folders 0, 1, 10, 11, 2."""
    indices = [index for index in value.values() if isinstance(index, int) and not isinstance(index, bool)]
    return all(isinstance(name, str) for name in value) and sorted(indices) == list(range(len(value)))


def _in_order(value: Any, file: Path) -> Iterable[str]:
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _KEYS if isinstance(value.get(key), (list, Mapping))), None)
        if inner is not None:
            return _in_order(inner, file)
        try:
            by_index = _by_value(value, file) if _is_by_name(value) else {int(i): name for i, name in value.items()}
        except (TypeError, ValueError):
            by_index = _by_value(value, file)
        if sorted(by_index) != list(range(len(by_index))):
            raise InputError(f"{file} leaves out class indices; expected 0 to {len(by_index) - 1}")
        value = [by_index[index] for index in range(len(by_index))]
    if not isinstance(value, list):
        raise InputError(f"{file} holds neither a list of class names nor an object by index")
    names = [entry[-1] if isinstance(entry, list) and entry else entry for entry in value]
    if not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names):
        raise InputError(f"{file} holds something else than class names")
    return [str(name).strip() for name in names]
