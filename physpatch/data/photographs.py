"""Photographs: listing, splitting by content, and loading."""

import csv
import hashlib
import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from calibration.common.console import say
from calibration.common.errors import InputError, UnavailableError, unknown_name
from calibration.common.pictures import PICTURE_SUFFIXES, open_picture
from physpatch.data.annotations import Annotation, Box, objects_of, read_annotations
from physpatch.data.splits import TEST_BELOW, content_id, is_held_out, refuse_overlap
from physpatch.records.config import require_data
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.labels import imagenet_categories
from physpatch.victims.protocol import Preprocessing, Victim, normal_name

UNLABELLED = -1
_BACKGROUNDS = {  # unlabelled photographs in the wheels of packages, by the package's folder that holds them
    "skimage/data": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "ultralytics/assets": ("bus.jpg", "zidane.jpg"),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
    "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg",),
}
_LEAST_OBJECT = 0.01  # share of the photograph: smaller objects have no room for cells that a network could see
_LETTERBOX_GREY = 114  # the padding of ultralytics
_IMAGENETTE_URL = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"


@dataclass(frozen=True)
class Photo:
    """A photograph's file and its class index in the victim's order, or ``UNLABELLED``.

    Attributes:
        boxes: of its objects of one class, as in :class:`physpatch.data.annotations.Annotation`; the first carries the patch.
    """

    path: Path
    label: int
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, eq=False)
class Photographs:
    """Loaded photographs.

    Attributes:
        images: (N, 3, S, S) uint8 RGB.
        labels: (N,) int64, ``UNLABELLED`` where unknown.
        names: file names, for reports.
        boxes: for each image, the objects of one class (M, 4), left, top, right, bottom in pixels; the first carries the patch.
            Empty where no objects were requested.
        sources: (N,) int64, equal for images of the same photograph, which appears once per object; None where all differ.
        contents: the images' ids by content, see :func:`physpatch.data.splits.content_id`; empty for pictures without files.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    boxes: tuple[Tensor, ...] = ()
    sources: Tensor | None = None
    contents: tuple[str, ...] = ()

    @property
    def units(self) -> Tensor:
        """Number the photographs (N,), the units of statistics: images of the same one have equal numbers."""
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
        names, boxes, contents = (
            tuple(values[row] for row in rows) if values else () for values in (self.names, self.boxes, self.contents)
        )
        return Photographs(self.images[keep], self.labels[keep], names, boxes, self.units[keep], contents)

    def joined(self, added: "Photographs", times: int = 1) -> "Photographs":
        """Append photographs of the same size, each ``times`` times."""
        return Photographs(
            torch.cat([self.images, added.images.repeat(times, 1, 1, 1)]),
            torch.cat([self.labels, added.labels.repeat(times)]),
            self.names + added.names * times,
            contents=self.contents + added.contents,
        )

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


def photos_for(victim: Victim, data: str, labelled: str | None = None) -> list[Photo]:
    """List photographs by :func:`list_photos`, with labels of a classifier's classes; a detector needs none.

    With ``labelled``, the name of a class, a photograph is listed once for each of its objects of that class that is large
    enough for a patch; photographs without such objects are left out.

    Raises:
        InputError: see :func:`list_photos`; or the data have no such objects.
    """
    photos = list_photos(data, victim.categories if victim.task == "classify" else None)
    if labelled is None:
        return photos
    annotations = read_annotations(Path(data), [photo.path for photo in photos], victim.categories)
    objects = []
    for photo in photos:
        boxes = objects_of(labelled, annotations.get(photo.path, ()))
        for i, (left, top, right, bottom) in enumerate(boxes):
            if (right - left) * (bottom - top) >= _LEAST_OBJECT:
                objects.append(replace(photo, boxes=(boxes[i], *boxes[:i], *boxes[i + 1 :])))
    if not objects:
        raise _without_objects(data, labelled, [annotation for labels in annotations.values() for annotation in labels])
    return objects


def _without_objects(data: str, labelled: str, annotations: Sequence[Annotation]) -> InputError:
    if small := len(objects_of(labelled, annotations)):
        return InputError(
            f"none of the {small} objects {labelled!r} labelled in {data} covers {100 * _LEAST_OBJECT:g} % of its photograph: "
            "they are too small for a patch"
        )
    if not annotations:
        return InputError(f"{data} has no labelled objects; expected YOLO's labels/*.txt or COCO's JSON")
    return unknown_name("object", labelled, sorted({annotation.name for annotation in annotations}))


def list_photos(data: str, categories: Sequence[str] | None) -> list[Photo]:
    """List the photographs of ``samples``, ``imagenette`` or a folder, in a fixed order.

    A folder may hold a ``labels.csv`` (columns file, class_index), one sub-folder per class, or plain images (unlabelled).
    With ``categories`` None, no labels are read, and all images in the folder and its sub-folders are listed.

    Raises:
        InputError: no such folder, no images in it, or labels that cannot be read.
        UnavailableError: imagenette is not cached and cannot be downloaded.
    """
    require_data(data)
    if data == "samples":
        return _samples(categories or ())
    folder = _imagenette() if data == "imagenette" else Path(data)
    if categories is None:
        photos = [Photo(path, UNLABELLED) for path in _images_in(folder)]
    elif (folder / "labels.csv").is_file():
        photos = _from_csv(folder / "labels.csv", len(categories))
    elif classes := _class_folders(folder, categories):
        photos = [Photo(path, label) for sub, label in classes.items() for path in _images_in(sub)]
    else:
        photos = [Photo(path, UNLABELLED) for path in _images_in(folder)]
    if not photos:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return photos


def split(photos: Sequence[Photo], held_out: float, *, by_label: bool = True) -> tuple[list[Photo], list[Photo]]:
    """Split photographs into (train, held out) by their content, see :mod:`physpatch.data.splits`.

    A file, with all its objects, is on the same side in every list, for every seed and task. With ``by_label``, unlabelled
    photographs are not evaluated on, since a classifier's answers to them cannot be judged; those that are not held out
    still serve as backgrounds for training. A detector needs no labels.

    Raises:
        InputError: nothing is left to train on.
    """
    train = [photo for photo in photos if not is_held_out(photo.path, held_out)]
    kept_apart = [
        photo for photo in photos if is_held_out(photo.path, held_out) and (photo.label != UNLABELLED or not by_label)
    ]
    if not train:
        raise InputError(
            f"all {len({photo.path for photo in photos})} photographs are held out by their content, so none is left to train "
            "on; give more photographs"
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
            image[:] = _square(photo.path, preprocessing.resize, size)
    labels = torch.tensor([p.label for p in photos], dtype=torch.int64)
    numbers = {path: i for i, path in enumerate(dict.fromkeys(p.path for p in photos))}
    return Photographs(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        labels,
        tuple(p.path.name for p in photos),
        tuple(boxes),
        torch.tensor([numbers[p.path] for p in photos]) if boxes else None,
        tuple(content_id(p.path) for p in photos),
    )


def split_photos(
    data: str, victim: Victim, *, held_out: float = 0.5, seed: int = 0, limit: int = 2000, labelled: str | None = None
) -> tuple[list[Photo], list[Photo]]:
    """List, limit and split photographs: (train, held out), with labels of the victim's classes.

    Args:
        data, labelled: see :func:`photos_for`.
        victim: the network that the patch will be trained against.
        held_out: share of all photographs that is never trained on.
        seed: of the choice among more than ``limit`` photographs; the split is the same for every seed.
        limit: the largest number of photographs.

    Raises:
        InputError: nothing to train on, or the victim itself was trained on photographs that are held out.
    """
    photos = limited(photos_for(victim, data, labelled), limit, seed)
    train, kept_apart = split(photos, held_out, by_label=victim.task == "classify")
    refuse_learned(kept_apart, victim, f"hold out at most {TEST_BELOW:g} of them, as by default")
    return train, kept_apart


def refuse_learned(photos: Sequence[Photo], victim: Victim, cure: str) -> None:
    """Refuse to measure on photographs that the victim itself was trained on, as far as its weights record them.

    Raises:
        InputError: there are such photographs; ``cure`` says what to do.
    """
    refuse_overlap([photo.path for photo in photos], victim.learned_from, f"the network {victim.name}", cure)


def load_photographs(
    data: str, victim: Victim, *, held_out: float = 0.5, seed: int = 0, limit: int = 2000, labelled: str | None = None
) -> tuple[Photographs, Photographs]:
    """Load both sides of :func:`split_photos`, ready for ``Trainer`` and ``evaluate_patch``.

    Raises:
        InputError: see :func:`split_photos`.
    """
    train, kept_apart = split_photos(data, victim, held_out=held_out, seed=seed, limit=limit, labelled=labelled)
    return load_photos(train, victim.preprocessing, whole=True), load_photos(kept_apart, victim.preprocessing)


def _square(path: Path, resize: int, size: int) -> np.ndarray:
    image = open_picture(path)
    factor = resize / min(image.size)
    image = image.resize(
        (max(size, round(image.width * factor)), max(size, round(image.height * factor))), Image.Resampling.BICUBIC
    )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _letterboxed(path: Path, size: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Letterbox a photograph into a grey square; also return where it lies there: left, top, width, height."""
    image = open_picture(path)
    factor = size / max(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    left, top = (size - width) // 2, (size - height) // 2
    square = np.full((size, size, 3), _LETTERBOX_GREY, np.uint8)
    square[top : top + height, left : left + width] = np.asarray(
        image.resize((width, height), Image.Resampling.BILINEAR)
    )
    return square, (left, top, width, height)


def _in_pixels(boxes: Sequence[Box], inner: tuple[int, int, int, int]) -> Tensor:
    left, top, width, height = inner
    extent = torch.tensor([width, height, width, height], dtype=torch.float32)
    return torch.tensor(boxes).clamp(0, 1) * extent + torch.tensor([left, top, left, top])


def _samples(categories: Sequence[str]) -> list[Photo]:
    """List the labelled ImageNet photographs in foolbox's wheel, and unlabelled ones in those of other packages.

    The labels are left out for a network with classes other than ImageNet's.
    """
    labelled = sorted((_package_folder("foolbox") / "data").glob("imagenet_*_*.jpg"))
    imagenet = tuple(categories) == imagenet_categories()
    photos = [Photo(path, int(path.stem.split("_")[2]) if imagenet else UNLABELLED) for path in labelled]
    for folder, names in _BACKGROUNDS.items():
        package, _, inside = folder.partition("/")
        place = _package_folder(package) / inside
        photos += [Photo(place / name, UNLABELLED) for name in names if (place / name).is_file()]
    return photos


def _package_folder(package: str) -> Path:
    """Find a package's folder without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"the package {package}, which holds sample photographs, is not installed; pip install {package}"
        )
    return Path(spec.origin).parent


def _imagenette() -> Path:
    from torchvision.datasets import Imagenette

    root = Path(torch.hub.get_dir()) / "datasets"
    folder = root / "imagenette2-320"
    if not (folder / "val").is_dir():
        cure = f"unpack {_IMAGENETTE_URL} into {root}, or use --data samples (embedded)"
        if not reachable(_IMAGENETTE_URL):
            raise UnavailableError(f"imagenette is not cached and its host does not answer; {cure}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            with stall_limit():
                Imagenette(root, split="val", size="320px", download=True)
        except (OSError, RuntimeError) as error:
            raise UnavailableError(f"the download of imagenette failed ({error}); {cure}") from error
    return folder / "val"


_WNIDS = {  # imagenette's ten folders
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}


def _from_csv(file: Path, classes: int) -> list[Photo]:
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:  # spreadsheets put a byte order mark first
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} is not a CSV file in UTF-8 ({error})") from error
    if not rows or not {"file", "class_index"} <= rows[0].keys():
        raise InputError(
            f"{file} needs the columns file and class_index in its first line, and a row for each photograph"
        )
    photos = []
    for line, row in enumerate(rows, start=2):
        try:
            label = int(row["class_index"])
        except (TypeError, ValueError):
            raise InputError(f"{file} line {line}: class_index {row['class_index']!r} is not a number") from None
        if not 0 <= label < classes:
            raise InputError(
                f"{file} line {line}: class_index {label} out of range; the model has classes 0 to {classes - 1}"
            )
        if not row["file"]:
            raise InputError(f"{file} line {line}: the column file is empty")
        photos.append(Photo(file.parent / row["file"], label))
    outside = [photo.path for photo in photos if not photo.path.resolve().is_relative_to(file.parent.resolve())]
    if outside:
        say(f"{file} names {len(outside)} photographs outside of its folder, such as {outside[0]}")
    return photos


def _class_folders(folder: Path, categories: Sequence[str]) -> dict[Path, int]:
    """Find one folder per class, named by class or index; else as many folders as classes, in sorted order (ImageFolder).

    Other folders beside them are left out with a warning. Without any, all pictures are unlabelled, and a warning says so.

    Raises:
        InputError: no folder is of a class, and the pictures lie in such folders only.
    """
    folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and not _leads_back(p))
    by_name = {normal_name(name): i for i, name in reversed(list(enumerate(categories)))}
    by_name = {str(i): i for i in range(len(categories))} | by_name
    indices = [by_name.get(normal_name(_WNIDS.get(sub.name, sub.name))) for sub in folders]
    if None in indices and len(folders) == len(categories):
        indices = list(range(len(folders)))
    labels = {sub: label for sub, label in zip(folders, indices, strict=True) if label is not None}
    others = ", ".join(sub.name for sub in folders if sub not in labels)
    if others and labels:
        say(f"{folder}: {others} are left out, because they are not classes of this model")
    elif others and _pictures(folder.iterdir()):
        say(f"{folder}: {others} are not classes of this model, so all pictures there are unlabelled")
    elif others:
        raise InputError(
            f"{folder}: {others} are not classes of this model; use class names or indices, or a labels.csv"
        )
    return labels


def _leads_back(folder: Path) -> bool:
    """Tell whether a folder is a link to one that holds it."""
    return folder.is_symlink() and folder.resolve() in (folder.absolute().parent.resolve() / folder.name).parents


def _images_in(folder: Path) -> list[Path]:
    return _pictures(folder.rglob("*"))


def _pictures(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir())
