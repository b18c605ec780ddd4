"""Labelled objects of photographs, from YOLO's text files and COCO's JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import yaml

from calibration.common.errors import InputError
from calibration.common.files import read_json
from physpatch.victims.protocol import normal_name

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image's width and height
_BEYOND = 0.01  # by which rounding may put a share outside the image


@dataclass(frozen=True)
class Annotation:
    """One object: the name of its class, or its number among the detector's, and its box."""

    name: str | int
    box: Box


def read_annotations(
    folder: Path, images: Sequence[Path], categories: Sequence[str]
) -> dict[Path, tuple[Annotation, ...]]:
    """Read the labelled objects of photographs, by file.

    Labels may be COCO's JSON (``annotations/*.json`` or ``*.json`` in the folder, with images, annotations and categories)
    or, for each image, YOLO's text file: beside the image, or under ``labels`` where its path has ``images``.

    Args:
        folder: of the data.
        images: the photographs there.
        categories: a detector's classes. YOLO's numbers refer to them where no ``*.yaml`` near the images names classes.

    Raises:
        InputError: a label file cannot be read, or COCO's names do not tell photographs apart.
    """
    labelled: dict[Path, tuple[Annotation, ...]] = {}
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_name[image.name].append(image)
    for file in (*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))):
        for name, annotations in _from_coco(file).items():
            labelled_image = _image_of(name, by_name.get(name.name, []), file)
            if labelled_image is not None:  # COCO's own files of keypoints repeat the persons among its objects
                labelled[labelled_image] = tuple(dict.fromkeys((*labelled.get(labelled_image, ()), *annotations)))
    names = _names_beside(folder) or dict(enumerate(categories))
    for image in images:
        text = _yolo_file(image)
        if image not in labelled and text is not None:
            labelled[image] = tuple(_from_yolo(text, names))
    return labelled


def _image_of(name: PurePath, alike: Sequence[Path], file: Path) -> Path | None:
    """Choose the image that COCO's ``file`` means by a name, from those of the same base name; None where there is none.

    Its path ends with the name; where none does, as the data were moved, the base name has to be unique.
    """
    ending = [image for image in alike if image.parts[-len(name.parts) :] == name.parts] or alike
    if len(ending) > 1:
        raise InputError(
            f"{file} labels {str(name)!r}, and there are several: {', '.join(map(str, ending[:3]))}; write names with folders "
            "there, such as train/1.jpg, or keep one folder of images"
        )
    return ending[0] if ending else None


def _yolo_file(image: Path) -> Path | None:
    """Find an image's label file by ultralytics' rule: the last folder ``images`` becomes ``labels``; or the same folder."""
    parts = list(image.with_suffix(".txt").parts)
    places = [image.with_suffix(".txt")]
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        places.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]))
    return next((place for place in places if place.is_file()), None)


def _from_yolo(file: Path, names: dict[int, str]) -> Iterable[Annotation]:
    for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            number, *numbers = (float(word) for word in text.split())
            yield Annotation(names[int(number)], _box_of(numbers))
        except (ValueError, KeyError, OverflowError):
            raise InputError(
                f"{file} line {line}: {text[:60]!r} is not a class and a box; expected: class x y width height, with the class "
                f"from 0 to {len(names) - 1} and the rest as shares of the image; or a polygon, class x y x y x y …"
            ) from None


def _box_of(numbers: Sequence[float]) -> Box:
    """Read a box, or the one around a polygon, from what follows the class.

    Raises:
        ValueError: they are neither, or no shares of the image.
    """
    if len(numbers) in (4, 5):  # the fifth is a confidence
        shares = numbers[:4]
        x, y, width, height = shares
        left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    elif len(numbers) >= 6 and len(numbers) % 2 == 0:
        shares = numbers
        left, top, right, bottom = min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    else:
        raise ValueError(f"{len(numbers)} numbers are neither a box nor a polygon")
    if not all(-_BEYOND <= share <= 1 + _BEYOND for share in shares) or left >= right or top >= bottom:
        raise ValueError(f"{shares} are no shares of the image")
    return left, top, right, bottom


def _names_beside(folder: Path) -> dict[int, str]:
    """Read the class names of a YOLO data set from its ``*.yaml``, in the folder or up to two levels above it."""
    for place in (folder, *folder.resolve().parents[:2]):
        for file in sorted(place.glob("*.yaml")):
            try:
                content = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (yaml.YAMLError, OSError, ValueError, RecursionError):  # it may be anything, of anyone
                continue
            names = content.get("names") if isinstance(content, dict) else None
            numbered = dict(enumerate(names)) if isinstance(names, list) else names
            if isinstance(numbered, dict) and all(str(number).isdecimal() for number in numbered):
                return {int(number): str(name) for number, name in numbered.items()}
    return {}


def _from_coco(file: Path) -> dict[PurePath, tuple[Annotation, ...]]:
    """Read annotations by the images' names as the file has them; empty where the JSON is something else.

    COCO's boxes are left, top, width, height in pixels.
    """
    try:
        content: Any = read_json(file)
        if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
            return {}
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        pictures = {image["id"]: image for image in content["images"]}
        labelled: dict[PurePath, list[Annotation]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry.get("iscrowd"):
                continue  # the box of a crowd is not a single object
            picture = pictures[entry["image_id"]]
            (left, top, width, height), (w, h) = entry["bbox"], (picture["width"], picture["height"])
            box = (left / w, top / h, (left + width) / w, (top + height) / h)
            labelled[PurePath(picture["file_name"])].append(Annotation(names[entry["category_id"]], box))
    except (KeyError, TypeError, ValueError, ZeroDivisionError, json.JSONDecodeError) as error:
        raise InputError(f"{file} is not a valid COCO annotation file ({error!r})") from error
    return {name: tuple(annotations) for name, annotations in labelled.items()}


def named(annotations: Iterable[Annotation], categories: Sequence[str], where: object) -> tuple[Annotation, ...]:
    """Name the classes that annotations have by number.

    Raises:
        InputError: a number that is no class of the detector; the message begins with ``where``.
    """
    try:
        return tuple(
            replace(annotation, name=categories[annotation.name]) if isinstance(annotation.name, int) else annotation
            for annotation in annotations
        )
    except IndexError:
        raise InputError(
            f"{where}: an object's class is none of the detector's, 0 to {len(categories) - 1}; give names instead"
        ) from None


def objects_of(name: str, annotations: Iterable[Annotation]) -> list[Box]:
    """Select the boxes of one class, the largest first."""
    class_name = normal_name(name)
    boxes = [annotation.box for annotation in annotations if normal_name(str(annotation.name)) == class_name]
    return sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
