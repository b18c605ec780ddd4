"""A shutter that stays open for a while."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, ShutterEffect
from captures.sources.rendered.camera.exposure import Exposure


class MotionBlur(ShutterEffect):
    """Several instants of an exposure, averaged in linear light, each with a share of the samples.

    Attributes:
        exposure_s: how long the shutter is open.
        samples: instants.
    """

    name: ClassVar[str] = "motion_blur"
    summary: ClassVar[str] = "several instants in each exposure, between one pose and the next"

    exposure_s: float = Field(default=0.02, ge=0, le=1)
    samples: int = Field(default=4, ge=1, le=64)

    @property
    def lasts_s(self) -> float:
        return self.exposure_s

    def begin(self, clip: Clip) -> Callable[[Exposure, float], Exposure]:
        return lambda exposure, time_s: replace(exposure, duration_s=self.exposure_s, samples=self.samples)
