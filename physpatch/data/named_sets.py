"""The sets of photographs that have names: ``samples``, from the wheels of packages, and ``imagenette``."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from calibration.common.errors import UnavailableError
from physpatch.data.formats import Item
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.labels import imagenet_categories

_BACKGROUNDS = {  # unlabelled photographs in the wheels of packages, by the package's folder that holds them
    "skimage/data": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "ultralytics/assets": ("bus.jpg", "zidane.jpg"),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
    "matplotlib/mpl-data/sample_data": ("grace_hopper.jpg",),
}
_IMAGENETTE_URL = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"


def samples(categories: Sequence[str]) -> list[Item]:
    """List the labelled ImageNet photographs in foolbox's wheel, and unlabelled ones in those of other packages.

    The labels are left out for a network with classes other than ImageNet's.
    """
    labelled = sorted((package_folder("foolbox") / "data").glob("imagenet_*_*.jpg"))
    imagenet = tuple(categories) == imagenet_categories()
    photos = [Item(path, int(path.stem.split("_")[2]) if imagenet else None) for path in labelled]
    for folder, names in _BACKGROUNDS.items():
        package, _, inside = folder.partition("/")
        place = package_folder(package) / inside
        photos += [Item(place / name) for name in names if (place / name).is_file()]
    return photos


def package_folder(package: str) -> Path:
    """Find a package's folder without importing the package.

    Raises:
        UnavailableError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UnavailableError(
            f"the package {package}, whose files are needed here, is not installed; pip install {package}"
        )
    return Path(spec.origin).parent


def imagenette() -> Path:
    """Return the folder of imagenette's validation photographs, after downloading them where they are not cached.

    Raises:
        UnavailableError: they cannot be downloaded.
    """
    from torchvision.datasets import Imagenette

    root, name = Path(torch.hub.get_dir()) / "datasets", "imagenette2-320"
    folder = root / name
    if not (folder / "val").is_dir():
        cure = f"unpack {_IMAGENETTE_URL} into {root}, or use --data samples (embedded)"
        if not reachable(_IMAGENETTE_URL):
            raise UnavailableError(f"imagenette is not cached and its host does not answer; {cure}")
        try:
            root.mkdir(parents=True, exist_ok=True)
            # Unpacked elsewhere and renamed: what an interruption leaves would look like all of it.
            with stall_limit(), TemporaryDirectory(prefix=f"{name}-", dir=root) as unpacked:
                Imagenette(unpacked, split="val", size="320px", download=True)
                (Path(unpacked) / name).rename(folder)
        except (OSError, RuntimeError) as error:
            raise UnavailableError(f"the download of imagenette failed ({error}); {cure}") from error
    return folder / "val"
