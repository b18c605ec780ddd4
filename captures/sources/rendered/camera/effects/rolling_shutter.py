"""A shutter that opens row by row."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, ShutterEffect
from captures.sources.rendered.camera.exposure import Exposure


class RollingShutter(ShutterEffect):
    """Rows that are exposed one after another, from the top; what moves sideways becomes skewed.

    Attributes:
        readout_s: from the first row to the last.
        bands: of rows that are rendered at one pose each.
    """

    name: ClassVar[str] = "rolling_shutter"
    summary: ClassVar[str] = "rows exposed one after another, between one pose and the next"

    readout_s: float = Field(default=0.02, ge=0, le=1)
    bands: int = Field(default=8, ge=1, le=1000)

    @property
    def lasts_s(self) -> float:
        return self.readout_s

    def begin(self, clip: Clip) -> Callable[[Exposure, float], Exposure]:
        return lambda exposure, time_s: replace(exposure, readout_s=self.readout_s, bands=self.bands)
