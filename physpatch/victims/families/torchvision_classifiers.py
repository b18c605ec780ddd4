"""Torchvision's classifiers by name, with torchvision's own download and cache, or with a weights file."""

import sys
import urllib.error
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torchvision import models

from calibration.common.errors import InputError, UnavailableError
from calibration.common.files import file_sha256
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.freezing import freeze
from physpatch.victims.labels import numbered_categories
from physpatch.victims.networks.cam_layers import find_cam_layer
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo
from physpatch.victims.weights import read_state, unfitting

_SHOWN = ("resnet50", "resnet18", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vgg16", "densenet121")


class TorchvisionClassifiers(VictimFamily):
    """The classifiers of ``torchvision.models``."""

    name: ClassVar[str] = "torchvision-classifiers"
    summary: ClassVar[str] = "any torchvision classifier, by its name"

    def catalogue(self) -> list[CatalogueEntry]:
        return [self._entry(name) for name in _SHOWN]

    def knows(self, name: str) -> bool:
        return name in models.list_models(module=models)

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        preset = default_weights(name)
        file = weights or download_weights(name, preset)
        state = read_state(file, trust)
        network, classes = _build(name, file, state, preset.transforms().crop_size[0])
        transform = preset.transforms()
        preprocessing = Preprocessing(
            transform.crop_size[0],
            transform.resize_size[0],
            tuple(transform.mean),
            tuple(transform.std),
            interpolation=transform.interpolation.value,
        )
        network = freeze(network, preprocessing.size)
        source = f"torchvision {preset}" if weights is None else str(weights)
        info = WeightsInfo(source, file_sha256(file))
        published = preset.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1") if weights is None else None
        cam = find_cam_layer(network, preprocessing.size)
        return Victim(
            name,
            "classify",
            numbered_categories(classes),
            preprocessing,
            network,
            cam.layer,
            info,
            published_accuracy=None if published is None else published / 100,
            cam_reshape=cam.reshape,
        )

    def cached(self, name: str) -> bool:
        """Tell whether the published weights are in the cache."""
        return cache_file(default_weights(name)).is_file()

    def _entry(self, name: str) -> CatalogueEntry:
        file = cache_file(default_weights(name))
        ready = file.is_file()
        return CatalogueEntry(
            name, "classify", str(file) if ready else "download by torchvision, or --weights FILE", ready
        )


def default_weights(name: str) -> Any:
    """Return torchvision's recommended weights of a model."""
    return models.get_model_weights(name).DEFAULT  # IMAGENET1K_V2 for resnet50


def cache_file(preset: Any) -> Path:
    """Return the path at which torchvision caches these weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(preset.url).name


def download_weights(name: str, preset: Any) -> Path:
    """Download weights into torchvision's cache unless they are there, and return the cached file.

    Raises:
        UnavailableError: the download is impossible or failed; the message says what to do.
    """
    file = cache_file(preset)
    if file.is_file():
        return file
    cure = (
        f"download {preset.url} on another machine and copy it to {file}, give --weights FILE, or use --model "
        "efficientnet_lite0 (embedded)"
    )
    if not reachable(preset.url):
        raise UnavailableError(f"the weights of {name} are not cached and their host does not answer; {cure}")
    try:
        with stall_limit():
            preset.get_state_dict(progress=sys.stderr.isatty(), check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UnavailableError(f"the download of {name}'s weights failed ({error}); {cure}") from error
    return file


def _build(name: str, file: Path, state: dict[str, torch.Tensor], size: int) -> tuple[nn.Module, int]:
    """Build the network with these weights; its number of classes follows from the weights."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):  # their published weights expect the older normalisation
        options = {"aux_logits": False, "init_weights": False, "transform_input": True}
    elif name.startswith("vit_"):
        options = {"image_size": size}
    with torch.device("meta"):
        head_bias = list(models.get_model(name, weights=None, **options).state_dict())[-1]  # the last layer's
    try:
        classes = len(state[head_bias])
        network = models.get_model(name, weights=None, num_classes=classes, **options)
        network.load_state_dict({k: v for k, v in state.items() if not k.lower().startswith("aux")})
    except KeyError as error:
        raise InputError(f"{file} does not hold weights for {name}: it has no {head_bias}") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{file} does not hold weights for {name}: {unfitting(error)}") from error
    return network, classes
