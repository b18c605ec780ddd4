"""The layer for a model's heat, and how faithful the heat of it and of other layers is."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from physpatch.evaluation.grad_cam import deletion_auc, grad_cam, random_heat
from physpatch.evaluation.model_check.accuracy import affordable
from physpatch.records.check_record import Finding
from physpatch.stats.intervals import mean_interval
from physpatch.victims.detector import Detector
from physpatch.victims.networks.cam_layers import list_cam_layers, map_of_tokens
from physpatch.victims.protocol import Victim

HEAT_PHOTOGRAPHS = 8
_LAYERS, _FEWEST_PHOTOGRAPHS, _SHOWN_LAYERS = 4, 3, 4
_BUDGET_S = 15.0
_CURVE, _BACKWARD = 10, 3  # passes forward of an image for a deletion curve; what Grad-CAM of it takes, in such passes
_WORTH_SAYING = 1e-3  # of a confidence, by which another layer is more faithful


def check_heat(victim: Victim, images: Tensor, seconds: float) -> Iterator[Finding]:
    """Name the layer for heat, and measure by deletion how faithful it is and whether others are more so.

    Args:
        victim: the model.
        images: (B, 3, S, S) in [0, 1]; a slow model is shown fewer of them, and fewer layers are tried.
        seconds: that one takes forward.
    """
    chosen = victim.heat_layer
    if chosen is None:
        yield Finding("heat", _why_no_heat(victim), "note")
        return
    names = {layer: name for name, layer in victim.module.named_modules()}
    own = names.get(chosen.layer, "")
    if isinstance(victim, Detector):
        words = f"layer {own}; how faithful it is, is not tested for detectors; --cam-layer NAME takes another"
        yield Finding("heat", words, "note", {"layer": own})
        return
    layers = list_cam_layers(victim.module, victim.preprocessing.size)
    if own not in layers:
        yield Finding("heat", f"layer {own}", "note", {"layer": own})
        return
    # A layer takes a deletion curve and a backward pass of each image, and all of them one more curve to compare with.
    layer_s = seconds * (_CURVE + _BACKWARD)
    photographs = affordable(_BUDGET_S / 2, layer_s + seconds * _CURVE, _FEWEST_PHOTOGRAPHS, len(images))
    more = affordable(_BUDGET_S / 2, photographs * layer_s, 1, _LAYERS)
    other_names = [name for name in layers if name != own]
    tried = {name: layers[name] for name in [own, *other_names[-more:]]}
    with_layers = {
        name: replace(victim, cam_layer=cam_layer.layer, cam_reshape=cam_layer.reshape)
        for name, cam_layer in tried.items()
    }
    yield _judged(own, _faithfulness(victim, with_layers, images[:photographs]))


def _judged(own: str, gaps: dict[str, list[float]]) -> Finding:
    """Word how faithful the own layer is, and which is the most faithful one."""
    n = len(gaps[own])
    rows = {name: sum(values) / len(values) for name, values in gaps.items()}
    numbers: dict[str, Any] = {"layer": own, "deletion_gap": rows, "n": n}
    if not all(value == value for value in rows.values()):
        return Finding("heat", f"layer {own}; its heat is not finite", "note", numbers)
    best = max(rows, key=lambda name: rows[name])
    estimate = mean_interval(gaps[own])
    faithful = estimate is not None and estimate[1][0] > 0
    words = f"layer {own}; removing what it marks costs {100 * rows[own]:+.1f} points of confidence more than at random"
    if rows[best] - rows[own] >= _WORTH_SAYING:
        words += f"; most by layer {best}, {100 * rows[best]:+.1f} (--cam-layer {best})"
        numbers["most_faithful"] = best
    words += f"; on {n} photographs" if faithful else f"; not told from chance on {n} photographs"
    return Finding("heat", words, "works" if faithful else "note", numbers)


def _why_no_heat(victim: Victim) -> str:
    """Say what is missing for heat, and how to get it."""
    if not victim.differentiable:
        return "none: heat needs gradients, and this model gives predictions only"
    if any(isinstance(part, torch.jit.ScriptModule) for part in victim.module.modules()):
        return "none: the layers of TorchScript cannot be seen; export it as .pt2 or .onnx"
    layers = list_cam_layers(victim.module, victim.preprocessing.size)
    maps = [
        name for name, layer in layers.items() if layer.reshape is not map_of_tokens
    ]  # which tables of boxes look like
    if not maps:
        return "none: no layer of this network has a spatial map"
    return f"none: no layer serves boxes of every size; name one by --cam-layer, such as {', '.join(maps[-_SHOWN_LAYERS:])}"


def _faithfulness(victim: Victim, by_layer: dict[str, Victim], images: Tensor) -> dict[str, list[float]]:
    """Compute by how much the deletion curve of each layer lies below that of a random order, for each image."""
    with torch.no_grad():
        classes = victim.scores(images).argmax(dim=1)
    baseline = random_heat((len(images), *images.shape[-2:]), torch.Generator().manual_seed(0))
    at_random = deletion_auc(victim, images, baseline, classes)
    gaps = {}
    for name, explained in by_layer.items():
        with grad_cam(explained) as cam:
            heat = cam(images, classes.tolist())
        gaps[name] = (at_random - deletion_auc(victim, images, heat, classes)).tolist()
    return gaps
