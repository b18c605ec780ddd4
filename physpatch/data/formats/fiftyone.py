"""Exports of FiftyOne: its own format, and those of image classification and detection, which are JSON beside ``data/``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from calibration.common.errors import InputError
from calibration.common.files import read_json
from calibration.common.pictures import is_picture
from physpatch.data.annotations import Annotation
from physpatch.data.formats.base import DataFormat, Item, Label, member
from physpatch.data.formats.tables import check_bytes

_SAMPLES, _LABELS = "samples.json", "labels.json"


class FiftyOne(DataFormat):
    """A folder with ``data/`` and ``samples.json`` (FiftyOneDataset) or ``labels.json`` (FiftyOneImage…Dataset)."""

    name: ClassVar[str] = "fiftyone"
    summary: ClassVar[str] = "exports of FiftyOne: samples.json or labels.json, and data/; --columns label=FIELD"

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept a folder with such a file."""
        return any((source / name).is_file() for name in (_SAMPLES, _LABELS)) and (source / "data").is_dir()

    def items(self) -> list[Item]:
        """List the photographs in the order of the JSON."""
        file = self.source / (_SAMPLES if (self.source / _SAMPLES).is_file() else _LABELS)
        check_bytes(file)
        content = read_json(file, "export it again")
        try:
            return list(self._samples(content, file) if file.name == _SAMPLES else self._labels(content, file))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(f"{file} is not such an export of FiftyOne ({error!r:.60}); export it again") from error

    def _samples(self, content: Any, file: Path) -> Iterator[Item]:
        folder = self.columns.folder or self.source
        for sample in content["samples"]:
            label, objects = _meaning(sample[_field(sample, self.columns.label)])
            yield Item(member(folder, sample["filepath"], file), label, objects=objects)

    def _labels(self, content: Any, file: Path) -> Iterator[Item]:
        classes, folder = content.get("classes") or [], self.source / "data"
        files = {
            str(path.relative_to(folder).with_suffix("")): path
            for path in sorted(folder.rglob("*"))
            if is_picture(path)
        }
        for name, value in content["labels"].items():
            member(folder, name, file)
            if name not in files:
                raise InputError(f"{file} names {name[:60]!r}, but {folder} has no such picture")
            label, objects = _meaning(value, classes)
            yield Item(member(folder, str(files[name].relative_to(folder)), file), label, objects=objects)


def _field(sample: dict[str, Any], label_field: str | None) -> str:
    """Find the field of a sample that holds its label: the one asked for, ``ground_truth``, or the only one."""
    if label_field is not None:
        if label_field not in sample:
            raise InputError(f"a sample has no field {label_field!r}; it has {', '.join(sample)[:200]}")
        return label_field
    fields = [name for name, value in sample.items() if isinstance(value, dict) and _kind(value) is not None]
    if "ground_truth" in sample:
        return "ground_truth"
    if len(fields) == 1:
        return fields[0]
    raise InputError(f"say which field holds the labels with --columns label=NAME: {', '.join(fields) or 'none does'}")


def _kind(value: dict[str, Any]) -> str | None:
    kind = value.get("_cls")
    return kind if kind in ("Classification", "Detections") else None


def _meaning(value: Any, classes: list[str] | None = None) -> tuple[Label | None, tuple[Annotation, ...]]:
    """Read a label: a class, an object with one, a list of objects with boxes, or None."""
    if isinstance(value, dict) and "detections" in value:
        value = value["detections"]
    if isinstance(value, list):
        return None, tuple(_object(detection, classes) for detection in value)
    return _named(value["label"] if isinstance(value, dict) else value, classes), ()


def _object(detection: dict[str, Any], classes: list[str] | None) -> Annotation:
    left, top, width, height = (float(number) for number in detection["bounding_box"])
    return Annotation(str(_named(detection["label"], classes)), (left, top, left + width, top + height))


def _named(value: Any, classes: list[str] | None) -> Label | None:
    if isinstance(value, int) and not isinstance(value, bool) and classes:
        if value < 0:
            raise ValueError(f"class {value}")
        return str(classes[value])
    if value is None or isinstance(value, (str, int)):
        return value
    raise ValueError(f"{value!r:.40} is no class")
