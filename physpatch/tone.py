"""From linear light to the values of a picture: the sRGB curve (IEC 61966-2-1) and a camera's own tone on top."""

from typing import Any

import torch
from torch import Tensor

_DARKEST = 1e-4  # keeps the slope of the tone curve finite at black
_LINEAR_UP_TO = 0.0031308


def develop(light: Tensor, tone: Tensor) -> Tensor:
    """Clip linear light to white, encode it as sRGB and raise that to the power ``tone``.

    One operation with a gradient of its own: the slope is known from the values, without another power.

    Args:
        light: (B, 3, H, W), white is 1; below 0 and above 1 no gradient flows.
        tone: exponents that broadcast to it; no gradient flows to them.

    Returns:
        As ``light``, in [0, 1].
    """
    return _Develop.apply(light, tone)


class _Develop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, light: Tensor, tone: Tensor) -> Tensor:
        clipped = light.clamp(_DARKEST, 1)
        encoded = torch.where(clipped <= _LINEAR_UP_TO, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)
        toned = encoded**tone
        ctx.save_for_backward(light, encoded, toned, tone)
        return toned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        light, encoded, toned, tone = ctx.saved_tensors
        # d/dx (1.055 x^(1/2.4) - 0.055) = (encoded + 0.055) / (2.4 x)
        slope = torch.where(light <= _LINEAR_UP_TO, 12.92, (encoded + 0.055) / (2.4 * light))
        slope = torch.where((light >= _DARKEST) & (light <= 1), slope * tone * toned / encoded, 0.0)
        return gradient * slope, None
