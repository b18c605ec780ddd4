"""Photographs: listing, splitting by content, and loading."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calibration.common.console import say
from calibration.common.errors import InputError, unknown_name
from calibration.common.pictures import PICTURE_SUFFIXES, open_picture
from physpatch.data.annotations import Annotation, Box, named, objects_of, read_annotations
from physpatch.data.class_names import Match, Matches, match_classes, report_lines
from physpatch.data.formats import Item, Label, open_data_set
from physpatch.data.named_sets import imagenette, samples
from physpatch.data.splits import TEST_BELOW, content_id, is_held_out, refuse_overlap
from physpatch.records.config import NAMED_DATA, require_data
from physpatch.records.data_columns import Columns, listed
from physpatch.victims.letterbox import PADDING_GREY
from physpatch.victims.protocol import Preprocessing, Victim, normal_name

UNLABELLED = -1
_LEAST_OBJECT = 0.01  # share of the photograph: smaller objects have no room for cells that a network could see
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Photo:
    """A photograph's file and its class index in the victim's order, or ``UNLABELLED``.

    Attributes:
        boxes: of its objects of one class, as in :class:`physpatch.data.annotations.Annotation`; the first carries the patch.
        clip: a file that stands for the clip that it is a frame of; None for a photograph by itself.
    """

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()
    clip: Path | None = None

    @property
    def origin(self) -> Path:
        """Return the file whose content decides on which side of the split it is: its clip's, or its own."""
        return self.clip or self.path


