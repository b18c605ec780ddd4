"""``FILE.onnx`` by ONNX Runtime: predictions without gradients, on the CPU."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from calibration.common.errors import InputError, first_line
from calibration.common.extras import import_extra
from physpatch.victims.networks.outputs import FixedBatch, Predictions
from physpatch.victims.protocol import CatalogueEntry, FileFamily

SUFFIX = ".onnx"
_MOST_IMAGES = 32
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxModels(FileFamily):
    """Classifiers as ONNX files, images first or channels last."""

    name: ClassVar[str] = "onnx"
    summary: ClassVar[str] = "a classifier FILE.onnx, by ONNX Runtime: predictions only"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "the file itself (pip install 'physpatch[onnx]')"
        ready = find_spec("onnxruntime") is not None
        return [CatalogueEntry(f"FILE{SUFFIX}", "classify", source, ready, gradients=False, heat=False)]

    def knows(self, name: str) -> bool:
        return name.endswith(SUFFIX)

    def read(self, file: Path, trust: bool) -> tuple[nn.Module, int | None]:
        return _network(_session(file), file)


def _session(file: Path) -> Any:
    runtime = import_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors, which are raised, too
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception per status, without a common base of its own
        raise InputError(f"{file} is no ONNX model that can be loaded ({first_line(error, 200)})") from error


def _network(session: Any, file: Path) -> tuple[nn.Module, int | None]:
    """Make a network of a session; also return the side of the image that it accepts, None for any.

    Raises:
        InputError: it takes something else than one batch of square images of floats.
    """
    inputs = session.get_inputs()
    shape = tuple(inputs[0].shape)
    kind = _TYPES.get(inputs[0].type)
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    sides = shape[1:3] if channels_last else shape[2:4]
    if len(inputs) != 1 or kind is None or len(shape) != 4 or 3 not in (shape[1], shape[3]) or sides[0] != sides[1]:
        found = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise InputError(f"{file}: expected one batch of images of floats, (B, 3, S, S) or (B, S, S, 3), got {found}")

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        ordered = images.transpose(0, 2, 3, 1) if channels_last else images
        (scores, *_) = session.run(None, {inputs[0].name: np.ascontiguousarray(ordered.astype(kind, copy=False))})
        return np.asarray(scores, np.float32)

    batch = shape[0] if isinstance(shape[0], int) else None
    network = Predictions(predict, batch or _MOST_IMAGES)
    return (FixedBatch(network, batch) if batch else network), (sides[0] if isinstance(sides[0], int) else None)
