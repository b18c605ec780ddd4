"""Choosing the layer that Grad-CAM weighs."""

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError


def find_cam_layer(module: nn.Module, size: int) -> nn.Module:
    """The last layer used exactly once whose output is still a spatial map: what Grad-CAM is usually run on."""
    last: list[nn.Module] = []
    calls: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _inputs: object, output: object) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            last.append(layer)

    handles = [layer.register_forward_hook(note) for layer in module.modules() if layer is not module]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    layers = [layer for layer in last if calls[layer] == 1]
    if not layers:
        raise InputError("this network has no spatial feature map for Grad-CAM")
    return layers[-1]
