"""A white balance that follows what the camera sees."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_CLIPPED = 0.98
_DARKEST = 1e-4


class AutoWhiteBalance(DevelopEffect):
    """Shades of grey (Finlayson and Trezzi 2004): what is bright is taken for grey on average, with inertia.

    A coloured sheet gives everything behind it a cast of the opposite colour.

    Attributes:
        norm: of Minkowski, over the pixels; 1 is the grey world, larger ones look at highlights.
        strength: the share of a cast that is removed, 0 to 1; cameras know lights and do not believe in all casts.
        time_s: time constant.
    """

    name: ClassVar[str] = "auto_white_balance"
    summary: ClassVar[str] = "a white balance that reacts to the frames, and so to the sheet"
    stage: ClassVar[Stage] = Stage.BALANCE

    norm: float = Field(default=4.0, ge=1, le=100)
    strength: float = Field(default=0.35, ge=0, le=1)
    time_s: float = Field(default=0.5, ge=0, le=1000)

    def begin(self, clip: Clip) -> Step:
        correction: NDArray[np.floating] | None = None

        def balanced(record: NDArray[np.floating]) -> NDArray[np.floating]:
            nonlocal correction
            bright = self._bright(record)
            target = self.strength * (np.log(bright[1]) - np.log(bright))
            now = target if correction is None else correction
            correction = now + clip.lag(self.time_s) * (target - now)
            return np.asarray(record * np.exp(now).astype(record.dtype))

        return balanced

    def _bright(self, record: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean (3,) of the pixels that are not clipped."""
        unclipped = record.max(axis=2) < _CLIPPED
        pixels = record[unclipped] if unclipped.any() else record.reshape(-1, 3)
        mean = np.mean(pixels.clip(0, None).astype(np.float64) ** self.norm, axis=0) ** (1 / self.norm)
        return np.asarray(mean).clip(_DARKEST, None)
