"""From linear light to picture values: the sRGB curve (IEC 61966-2-1), then a camera's own tone curve."""

from typing import Any

import torch
from torch import Tensor

_LINEAR_UP_TO = 0.0031308
_NEAR_BLACK = 1 / 255  # sRGB value below which the power e^t is replaced, because its slope at 0 is infinite or zero
_BLACK = 1e-12  # avoids division by 0
_ROUNDING = 1e-5  # light this far below black or above white counts as black or white: interpolation and blur round


def develop(light: Tensor, tone: Tensor) -> Tensor:
    """Clip linear light to white, encode it as sRGB and raise that to the power ``tone``.

    This is one operation whose gradient follows from its result without computing another power. Black and white have a
    gradient, so that a cell can leave either end; below black and above white there is none.

    Below :data:`_NEAR_BLACK`, the power of the sRGB value e = n u is replaced by n^t u / (t + (1 - t) u). This hyperbola
    continues it with the same value and slope, and reaches black with a slope of n^(t - 1) / t, which is neither infinite
    (t < 1) nor zero (t > 1). A tone of 1 gives the sRGB curve.

    Args:
        light: (B, 3, H, W), where white is 1.
        tone: exponents above 0 that broadcast to it, without a gradient.

    Returns:
        sRGB values in [0, 1], in the form of ``light``.
    """
    return _Develop.apply(light, tone)


class _Develop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, light: Tensor, tone: Tensor) -> Tensor:
        clipped = light.clamp(_BLACK, 1)
        dark = clipped <= _LINEAR_UP_TO
        encoded = torch.where(dark, 12.92 * clipped, clipped.pow(1 / 2.4).mul_(1.055).sub_(0.055))
        toned = encoded.pow(tone)
        bent = ((encoded < _NEAR_BLACK) & (tone != 1)).nonzero(as_tuple=True)  # few pixels, if any
        exponent = tone.expand_as(encoded)[bent]
        share = encoded[bent] / _NEAR_BLACK
        weight = exponent + (1 - exponent) * share
        at_joint = _NEAR_BLACK**exponent
        toned[bent] = at_joint * share / weight
        if ctx.needs_input_grad[0]:
            # Relative slopes: (1 + 0.055 / e) / 2.4 for e = 1.055 x^(1/2.4) - 0.055, 1 for 12.92 x, and t for e^t.
            slope = (0.055 / encoded).add_(1).div_(2.4).masked_fill_(dark, 1)
            slope.mul_(tone).mul_(toned).div_(clipped)
            slope[bent] = 12.92 * at_joint / _NEAR_BLACK * exponent / weight**2
            ctx.save_for_backward(slope.masked_fill_(light.clamp(-_ROUNDING, 1 + _ROUNDING) != light, 0))
        return toned

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradient, None
