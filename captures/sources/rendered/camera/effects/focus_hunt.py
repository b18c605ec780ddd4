"""A lens that looks for its focus."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, ShutterEffect
from captures.sources.rendered.camera.exposure import Exposure


class FocusHunt(ShutterEffect):
    """A focus that swings around the right distance and settles on it, as after a sheet was held into the picture.

    Dioptres count, as blur is the aperture's diameter times the error in dioptres, in radians. Each clip begins somewhere in a
    swing.

    Attributes:
        amplitude_dpt: of the first swing.
        frequency_hz: swings a second.
        time_s: in which a swing becomes 1/e as wide.
    """

    name: ClassVar[str] = "focus_hunt"
    summary: ClassVar[str] = "a focus that swings and settles; the lens needs an aperture"

    amplitude_dpt: float = Field(default=4.0, ge=0, le=50)
    frequency_hz: float = Field(default=1.5, ge=0.01, le=100)
    time_s: float = Field(default=0.4, ge=0.001, le=1000)

    def begin(self, clip: Clip) -> Callable[[Exposure, float], Exposure]:
        phase = clip.rng.uniform(0, 2 * math.pi)

        def hunting(exposure: Exposure, time_s: float) -> Exposure:
            swing = math.cos(2 * math.pi * self.frequency_hz * time_s + phase) * math.exp(-time_s / self.time_s)
            return replace(exposure, refocus_dpt=exposure.refocus_dpt + self.amplitude_dpt * swing)

        return hunting
