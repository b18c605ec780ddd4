"""``FILE.onnx``: with gradients where it converts to torch faithfully, or else predictions by ONNX Runtime, on the CPU."""

import hashlib
import os
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.common.errors import InputError, first_line
from calibration.common.extras import import_extra
from calibration.common.files import file_sha256
from physpatch.victims.families.base import FileFamily, FoundNetwork
from physpatch.victims.families.files.export_notes import ExportNotes
from physpatch.victims.families.files.onnx_conversion import UnfaithfulError, converted
from physpatch.victims.families.files.onnx_input import OnnxInput
from physpatch.victims.networks.gradients import without_gradients
from physpatch.victims.networks.outputs import Predictions
from physpatch.victims.protocol import CatalogueEntry

SUFFIX = ".onnx"
_MOST_IMAGES = 32
_LONGEST = 300  # characters of an error of ONNX Runtime
# Of such an error: the status, and places in its code.
_CHATTER = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |\b\w+\.(cc|h):\d+ \w+ ")


class OnnxModels(FileFamily):
    """Classifiers and detectors as ONNX files, images first or channels last."""

    name: ClassVar[str] = "onnx"
    summary: ClassVar[str] = "a classifier or detector FILE.onnx: gradients where it converts, or else predictions only"

    def catalogue(self) -> list[CatalogueEntry]:
        source = "the file itself; gradients and heat where it converts to torch (pip install 'physpatch[onnx]')"
        return [CatalogueEntry(f"FILE{SUFFIX}", "either", source, find_spec("onnxruntime") is not None)]

    def knows(self, name: str) -> bool:
        return name.lower().endswith(SUFFIX)

    def read(self, file: Path, trust: bool, side: int | None = None) -> FoundNetwork:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # or, from 1.29 on, it reports to its maker; read when it is imported
        runtime = import_extra("onnxruntime", "onnx")
        session = _session(runtime, file)
        takes = OnnxInput.of(session, file)
        _require_tensors(session, file)
        notes = ExportNotes.of(session.get_modelmeta().custom_metadata_map, file)
        network = Predictions(lambda images: _predict(session, takes, images))
        categories, plain = notes.categories, notes.plain
        size = takes.size or notes.size
        make = partial(FoundNetwork, size=size, usual_size=notes.usual_size, batch=takes.batch)
        try:
            module = converted(runtime, file, takes, network, size or side or notes.usual_size)
        except UnfaithfulError as why:
            remark = without_gradients(str(why))
            most = None if takes.batch else _MOST_IMAGES
            return make(network, most=most, categories=categories, plain=plain, differentiable=False, remark=remark)
        return make(module, categories=categories, plain=plain)

    def digest(self, file: Path) -> str:
        beside = _weights_beside(file)
        if not beside:
            return file_sha256(file)
        return hashlib.sha256(" ".join(map(file_sha256, (file, *beside))).encode()).hexdigest()


def _weights_beside(file: Path) -> list[Path]:
    """List the files in which a model keeps weights, as ONNX Runtime has found them in its folder."""
    try:
        import onnx
    except ImportError:
        return []
    tensors = onnx.load(file, load_external_data=False).graph.initializer
    named = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    return [file.parent / name for name in sorted(named)]


def _session(runtime: Any, file: Path) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors, which are raised, too
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception per status, without a common base of its own
        words = _CHATTER.sub("", first_line(error, _LONGEST))
        if "external" in words.lower() or "initializer" in words:
            raise InputError(
                f"{file} keeps weights in another file, which must lie in its folder, whole and under its name ({words})"
            ) from error
        raise InputError(f"{file} is no ONNX model that can be loaded ({words})") from error


def _require_tensors(session: Any, file: Path) -> None:
    """Check that a model answers with tensors of numbers.

    Raises:
        InputError: it answers with a sequence or a map, as scikit-learn's exports do, or with texts.
    """
    for output in session.get_outputs():
        if not output.type.startswith("tensor(") or output.type == "tensor(string)":
            raise InputError(
                f"{file}: expected tensors of numbers as its answer, got {output.name} of type {output.type}; export it "
                "without a map of names (zipmap=False)"
            )


def _predict(session: Any, takes: OnnxInput, images: NDArray[np.float32]) -> NDArray[Any] | dict[str, NDArray[Any]]:
    ordered = images.transpose(0, 2, 3, 1) if takes.channels_last else images
    inputs = np.ascontiguousarray((ordered[0] if takes.single else ordered).astype(takes.kind, copy=False))
    answers = session.run(None, {takes.name: inputs})
    plain = [answer.astype(np.float32) if answer.dtype.kind == "f" else answer for answer in answers]
    if len(plain) == 1:
        return np.asarray(plain[0])
    return {output.name: answer for output, answer in zip(session.get_outputs(), plain, strict=True)}
