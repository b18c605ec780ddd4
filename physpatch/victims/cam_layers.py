"""The choice of a layer for Grad-CAM."""

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError


def find_cam_layer(module: nn.Module, size: int) -> nn.Module:
    """Find the layer that Grad-CAM is usually run on: the last one used exactly once whose output is a spatial map.

    Args:
        module: the network.
        size: side, in pixels, of an image that it accepts.

    Raises:
        InputError: no such layer.
    """
    spatial: list[nn.Module] = []
    calls: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _inputs: object, output: object) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            spatial.append(layer)

    handles = [layer.register_forward_hook(note) for layer in module.modules() if layer is not module]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    layers = [layer for layer in spatial if calls[layer] == 1]
    if not layers:
        raise InputError("this network has no spatial feature map for Grad-CAM")
    return layers[-1]
