"""Noise removed as phones do: colour more than brightness."""

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step


class Denoise(DevelopEffect):
    """Bilateral filters (Tomasi and Manduchi 1998) of luma and, more strongly, of chroma: fine texture goes with the noise.

    Attributes:
        luma, chroma: differences of sRGB values, in [0, 1], across which is smoothed.
        radius_px: deviation of the bell in space.
    """

    name: ClassVar[str] = "denoise"
    summary: ClassVar[str] = "noise removed by bilateral filters, colour more than brightness"
    stage: ClassVar[Stage] = Stage.PICTURE
    rank: ClassVar[int] = 10

    luma: float = Field(default=0.03, ge=0.001, le=10)
    chroma: float = Field(default=0.08, ge=0.001, le=10)
    radius_px: float = Field(default=1.2, ge=0.1, le=20)

    def begin(self, clip: Clip) -> Step:
        return self._denoised

    def _denoised(self, picture: NDArray[np.floating]) -> NDArray[np.floating]:
        ycc = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2YCrCb)
        across = 2 * round(2 * self.radius_px) + 1
        smooth = cv2.bilateralFilter(ycc, across, self.chroma, self.radius_px)
        smooth[..., 0] = cv2.bilateralFilter(ycc[..., 0], across, self.luma, self.radius_px)
        return cv2.cvtColor(smooth, cv2.COLOR_YCrCb2RGB).clip(0, 1)
