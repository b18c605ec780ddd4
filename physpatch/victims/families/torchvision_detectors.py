"""Torchvision's detectors by name, with torchvision's own download and cache, or with a weights file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet

from calibration.common.errors import InputError
from calibration.common.files import file_sha256
from physpatch.victims.detector import Detector
from physpatch.victims.families.torchvision_classifiers import cache_file, default_weights, download_weights
from physpatch.victims.networks.cam_layers import find_cam_layer
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo
from physpatch.victims.weights import read_state, unfitting

_SHOWN = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large")
_SIZES = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320, "fasterrcnn_mobilenet_v3_large_320_fpn": 320}
_SIZE = 640
_NOT_BOXES_ONLY = ("maskrcnn", "keypointrcnn")  # training them needs more than boxes, and they are slower for no gain
# The networks leave boxes of lower confidence out of their answer; this low, hiding a box has a gradient until the end.
_LEAST_SCORE = 0.01
_CLASS_LAYERS = ("box_predictor.cls_score", "head.classification_head")  # hold the bias whose length gives the classes


@dataclass(frozen=True, eq=False)
class TorchvisionDetector(Detector):
    """A network that suppresses overlapping boxes itself; gradients flow through the remaining ones."""

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        answers: Any = self.raw(images)
        most = max(1, *(len(answer["scores"]) for answer in answers))
        boxes = torch.stack([F.pad(answer["boxes"], (0, 0, 0, most - len(answer["boxes"]))) for answer in answers])
        classes = len(self.categories)
        one_hot = [F.one_hot(a["labels"].clamp(max=classes - 1), classes) * a["scores"][:, None] for a in answers]
        return boxes, torch.stack([F.pad(scores, (0, 0, 0, most - len(scores))) for scores in one_hot])


class TorchvisionDetectors(VictimFamily):
    """The detectors of ``torchvision.models.detection``."""

    name: ClassVar[str] = "torchvision-detectors"
    summary: ClassVar[str] = "any torchvision detector, by its name"

    def catalogue(self) -> list[CatalogueEntry]:
        return [self._entry(name) for name in _SHOWN]

    def knows(self, name: str) -> bool:
        return name in models.list_models(module=detection) and not name.startswith(_NOT_BOXES_ONLY)

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        preset = default_weights(name)
        file = weights or download_weights(name, preset)
        network, classes = _build(name, file, read_state(file, trust))
        named = tuple(preset.meta["categories"])
        categories = named if len(named) == classes else tuple(f"class {i}" for i in range(classes))
        network = network.eval().requires_grad_(False)
        size = _SIZES.get(name, _SIZE)
        plain = Preprocessing(
            size, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        )  # these networks normalise their input themselves
        source = f"torchvision {preset}" if weights is None else str(weights)
        cam_layer = find_cam_layer(_trunk(network.backbone), size).layer
        return TorchvisionDetector(
            name, "detect", categories, plain, network, cam_layer, WeightsInfo(source, file_sha256(file))
        )

    def _entry(self, name: str) -> CatalogueEntry:
        file = cache_file(default_weights(name))
        ready = file.is_file()
        return CatalogueEntry(
            name, "detect", str(file) if ready else "download by torchvision, or --weights FILE", ready
        )


def _trunk(backbone: Any) -> nn.Module:
    """Return the part of a backbone on whose last layer boxes of every size depend: each later map serves boxes of one size."""
    if isinstance(backbone, BackboneWithFPN):
        return backbone.body  # its last map goes down the pyramid to all others
    first = backbone.features[0] if isinstance(backbone, SSDLiteFeatureExtractorMobileNet) else backbone.features
    trunk: nn.Module = first  # the finest map of an SSD, from which the coarser ones are computed
    return trunk


def _build(name: str, file: Path, state: dict[str, Tensor]) -> tuple[Any, int]:
    """Build the network with these weights; its number of classes, background included, follows from the weights."""
    published = len(default_weights(name).meta["categories"])
    with torch.device("meta"):
        usual = models.get_model(name, weights=None, weights_backbone=None, num_classes=published).state_dict()
    bias = [key for key in usual if key.endswith("bias") and any(layer in key for layer in _CLASS_LAYERS)][-1]
    try:
        classes = len(state[bias]) * published // len(usual[bias])
        network: nn.Module = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes)
        network.load_state_dict(state)
    except KeyError as error:
        raise InputError(f"{file} does not hold weights for {name}: it has no {bias}") from error
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{file} does not hold weights for {name}: {unfitting(error)}") from error
    head: Any = network.roi_heads if hasattr(network, "roi_heads") else network
    head.score_thresh = _LEAST_SCORE
    return network, classes
