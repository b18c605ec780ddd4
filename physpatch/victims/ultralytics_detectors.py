"""YOLO detectors of ultralytics, by name or file, as differentiable victims and as box finders.

The ``nn.Module`` is called, not the predictor: the predictor gives no gradient (ultralytics #8904, #10071, #17101).
"""

import atexit
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.errors import InputError, UnavailableError
from calibration.files import file_sha256
from physpatch.victims.base import (
    DETECTION_THRESHOLD,
    CatalogueEntry,
    Detection,
    Preprocessing,
    Victim,
    WeightsInfo,
    freeze,
)
from physpatch.victims.download import reachable, stall_limit
from physpatch.victims.weights import TRUST_CURE

_SHOWN = ("yolov8n", "yolov8s", "yolov8m", "yolo11n")
_PREFIXES = ("yolov8", "yolov9", "yolo11", "yolo12", "yolo26", "yolov5")
_ASSETS_URL = "https://github.com/ultralytics/assets/releases"
_PROBE_SIZE = 64  # pixels; any multiple of the network's largest stride does
_SURE = 1e-6  # probabilities are kept this far from 0 and 1 before they are turned into logits


@dataclass(frozen=True, eq=False)
class YoloVictim(Victim):
    """A detector that also finds boxes in whole frames."""

    def scores(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the most confident box of each class."""
        best = _predictions(self.raw(images))[:, 4:].amax(dim=2)
        return torch.logit(best, eps=_SURE)

    @torch.no_grad()
    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Boxes in a (H, W, 3) RGB uint8 frame of any size, most confident first; letterboxed as in prediction."""
        _import_ultralytics()
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils.nms import non_max_suppression
        from ultralytics.utils.ops import scale_boxes

        size = self.preprocessing.size
        boxed = LetterBox((size, size), auto=False)(image=frame)
        batch = torch.from_numpy(np.ascontiguousarray(boxed)).to(self.device).permute(2, 0, 1)[None] / 255
        found = non_max_suppression(_predictions(self.raw(batch)), conf_thres=DETECTION_THRESHOLD)[0]
        boxes = scale_boxes((size, size), found[:, :4], frame.shape[:2]).tolist()
        return [
            Detection(int(index), float(score), tuple(box))
            for box, (score, index) in zip(boxes, found[:, 4:6].tolist(), strict=True)
        ]


class UltralyticsDetectors:
    """The family: names such as yolov8n, or any detection checkpoint ``FILE.pt``."""

    def catalogue(self) -> list[CatalogueEntry]:
        return [
            CatalogueEntry(
                name, "detect", str(file) if file else "download by ultralytics, or a FILE.pt", file is not None
            )
            for name in _SHOWN
            for file in [_local_file(name)]
        ]

    def knows(self, name: str) -> bool:
        return name.endswith(".pt") or name.startswith(_PREFIXES)

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        file = weights or _local_file(name) or _download(name)
        network = _read_network(file, trust)
        names = network.names
        categories = tuple(names[i] for i in range(len(names)))
        size = int(network.args.get("imgsz", 640)) if isinstance(getattr(network, "args", None), dict) else 640
        preprocessing = Preprocessing(size, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        # The last block before the detection head: the coarsest features, with the widest view.
        cam_layer = network.model[-2]
        info = WeightsInfo(str(file), file_sha256(file))
        return YoloVictim(
            Path(name).stem, "detect", categories, preprocessing, freeze(network, _PROBE_SIZE), cam_layer, info
        )


def _predictions(output: Any) -> Tensor:
    """The decoded predictions (B, 4 + K, anchors), whether or not the head's training output stands beside them."""
    return output[0] if isinstance(output, (tuple, list)) else output


@cache
def _import_ultralytics() -> Any:
    """Import ultralytics with reports, automatic installs and chatter off, its settings kept out of the user's home."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="physpatch-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = folder
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")  # it asks the network whether it is there, on import
    os.environ.setdefault("YOLO_VERBOSE", "false")
    import ultralytics

    ultralytics.settings.update({"sync": False})
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    return ultralytics


def _weights_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _local_file(name: str) -> Path | None:
    """The checkpoint where it already lies: the path itself, the working folder, or the cache beside torchvision's."""
    filename = name if name.endswith(".pt") else f"{name}.pt"
    return next((p for p in (Path(filename), _weights_folder() / filename) if p.is_file()), None)


def _download(name: str) -> Path:
    if name.endswith(".pt"):
        raise InputError(f"no weights file {name}")
    file = _weights_folder() / f"{name}.pt"
    cure = f"download {name}.pt elsewhere to {file}, or give its path as the model"
    if not reachable(_ASSETS_URL):
        raise UnavailableError(f"the weights of {name} are not here and their host does not answer; {cure}")
    _import_ultralytics()
    from ultralytics.utils.downloads import attempt_download_asset

    try:
        with stall_limit():
            found = Path(attempt_download_asset(file))
    except Exception as error:  # ultralytics raises plain Exceptions of many kinds
        raise UnavailableError(f"the download of {name} failed ({error}); {cure}") from error
    if not found.is_file():
        raise UnavailableError(f"ultralytics offers no weights called {name}; {cure}")
    return found


def _read_network(file: Path, trust: bool) -> Any:
    """The DetectionModel in a checkpoint, read with the restricted loader: no pickled code is run without ``trust``."""
    if not file.is_file():
        raise InputError(f"no weights file {file}")
    _import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load

    try:
        checkpoint, _ = torch_safe_load(file, safe_only=not trust)
    except Exception as error:  # TypeError, UnpicklingError, RuntimeError …: each means the same to the user
        raise InputError(
            f"{file} is not an ultralytics checkpoint that can be loaded{'' if trust else ' safely'} ({_first_words(error)})"
            + ("" if trust else f"; {TRUST_CURE}")
        ) from error
    network = checkpoint.get("ema") or checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(network, DetectionModel):
        raise InputError(
            f"{file} holds no detection model; classification and segmentation checkpoints are not supported"
        )
    network = network.float()
    network.args = checkpoint.get("train_args") or {}
    return network


def _first_words(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__


FAMILY = UltralyticsDetectors()
