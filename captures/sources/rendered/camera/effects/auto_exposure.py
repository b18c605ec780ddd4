"""An exposure that follows what the camera sees."""

from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_CENTRE_SHARE, _CENTRE_SIZE = 0.6, 0.2  # of the weight, and the deviation of its bell, of the frame's sides
_DARKEST = 1e-4


class AutoExposure(DevelopEffect):
    """Centre-weighted metering: the mean is brought to a mid grey, with inertia.

    The exposure of a frame comes from the frames before it, so a white sheet is too bright at first and then darkens whatever
    is behind it.

    Attributes:
        target: the linear mean that is aimed at, 1 for white; saturation-based ISO speed has it at 0.128 (ISO 12232).
        time_s: time constant.
        limit_ev: the largest correction, in powers of two.
    """

    name: ClassVar[str] = "auto_exposure"
    summary: ClassVar[str] = "an exposure that reacts to the frames, and so to the sheet"
    stage: ClassVar[Stage] = Stage.LIGHT

    target: float = Field(default=0.13, ge=0.001, lt=1)
    time_s: float = Field(default=0.25, ge=0, le=1000)
    limit_ev: float = Field(default=2.0, ge=0, le=10)

    def begin(self, clip: Clip) -> Step:
        exposure_ev: float | None = None

        def exposed(light: NDArray[np.floating]) -> NDArray[np.floating]:
            nonlocal exposure_ev
            wanted_ev = np.log2(self.target / max(metered(light), _DARKEST)).clip(-self.limit_ev, self.limit_ev)
            now_ev = wanted_ev if exposure_ev is None else exposure_ev
            exposure_ev = float(now_ev + clip.lag(self.time_s) * (wanted_ev - now_ev))
            return np.asarray(light * light.dtype.type(2**now_ev))

        return exposed


def metered(light: NDArray[np.floating]) -> float:
    """Meter a frame (H, W, 3), by its green pixels, of which white ones count as white however bright they are."""
    return float(np.sum(light[..., 1].clip(0, 1) * _weights(light.shape[:2])))


@cache
def _weights(shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return weights (H, W) that add up to 1."""
    y, x = (np.exp(-0.5 * (np.linspace(-0.5, 0.5, side) / _CENTRE_SIZE) ** 2) for side in shape)
    bell = np.outer(y, x)
    return _CENTRE_SHARE * bell / bell.sum() + (1 - _CENTRE_SHARE) / bell.size
