"""YOLO and RT-DETR detectors of ultralytics, by name or file.

The ``nn.Module`` is called instead of the predictor, which has no gradient (ultralytics #8904, #10071, #17101).
"""

import atexit
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from calibration.common.errors import InputError, UnavailableError
from calibration.common.files import file_sha256
from physpatch.victims.detector import Detector, TableDetector
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.freezing import freeze
from physpatch.victims.letterbox import STRIDE, Letterbox
from physpatch.victims.networks.box_tables import BoxTable, box_form
from physpatch.victims.networks.outputs import probe
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo
from physpatch.victims.weights import TRUST_CURE

_SHOWN = ("yolov8n", "yolov8s", "yolov8m", "yolo11n")
_PREFIXES = ("yolov3", "yolov5", "yolov8", "yolov9", "yolov10", "yolo11", "yolo12", "yolo26", "rtdetr")
_ASSETS_URL = "https://github.com/ultralytics/assets/releases"
PROBE_PX = 64  # any multiple of the network's largest stride will do
INPUT_PX = 640  # side of the input, where the checkpoint does not record it
_RTDETR = "RTDETRDetectionModel"  # whose boxes are shares of the image
_END_TO_END = 6  # numbers per box in the output of a network without suppression


@dataclass(frozen=True, eq=False)
class YoloVictim(Detector):
    """A YOLO network of ultralytics, v3 to 26.

    Attributes:
        stride: of its coarsest boxes, of which the sides of its input are multiples, in pixels.
    """

    stride: int = STRIDE

    def letterboxed(self, frame: NDArray[np.uint8]) -> Letterbox:
        return Letterbox.of(frame, self.preprocessing.size, stride=self.stride)

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output: Any = self.raw(images)
        decoded: Tensor = (
            output if hasattr(output, "shape") else output[0]
        )  # it may be accompanied by the training output
        if decoded.shape[-1] == _END_TO_END and decoded.shape[1] != 4 + len(self.categories):
            return self._end_to_end(decoded)
        middle, extent = decoded[:, :2], decoded[:, 2:4] / 2
        boxes = torch.cat([middle - extent, middle + extent], dim=1)
        return boxes.transpose(1, 2), decoded[:, 4:].transpose(1, 2)

    def _end_to_end(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Split the output (B, A, 6) of a network without suppression (v10, 26): boxes, confidence, class."""
        classes = decoded[..., 5].detach().long().clamp(0, len(self.categories) - 1)
        one_hot = F.one_hot(classes, len(self.categories)).to(decoded)
        return decoded[..., :4], decoded[..., 4:5] * one_hot


class UltralyticsDetectors(VictimFamily):
    """Ultralytics' detectors: names such as yolov8n, or any detection checkpoint ``FILE.pt``."""

    name: ClassVar[str] = "ultralytics"
    summary: ClassVar[str] = "ultralytics detectors, by name or FILE.pt"

    def catalogue(self) -> list[CatalogueEntry]:
        return [
            CatalogueEntry(
                name, "detect", str(file) if file else "download by ultralytics, or a FILE.pt", file is not None
            )
            for name in _SHOWN
            for file in [_local_file(name)]
        ]

    def knows(self, name: str) -> bool:
        return name.lower().endswith(".pt") or name.startswith(_PREFIXES)

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        if weights is not None and name.lower().endswith(".pt"):
            raise InputError(f"{name} holds its own weights; leave out --weights")
        file = weights or _local_file(name) or _download(name)
        network = _read_network(file, trust)
        names = network.names
        categories = tuple(names[i] for i in range(len(names)))
        size = (
            int(network.args.get("imgsz", INPUT_PX)) if isinstance(getattr(network, "args", None), dict) else INPUT_PX
        )
        preprocessing = Preprocessing(size, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        info = WeightsInfo(str(file), file_sha256(file))
        if type(network).__name__ == _RTDETR:
            form = box_form(probe(network.eval(), size, 1), len(categories))
            table = freeze(BoxTable(network, len(categories), form), size)
            return TableDetector(Path(name).stem, "detect", categories, preprocessing, table, cam_layer(network), info)
        return YoloVictim(
            Path(name).stem,
            "detect",
            categories,
            preprocessing,
            freeze(network, PROBE_PX),
            cam_layer(network),
            info,
            stride=max(STRIDE, int(network.stride.max())),
        )


def cam_layer(network: Any) -> nn.Module:
    """Find the block where the neck first joins coarse and fine features; without such a neck, the one before the head.

    Boxes of every size depend on it, whereas each of the head's inputs serves boxes of one size, so that the heat of all
    others would be zero. It has twice the resolution of the backbone's output, and so follows an object more closely.
    """
    blocks: list[nn.Module] = list(network.model)
    joints = [number for number, block in enumerate(blocks) if type(block).__name__ == "Concat"]
    return blocks[joints[0] + 1] if joints else blocks[-2]


@cache
def import_ultralytics() -> Any:
    """Import ultralytics without reports, automatic installs and chatter, and keep its settings out of the user's home.

    Ultralytics replaces Pillow's ``Image.open`` by its own, which fails differently on a broken file: this is undone.
    """
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="physpatch-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")  # otherwise the import probes the network
    os.environ.setdefault("YOLO_VERBOSE", "false")
    pillows_own = Image.open
    import ultralytics

    Image.open = pillows_own
    ultralytics.settings.update({"sync": False})
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    return ultralytics


def _weights_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _local_file(name: str) -> Path | None:
    """Find a checkpoint on disk: the path itself, the working folder, or the cache beside torchvision's."""
    filename = name if name.lower().endswith(".pt") else f"{name}.pt"
    return next((p for p in (Path(filename), _weights_folder() / filename) if p.is_file()), None)


def _download(name: str) -> Path:
    if name.lower().endswith(".pt"):
        raise InputError(f"no weights file {name}")
    file = _weights_folder() / f"{name}.pt"
    cure = f"download {name}.pt on another machine and copy it to {file}, or give its path as the model"
    if not reachable(_ASSETS_URL):
        raise UnavailableError(f"the weights of {name} are not cached and their host does not answer; {cure}")
    import_ultralytics()
    from ultralytics.utils.downloads import attempt_download_asset

    try:
        with stall_limit():
            downloaded = Path(attempt_download_asset(file))
    except Exception as error:  # ultralytics raises plain Exceptions of many kinds
        raise UnavailableError(f"the download of {name} failed ({error}); {cure}") from error
    if not downloaded.is_file():
        raise UnavailableError(f"ultralytics offers no weights called {name}; {cure}")
    return downloaded


def _read_network(file: Path, trust: bool) -> Any:
    """Read the DetectionModel of a checkpoint; the restricted loader runs no pickled code without ``trust``."""
    if not file.is_file():
        raise InputError(f"no weights file {file}")
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel, torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(file, safe_only=not trust)
    except Exception as error:  # TypeError, UnpicklingError, RuntimeError …: each means the same to the user
        raise InputError(
            f"{file} is not an ultralytics checkpoint that can be loaded{'' if trust else ' safely'}: it is damaged, of "
            f"another kind, or holds more than a known network{'' if trust else f'; {TRUST_CURE}'}"
        ) from error
    network: Any = checkpoint.get("ema") or checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if type(network) not in (DetectionModel, RTDETRDetectionModel):  # the models of other tasks derive from the first
        if not isinstance(network, torch.nn.Module):
            raise InputError(
                f"{file} holds no network; if it holds weights, name the architecture that they are of, and --weights {file}"
            )
        raise InputError(
            f"{file} holds no detection model but {type(network).__name__}; give a detection checkpoint of YOLO or RT-DETR, "
            "such as yolov8n.pt"
        )
    network = network.float()
    network.args = checkpoint.get("train_args") or {}
    return network
