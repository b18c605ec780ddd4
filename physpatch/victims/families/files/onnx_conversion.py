"""An ONNX model as a torch network with gradients, by onnx2pytorch, kept only if it answers as ONNX Runtime does."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from calibration.common.errors import InputError, first_line
from physpatch.victims.families.files.onnx_input import OnnxInput
from physpatch.victims.networks.outputs import probe

_PROBE_PX = 224  # side of the images on which the two are compared, where the model takes any
_SEEDS = (0, 1)  # each a batch of random images
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4  # by which an answer may differ; float32 leaves about a hundredth of it


class UnfaithfulError(Exception):
    """A conversion failed, or answers otherwise than the model; the message continues "because"."""


class _Converted(nn.Module):
    """A converted model for images (B, 3, S, S), which answers by the names of its outputs where there are several."""

    def __init__(self, module: Any, takes: OnnxInput, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.takes, self.outputs = module, takes, outputs

    def forward(self, images: Tensor) -> Any:
        ordered = images.permute(0, 2, 3, 1) if self.takes.channels_last else images
        half = self.takes.kind is np.float16
        inputs = (ordered[0] if self.takes.single else ordered).to(torch.float16 if half else torch.float32)
        with warnings.catch_warnings():  # onnx2pytorch indexes as torch will no longer let it, which would fail visibly
            warnings.simplefilter("ignore", UserWarning)
            answers = self.module(inputs.contiguous())
        listed = [*answers] if isinstance(answers, (list, tuple)) else [answers]
        plain = [answer.float() if answer.is_floating_point() else answer for answer in listed]
        return plain[0] if len(plain) == 1 else dict(zip(self.outputs, plain, strict=True))


def converted(runtime: Any, file: Path, takes: OnnxInput, original: nn.Module, size: int | None) -> nn.Module:
    """Convert a model, and compare it with the original on random images.

    Args:
        runtime: the module onnxruntime.
        file: the model.
        takes: its input.
        original: answers as ONNX Runtime does, for images (B, 3, S, S).
        size: side of its input, in pixels; None for any.

    Raises:
        UnfaithfulError: it cannot be converted, answers otherwise, or gives no gradient.
    """
    try:
        import onnx
        from onnx.external_data_helper import load_external_data_for_model
        from onnx2pytorch import ConvertModel
    except ImportError as error:
        raise UnfaithfulError(f"a package is missing ({error}); pip install 'physpatch[onnx]'") from error
    side, count = size or _PROBE_PX, takes.batch or 2
    try:
        expected = [probe(original, side, count, seed) for seed in _SEEDS]
    except InputError as error:
        raise UnfaithfulError(f"there is nothing to compare a conversion to torch with: {error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = onnx.load_model_from_string(_folded(runtime, file))
            load_external_data_for_model(model, str(file.parent))  # from where ONNX Runtime did, which checked it
            outputs = tuple(output.name for output in model.graph.output)
            module = _Converted(ConvertModel(model), takes, outputs).eval().requires_grad_(False)
            answers = [probe(module, side, count, seed) for seed in _SEEDS]
            moved = _gradient(module, side, count)
        except InputError as error:
            why = first_line(error.__cause__) if isinstance(error.__cause__, Exception) else error
            raise UnfaithfulError(f"its conversion to torch does not run ({why})") from error
        except Exception as error:  # onnx2pytorch raises whatever torch does, for operators that it lacks
            raise UnfaithfulError(f"it does not convert to torch ({first_line(error)})") from error
    if not all(_same(original_answer, answer) for original_answer, answer in zip(expected, answers, strict=True)):
        raise UnfaithfulError("its conversion to torch answers otherwise than ONNX Runtime")
    if not moved:
        raise UnfaithfulError("its conversion to torch has no gradient")
    return module


def _folded(runtime: Any, file: Path) -> bytes:
    """Return the model with its constants folded: onnx2pytorch needs weights as such, not as the outputs of operators."""
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # keeps to ONNX's own operators
    with tempfile.TemporaryDirectory(prefix="physpatch-onnx-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _tensors(answer: Any) -> list[Tensor]:
    return [*answer.values()] if isinstance(answer, Mapping) else [answer]


def _same(expected: Any, answer: Any) -> bool:
    pairs = list(zip(_tensors(expected), _tensors(answer), strict=True))
    return all(a.shape == b.shape for a, b in pairs) and all(
        torch.allclose(a.double(), b.double(), rtol=_RELATIVE, atol=_ABSOLUTE) for a, b in pairs
    )


@torch.enable_grad()
def _gradient(module: nn.Module, side: int, count: int) -> bool:
    """Tell whether the answer has a finite gradient on the images that is not zero everywhere."""
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(_SEEDS[0])).requires_grad_()
    answers = [answer for answer in _tensors(module(images)) if answer.requires_grad]
    if not answers:
        return False
    (gradient,) = torch.autograd.grad(sum((answer.sum() for answer in answers), torch.zeros(())), images)
    return bool(gradient.isfinite().all()) and bool(gradient.abs().max() > 0)
