"""The choice of a layer for Grad-CAM, and the form of its output as a map, for convolutions and for transformers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError, unknown_name
from physpatch.victims.own_code import in_one_line

Reshape = Callable[[Tensor], Tensor]  # a layer's output to (B, C, h, w)
_USUAL_STRIDE = 16  # of the layer for a detector's heat
_MOST_PREFIXES = 5  # class token and up to four registers before those of an image's patches


@dataclass(frozen=True)
class CamLayer:
    """A layer for Grad-CAM; ``reshape`` turns its output into (B, C, h, w), None where it is that already."""

    layer: nn.Module
    reshape: Reshape | None = None


class SearchedLayer:
    """A layer for Grad-CAM that is searched when it is first wanted, once for all victims that share it."""

    def __init__(self, search: Callable[[], CamLayer | None]) -> None:
        self._search = search

    @cached_property
    def found(self) -> CamLayer | None:
        """Return the layer; None where there is none, or where the network fails in the search."""
        try:
            return self._search()
        except InputError:
            return None


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a network's parameters; the CPU for one that has none here."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def channels_first(output: Tensor) -> Tensor:
    """Turn (B, h, w, C), as in Swin, into (B, C, h, w)."""
    return output.permute(0, 3, 1, 2)


def map_of_tokens(output: Tensor) -> Tensor:
    """Turn tokens (B, N, C), as in ViT, into (B, C, h, w), without those that come before the tokens of the patches."""
    side = isqrt(output.shape[1])
    patches = output[:, output.shape[1] - side * side :]
    return patches.transpose(1, 2).unflatten(2, (side, side))


def find_cam_layer(module: nn.Module, size: int) -> CamLayer:
    """Find the layer that Grad-CAM is usually run on: the last one used exactly once whose output is a spatial map.

    Tokens of a transformer count as a map where the answer depends on those of the patches. Behind the last attention of a
    network that reads its class token it does not, so the layer before that attention is found, as pytorch-grad-cam
    recommends for ViT.

    Args:
        module: the network.
        size: side, in pixels, of an image that it accepts.

    Raises:
        InputError: no such layer.
    """
    candidates = list(_candidates(module, size))
    if not candidates:
        raise InputError("this network has no spatial feature map for Grad-CAM")
    if candidates[-1].reshape is not map_of_tokens:
        return candidates[-1]
    moving = _with_gradient(module, size, candidates)
    return moving[-1] if moving else candidates[-1]


def find_shared_layer(detector: nn.Module, size: int) -> CamLayer | None:
    """Find the layer for heat of a detector that answers with a table (B, A, 4 + K): boxes of every size depend on it.

    Each of the head's inputs serves boxes of one size, so that the heat of all others would be zero. Of the layers before, the
    last one at a sixteenth of the image's side is chosen, or else the last one: as
    :func:`physpatch.victims.families.ultralytics_detectors.cam_layer` chooses by the network's structure.

    Args:
        detector: the network.
        size: side, in pixels, of an image that it accepts.

    Returns:
        The layer; None where nothing is found in noise, or where there is no such layer.

    Raises:
        InputError: the detector fails on these images.
    """
    candidates = [c for c in _candidates(detector, size) if c.reshape is not map_of_tokens]  # which tables look like
    outputs: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            outputs[layer] = output

    image = _noise(detector, size)
    with _hooked(detector, keep, [candidate.layer for candidate in candidates]), torch.enable_grad():
        with in_one_line("the detector fails on noise"):
            (table,) = detector(image * 1)
        scores = table[:, 4:].amax(dim=1)
        box_rows = scores.detach().nonzero()[:, 0]
        layers = [candidate for candidate in candidates if candidate.layer in outputs]
        if not layers or not scores.requires_grad or not len(box_rows):
            return None
        areas = (table[box_rows, 2:4] - table[box_rows, :2]).detach().prod(dim=1)
        rows = box_rows[areas.argsort()[[0, len(box_rows) // 2, -1]]]
        for row in rows.tolist():
            slopes = torch.autograd.grad(
                scores[row], [outputs[c.layer] for c in layers], retain_graph=True, allow_unused=True
            )
            layers = [c for c, slope in zip(layers, slopes, strict=True) if slope is not None and bool(slope.any())]
            if not layers:
                return None
    coarse = [c for c in layers if _side(outputs[c.layer], c) <= size / _USUAL_STRIDE]
    return (coarse or layers)[-1]


def _noise(module: nn.Module, size: int) -> Tensor:
    """Make an image (1, 3, size, size) with a gradient, where the network is."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    return image.to(device_of(module)).requires_grad_()


