"""Tones as phones map them."""

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB
_DARKEST = 1e-3
_RADIUS = 1 / 12  # of the frame's shorter side
_BRIGHT = 0.95  # quantile of the base that stays as bright as it is
_EDGE = 0.25  # variance of log2 luminance from which on an edge stays in the base


class Tone(DevelopEffect):
    """Local tone mapping (Durand and Dorsey 2002), then an S-shaped curve.

    The logarithm of luminance is divided into a base, by a guided filter (He, Sun and Tang 2010) instead of a bilateral one,
    and detail; the contrast of the base is reduced from its bright end down, detail stays. So shadows become lighter.

    Attributes:
        compression: the share of the base's contrast that is taken away.
        curve: strength of the S-shaped curve, 0 for none: middle tones gain that share of contrast, ends lose it.
    """

    name: ClassVar[str] = "tone"
    summary: ClassVar[str] = "local tone mapping and an S-shaped curve"
    stage: ClassVar[Stage] = Stage.TONE

    compression: float = Field(default=0.25, ge=0, lt=1)
    curve: float = Field(default=0.25, ge=0, le=0.5)

    def begin(self, clip: Clip) -> Step:
        return self._mapped

    def _mapped(self, linear: NDArray[np.floating]) -> NDArray[np.floating]:
        level = np.log2((linear @ np.array(_LUMINANCE, linear.dtype)).clip(_DARKEST, None)).astype(np.float32)
        base = guided(level, max(1, round(_RADIUS * min(level.shape))), _EDGE)
        change = self.compression * (np.quantile(base, _BRIGHT) - base)
        mapped = (linear * np.exp2(change)[..., None]).clip(0, 1)
        values = linear_to_srgb(mapped)
        curved = values + self.curve * (values**2 * (3 - 2 * values) - values) * 2
        return np.asarray(srgb_to_linear(curved.clip(0, 1)), dtype=linear.dtype)


def guided(level: NDArray[np.float32], radius: int, edge: float) -> NDArray[np.float32]:
    """Smooth (H, W) but for edges, with itself as the guide (He, Sun and Tang 2010, section 3.2)."""

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.blur(values, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    average = mean(level)
    variance = (mean(level * level) - average * average).clip(0, None)
    slope = np.asarray(variance / (variance + np.float32(edge)), np.float32)
    return np.asarray(mean(slope) * level + mean((1 - slope) * average))
