"""Boxes that people have drawn about the objects of photographs: YOLO's text files and COCO's JSON."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from calibration.common.errors import InputError
from calibration.common.files import read_json
from physpatch.victims.protocol import normal_name

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image's width and height


@dataclass(frozen=True)
class Annotation:
    """One object: the name of its class, and its box."""

    name: str
    box: Box


def read_annotations(
    folder: Path, images: Sequence[Path], categories: Sequence[str]
) -> dict[Path, tuple[Annotation, ...]]:
    """The labelled objects of photographs, by file.

    Labels are looked for as COCO's JSON (``annotations/*.json`` or ``*.json`` in the folder, with images, annotations and
    categories) and, for each image, as YOLO's text file: beside it, or where its path says ``labels`` instead of ``images``.

    Args:
        folder: of the data.
        images: the photographs there.
        categories: a detector's classes, which YOLO's numbers mean where no ``*.yaml`` beside the images names them.

    Raises:
        InputError: a file of labels cannot be read.
    """
    found: dict[Path, tuple[Annotation, ...]] = {}
    by_name = {image.name: image for image in images}
    for file in (*sorted(folder.glob("*.json")), *sorted(folder.glob("annotations/*.json"))):
        for name, annotations in _from_coco(file).items():
            if name in by_name:
                found[by_name[name]] = annotations
    names = _names_beside(folder) or dict(enumerate(categories))
    for image in images:
        text = _yolo_file(image)
        if image not in found and text is not None:
            found[image] = tuple(_from_yolo(text, names))
    return found


def _yolo_file(image: Path) -> Path | None:
    """ultralytics' rule: the last folder called ``images`` becomes ``labels``; or the same folder."""
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
            number, x, y, width, height, *_ = (float(word) for word in text.split())
            name = names[int(number)]
        except (ValueError, KeyError):
            raise InputError(
                f"{file} line {line}: {text[:60]!r} is not a class of the data and its box; expected: class x y width height, "
                f"the class from 0 to {len(names) - 1}, the rest shares of the image"
            ) from None
        yield Annotation(name, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _names_beside(folder: Path) -> dict[int, str]:
    """The classes' names in the ``*.yaml`` of a YOLO data set, in the folder or up to two above it."""
    for place in (folder, *folder.resolve().parents[:2]):
        for file in sorted(place.glob("*.yaml")):
            try:
                told = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):
                continue
            names = told.get("names") if isinstance(told, dict) else None
            if isinstance(names, dict | list):
                return {int(k): str(v) for k, v in (names.items() if isinstance(names, dict) else enumerate(names))}
    return {}


def _from_coco(file: Path) -> dict[str, tuple[Annotation, ...]]:
    """By the images' file names; empty where the JSON is about something else. Boxes are left, top, width, height in pixels."""
    try:
        told: Any = read_json(file)
        if not isinstance(told, dict) or not {"images", "annotations", "categories"} <= told.keys():
            return {}
        names = {one["id"]: str(one["name"]) for one in told["categories"]}
        pictures = {one["id"]: one for one in told["images"]}
        found: dict[str, list[Annotation]] = defaultdict(list)
        for one in told["annotations"]:
            if one.get("iscrowd"):
                continue  # a box about a crowd is no one object
            picture = pictures[one["image_id"]]
            (left, top, width, height), (w, h) = one["bbox"], (picture["width"], picture["height"])
            box = (left / w, top / h, (left + width) / w, (top + height) / h)
            found[Path(picture["file_name"]).name].append(Annotation(names[one["category_id"]], box))
    except (KeyError, TypeError, ValueError, ZeroDivisionError, json.JSONDecodeError) as error:
        raise InputError(f"{file} is not the JSON of COCO's annotations ({error!r})") from error
    return {name: tuple(annotations) for name, annotations in found.items()}


def objects_of(name: str, annotations: Iterable[Annotation]) -> list[Box]:
    """The boxes of one class, the largest first."""
    wanted = normal_name(name)
    mine = [one.box for one in annotations if normal_name(one.name) == wanted]
    return sorted(mine, key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