def _side(output: Tensor, candidate: CamLayer) -> int:
    return (output if candidate.reshape is None else candidate.reshape(output)).shape[-1]


def list_cam_layers(module: nn.Module, size: int) -> dict[str, CamLayer]:
    """List the layers that :func:`named_cam_layer` accepts, by name, in the order in which they run."""
    names = {layer: name for name, layer in module.named_modules()}
    return {names[candidate.layer]: candidate for candidate in _candidates(module, size)}


def named_cam_layer(module: nn.Module, size: int, name: str) -> CamLayer:
    """Find a layer by its name in ``module.named_modules()``.

    Raises:
        InputError: no such layer, or its output is no spatial map.
    """
    layers = list_cam_layers(module, size)
    if not layers:
        raise InputError(
            f"there is no layer {name!r} for Grad-CAM: no layer of this network can be seen to give a map, as in TorchScript; "
            "export it as .pt2 for heat, or leave out the layer"
        )
    if name in layers:
        return layers[name]
    if name == "auto":
        raise InputError(
            "the layer for Grad-CAM is found without --cam-layer; `physpatch models --check` measures how faithful it and "
            "others are, and names the best for --cam-layer"
        )
    if name in dict(module.named_modules()):
        raise InputError(f"the output of layer {name!r} is no spatial map; among those that have one: {_last(layers)}")
    raise unknown_name("layer", name, layers)


def _last(names: Iterable[str]) -> str:
    return ", ".join(list(names)[-5:])


def _candidates(module: nn.Module, size: int) -> Iterator[CamLayer]:
    """Yield the layers that ran once and gave a map, in the order in which they ran."""
    shapes: list[tuple[nn.Module, torch.Size]] = []
    calls: Counter[nn.Module] = Counter()

    def note(layer: nn.Module, _inputs: object, output: object) -> None:
        calls[layer] += 1
        if isinstance(output, Tensor):
            shapes.append((layer, output.shape))

    with _hooked(module, note), torch.no_grad(), in_one_line(f"the network fails on a black image of {size} pixels"):
        module(torch.zeros(1, 3, size, size, device=device_of(module)))
    tokens = [shape for _, shape in shapes if _are_tokens(shape)]
    numbers = {shape[1] for shape in tokens}
    width = Counter(shape[2] for shape in tokens).most_common(1)  # without queries, keys and hidden layers
    for layer, shape in shapes:
        if calls[layer] != 1:
            continue
        if len(shape) == 4 and shape[2] == shape[3] > 1 and shape[3] not in numbers:  # or it is a table of attention
            yield CamLayer(layer)
        elif len(shape) == 4 and shape[1] == shape[2] > 1:
            yield CamLayer(layer, channels_first)
        elif _are_tokens(shape) and shape[2] == width[0][0]:
            yield CamLayer(layer, map_of_tokens)


def _are_tokens(shape: torch.Size) -> bool:
    if len(shape) != 3:
        return False
    side = isqrt(shape[1])
    return side > 1 and shape[1] - side * side <= _MOST_PREFIXES


def _with_gradient(module: nn.Module, size: int, candidates: list[CamLayer]) -> list[CamLayer]:
    """Select the layers on whose map the network's first answer depends."""
    outputs: dict[nn.Module, Tensor] = {}

    def keep(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            output.retain_grad()
            outputs[layer] = output

    image = _noise(module, size)
    layers = [candidate.layer for candidate in candidates]
    with _hooked(module, keep, layers), torch.enable_grad():
        answer: Any = module(image)
        answer = answer if isinstance(answer, Tensor) else answer[0]
        answer.float().amax(dim=-1).sum().backward()

    def moves(candidate: CamLayer) -> bool:
        gradient = outputs[candidate.layer].grad if candidate.layer in outputs else None
        shaped = gradient if gradient is None or candidate.reshape is None else candidate.reshape(gradient)
        return shaped is not None and bool(shaped.abs().max() > 0)

    return [candidate for candidate in candidates if moves(candidate)]


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None], layers: list[nn.Module] | None = None) -> Iterator[None]:
    """Call ``hook`` after layers run, by default all inside the module; the hooks are removed when the block ends."""
    chosen = [layer for layer in module.modules() if layer is not module] if layers is None else layers
    chosen = [layer for layer in chosen if not isinstance(layer, torch.jit.ScriptModule)]  # whose layers take no hooks
    handles = [layer.register_forward_hook(hook) for layer in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