@dataclass(frozen=True, eq=False)
class Photographs:
    """Loaded photographs.

    Attributes:
        images: (N, 3, S, S) uint8 RGB.
        labels: (N,) int64, ``UNLABELLED`` where unknown.
        names: file names, for reports.
        boxes: for each image, the objects of one class (M, 4), left, top, right, bottom in pixels; the first carries the patch.
            Empty where no objects were requested.
        sources: (N,) int64, equal for images of the same photograph, which appears once per object or is listed twice, and for
            frames of the same clip; None where all differ.
        contents: the images' ids by content, see :func:`physpatch.data.splits.content_id`; empty for pictures without files.
        clips: the same of the files that stand for their clips; empty without clips.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    boxes: tuple[Tensor, ...] = ()
    sources: Tensor | None = None
    contents: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()

    @property
    def units(self) -> Tensor:
        """Number the photographs (N,), the units of statistics: images of the same one, or of one clip, have equal numbers."""
        return torch.arange(len(self.images)) if self.sources is None else self.sources

    @property
    def objects(self) -> Tensor | None:
        """Return the objects that carry patches (N, 4); None where no objects were requested."""
        return torch.stack([boxes[0] for boxes in self.boxes]) if self.boxes else None

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, keep: Tensor) -> "Photographs":
        """Select the images for which ``keep`` (N,) is true."""
        rows = keep.nonzero()[:, 0].tolist()
        names, boxes, contents, clips = (
            tuple(values[row] for row in rows) if values else ()
            for values in (self.names, self.boxes, self.contents, self.clips)
        )
        return Photographs(self.images[keep], self.labels[keep], names, boxes, self.units[keep], contents, clips)

    def joined(self, added: "Photographs", times: int = 1) -> "Photographs":
        """Append photographs of the same size, each ``times`` times; :attr:`sources` tell which are the same."""

        def both(own: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
            if not own and not others:
                return ()
            return (own or ("",) * len(self)) + (others or ("",) * len(added)) * times

        return Photographs(
            torch.cat([self.images, added.images.repeat(times, 1, 1, 1)]),
            torch.cat([self.labels, added.labels.repeat(times)]),
            self.names + added.names * times,
            sources=torch.cat([self.units, (added.units + self.units.max() + 1).repeat(times)]),
            contents=both(self.contents, added.contents),
            clips=both(self.clips, added.clips),
        )

    @property
    def content_ids(self) -> set[str]:
        """Collect the ids by content of the images and of their clips."""
        return {*self.contents, *self.clips} - {""}

    def central(self, size: int) -> Tensor:
        """Crop the central squares: (N, 3, size, size) uint8."""
        first = (self.images.shape[-1] - size) // 2
        return self.images[:, :, first : first + size, first : first + size]

    @property
    def fingerprint(self) -> str:
        """Compute the SHA-256 over pixels and labels: equal data have equal fingerprints."""
        digest = hashlib.sha256(self.images.numpy().tobytes())
        digest.update(self.labels.numpy().tobytes())
        for boxes in self.boxes:
            digest.update(boxes.numpy().tobytes())
        return digest.hexdigest()


def photos_for(victim: Victim, data: str, labelled: str | None = None, columns: str | None = None) -> list[Photo]:
    """List photographs by :func:`list_photos`, with labels of a classifier's classes; a detector needs none.

    With ``labelled``, the name of a class, a photograph is listed once for each of its objects of that class that is large
    enough for a patch; photographs without such objects are left out.

    Raises:
        InputError: see :func:`list_photos`; or the data have no such objects.
    """
    if labelled is None:
        return list_photos(data, victim.categories if victim.task == "classify" else None, columns)
    items = _items(data, victim.categories, columns)[0]
    annotations = _annotations(items, data, victim.categories)
    objects = []
    for item in items:
        boxes = objects_of(labelled, annotations.get(item.path, ()))
        for i, (left, top, right, bottom) in enumerate(boxes):
            if (right - left) * (bottom - top) >= _LEAST_OBJECT:
                objects.append(Photo(item.path, UNLABELLED, (boxes[i], *boxes[:i], *boxes[i + 1 :]), item.clip))
    if not objects:
        raise _without_objects(data, labelled, [annotation for labels in annotations.values() for annotation in labels])
    return objects


def _annotations(items: Sequence[Item], data: str, categories: Sequence[str]) -> dict[Path, tuple[Annotation, ...]]:
    """Read the labelled objects of photographs, by file: those beside the photographs, and those that the data set lists."""
    annotations = read_annotations(Path(data), [item.path for item in items], categories)
    return annotations | {item.path: named(item.objects, categories, item.path) for item in items if item.objects}


def photos_with_objects(detector: Victim, data: str, columns: str | None = None) -> list[Photo]:
    """List the photographs that are known to show an object of a detector's classes: by labelled boxes, or by their own class.

    Those with boxes have these, so that all of the photograph is loaded. Empty where the data say nothing of objects.

    Raises:
        InputError: see :func:`list_photos`.
    """
    items = _items(data, detector.categories, columns)[0]
    class_names = {normal_name(name) for name in detector.categories}
    try:
        annotations = _annotations(items, data, detector.categories)
    except InputError:
        annotations = {}  # texts beside the photographs may be captions
    photos = []
    for item in items:
        boxes = [a.box for a in annotations.get(item.path, ()) if normal_name(str(a.name)) in class_names]
        if boxes or (isinstance(item.label, str) and normal_name(item.label) in class_names):
            photos.append(Photo(item.path, UNLABELLED, tuple(boxes), item.clip))
    return photos


def _without_objects(data: str, labelled: str, annotations: Sequence[Annotation]) -> InputError:
    if small := len(objects_of(labelled, annotations)):
        return InputError(
            f"none of the {small} objects {labelled!r} labelled in {data} covers {100 * _LEAST_OBJECT:g} % of its photograph: "
            "they are too small for a patch"
        )
    if not annotations:
        return InputError(
            f"{data} has no labelled objects; expected YOLO's labels/*.txt, COCO's JSON or a table's column of objects"
        )
    return unknown_name("object", labelled, sorted({str(annotation.name) for annotation in annotations}))


def list_photos(data: str, categories: Sequence[str] | None, columns: str | None = None) -> list[Photo]:
    """List the photographs of ``samples``, ``imagenette``, a folder or a table, in a fixed order.

    The format of a folder or file is found by its names, see :mod:`physpatch.data.formats`. Its classes are matched to the
    model's by :func:`physpatch.data.class_names.match_classes`; what was not matched by name is reported on standard error.

    Args:
        data: the source.
        categories: the model's class names; None to read no labels.
        columns: of a table, see :meth:`physpatch.records.data_columns.Columns.parse`.

    Raises:
        InputError: no such data, no images in them, labels that cannot be read, or none that are classes of the model.
        UnavailableError: imagenette is not cached and cannot be downloaded, or a format needs another package.
    """
    items, declared, in_order = _items(data, categories or (), columns)
    if categories is None:
        return [Photo(item.path, UNLABELLED, clip=item.clip) for item in items]
    _require_one_class_each(data, items)
    matches = _matched(data, items, declared, in_order, categories)
    photos = []
    for item in items:
        match = None if item.label is None else matches.found.get(item.label)
        # Where no class is known, a folder's pictures without a class still serve, and so do all others.
        if match is not None or item.label is None or not matches.found:
            photos.append(Photo(item.path, UNLABELLED if match is None else match.index, clip=item.clip))
    return photos


def _items(data: str, categories: Sequence[str], columns: str | None) -> tuple[Sequence[Item], tuple[Label, ...], bool]:
    """List a data set's photographs, the classes that it declares, and whether these may be the model's in order."""
    require_data(data)
    if data in NAMED_DATA and columns is not None:
        raise InputError(f"{data} has no table whose columns could be named; leave out --columns")
    if data == "samples":
        return samples(categories), (), False
    source = imagenette() if data == "imagenette" else Path(data)
    data_set = open_data_set(source, Columns.parse(columns))
    items = data_set.items()
    if not items:
        raise InputError(f"{source} holds no images ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return items, data_set.classes(), data_set.in_order


def _require_one_class_each(data: str, items: Sequence[Item]) -> None:
    """Check that a photograph that is listed several times has the same class each time.

    Raises:
        InputError: one has two.
    """
    classes: dict[Path, Label] = {}
    for item in items:
        if item.label is not None and classes.setdefault(item.path, item.label) != item.label:
            raise InputError(
                f"{data}: {item.path} is listed with two classes, {classes[item.path]} and {item.label}; keep the right one"
            )


def _matched(
    data: str, items: Sequence[Item], declared: Sequence[Label], in_order: bool, categories: Sequence[str]
) -> Matches:
    """Match a data set's classes to the model's, and report what was not matched by name.

    Raises:
        InputError: an index that is no class of the model, or no class that is the model's and no photograph without one.
    """
    counts = Counter(item.label for item in items if item.label is not None)
    labels = list(dict.fromkeys([*declared, *counts]))
    for label in labels:
        if isinstance(label, int) and not 0 <= label < len(categories):
            raise InputError(
                f"{data}: class index {label} out of range; the model has classes 0 to {len(categories) - 1}"
            )
    matches = match_classes(labels, categories, declared)
    if in_order and not matches.found and len(labels) == len(categories):
        places = {label: Match(i, "place in order") for i, label in enumerate(labels)}
        matches = Matches(places, {})
    if matches.reasons and not matches.found and all(item.label is not None for item in items):
        raise InputError(
            f"{data}: {listed(matches.reasons)} are not classes of this model, which are {listed(categories)}; use class "
            "names, WordNet ids or indices, or name the model's classes by --labels"
        )
    for line in report_lines(data, matches, counts, categories):
        say(line)
    return matches


def split(photos: Sequence[Photo], held_out: float, *, by_label: bool = True) -> tuple[list[Photo], list[Photo]]:
    """Split photographs into (train, held out) by their content, see :mod:`physpatch.data.splits`.

    A file, with all its objects, is on the same side in every list, for every seed and task; so is a clip, with all its
    frames. With ``by_label``, unlabelled
    photographs are not evaluated on, since a classifier's answers to them cannot be judged; those that are not held out
    still serve as backgrounds for training. A detector needs no labels.

    Raises:
        InputError: nothing is left to train on.
    """
    train = [photo for photo in photos if not is_held_out(photo.origin, held_out)]
    kept_apart = [
        photo for photo in photos if is_held_out(photo.origin, held_out) and (photo.label != UNLABELLED or not by_label)
    ]
    if not train:
        raise InputError(
            f"all {len({photo.origin for photo in photos})} photographs or clips are held out by their content, so none is "
            "left to train on; give more photographs"
        )
    return train, kept_apart


def limited(photos: Sequence[Photo], limit: int, seed: int) -> list[Photo]:
    """Choose at most ``limit`` photographs by seed, and keep their order."""
    if len(photos) <= limit:
        return list(photos)
    chosen = np.random.default_rng(seed).choice(len(photos), limit, replace=False)
    return [photos[i] for i in sorted(chosen)]


def load_photos(photos: Sequence[Photo], preprocessing: Preprocessing, *, whole: bool = False) -> Photographs:
    """Load photographs for a network: shorter side resized, central square.

    Photographs with objects are letterboxed instead, as for a detector.

    Args:
        photos: the files to load.
        preprocessing: the network's sizes.
        whole: keep the whole square of the resized side, for random crops in training, instead of the network's crop.

    Raises:
        InputError: a broken file; the message names it.
    """
    size = preprocessing.resize if whole else preprocessing.size
    images = np.empty((len(photos), size, size, 3), dtype=np.uint8)
    boxes: list[Tensor] = []
    for image, photo in zip(images, photos, strict=True):
        if photo.boxes:
            image[:], inner = _letterboxed(photo.path, size)
            boxes.append(_in_pixels(photo.boxes, inner))
        else:
            image[:] = _square(photo.path, preprocessing, size)
    labels = torch.tensor([p.label for p in photos], dtype=torch.int64)
    clips = tuple(content_id(p.clip) if p.clip else "" for p in photos)
    return Photographs(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        labels,
        tuple(p.path.name for p in photos),
        tuple(boxes),
        numbered_origins(photos),
        tuple(content_id(p.path) for p in photos),
        clips,
    )


def split_photos(
    data: str,
    victim: Victim,
    *,
    held_out: float = 0.5,
    seed: int = 0,
    limit: int = 2000,
    labelled: str | None = None,
    columns: str | None = None,
) -> tuple[list[Photo], list[Photo]]:
    """List, limit and split photographs: (train, held out), with labels of the victim's classes.

    Args:
        data, labelled, columns: see :func:`photos_for`.
        victim: the network that the patch will be trained against.
        held_out: share of all photographs that is never trained on.
        seed: of the choice among more than ``limit`` photographs; the split is the same for every seed.
        limit: the largest number of photographs.

    Raises:
        InputError: nothing to train on, or the victim itself was trained on photographs that are held out.
    """
    photos = limited(photos_for(victim, data, labelled, columns), limit, seed)
    train, kept_apart = split(photos, held_out, by_label=victim.task == "classify")
    refuse_learned(kept_apart, victim, f"hold out at most {TEST_BELOW:g} of them, as by default")
    return train, kept_apart


def refuse_learned(photos: Sequence[Photo], victim: Victim, cure: str) -> None:
    """Refuse to measure on photographs that the victim itself was trained on, as far as its weights record them.

    Raises:
        InputError: there are such photographs; ``cure`` says what to do.
    """
    refuse_overlap(files_of(photos), victim.learned_from, f"the network {victim.name}", cure)


def numbered_origins(photos: Sequence[Photo]) -> Tensor:
    """Number the photographs (N,); frames of one clip, objects of one photograph, and equal files have equal numbers."""
    numbers: dict[Path | str, int] = {}
    # Clips count by their files' names, because different ones may begin with equal frames.
    units = [numbers.setdefault(photo.clip or content_id(photo.path), len(numbers)) for photo in photos]
    return torch.tensor(units, dtype=torch.int64)


def files_of(photos: Sequence[Photo]) -> list[Path]:
    """List the files of photographs, and those that stand for their clips."""
    return [file for photo in photos for file in dict.fromkeys((photo.path, photo.origin))]


def load_photographs(
    data: str,
    victim: Victim,
    *,
    held_out: float = 0.5,
    seed: int = 0,
    limit: int = 2000,
    labelled: str | None = None,
    columns: str | None = None,
) -> tuple[Photographs, Photographs]:
    """Load both sides of :func:`split_photos`, ready for ``Trainer`` and ``evaluate_patch``.

    Raises:
        InputError: see :func:`split_photos`.
    """
    train, kept_apart = split_photos(
        data, victim, held_out=held_out, seed=seed, limit=limit, labelled=labelled, columns=columns
    )
    return load_photos(train, victim.preprocessing, whole=True), load_photos(kept_apart, victim.preprocessing)


def _square(path: Path, preprocessing: Preprocessing, size: int) -> np.ndarray:
    image = open_picture(path)
    factor = preprocessing.resize / min(image.size)
    sides = (preprocessing.resize,) * 2 if preprocessing.squash else (round(s * factor) for s in image.size)
    width, height = (max(size, side) for side in sides)
    image = image.resize((width, height), _RESAMPLING[preprocessing.interpolation])
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _letterboxed(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Letterbox a photograph into a grey square; also return where it lies there: left, top, width, height."""
    image = open_picture(path)
    factor = size / max(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    left, top = (size - width) // 2, (size - height) // 2
    square = np.full((size, size, 3), PADDING_GREY, np.uint8)
    square[top : top + height, left : left + width] = np.asarray(
        image.resize((width, height), Image.Resampling.BILINEAR)
    )
    return square, (left, top, width, height)


def _in_pixels(boxes: Sequence[Box], inner: tuple[int, int, int, int]) -> Tensor:
    left, top, width, height = inner
    extent = torch.tensor([width, height, width, height], dtype=torch.float32)
    return torch.tensor(boxes).clamp(0, 1) * extent + torch.tensor([left, top, left, top])
