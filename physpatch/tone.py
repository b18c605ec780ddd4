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
        dark = clipped <= _LINEAR_UP_TO
        encoded = torch.where(dark, 12.92 * clipped, clipped.pow(1 / 2.4).mul_(1.055).sub_(0.055))
        toned = encoded.pow(tone)
        ctx.save_for_backward(light, clipped, dark, encoded, toned, tone)
        return toned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Relative slopes: of 1.055 x^(1/2.4) - 0.055 = e it is (1 + 0.055 / e) / 2.4, of 12.92 x it is 1, of e^t it is t.
        light, clipped, dark, encoded, toned, tone = ctx.saved_tensors
        slope = (0.055 / encoded).add_(1).div_(2.4).masked_fill_(dark, 1)
        slope = slope.mul_(tone).mul_(toned).div_(clipped).mul_(gradient)
        return slope.masked_fill_(light != clipped, 0), None
