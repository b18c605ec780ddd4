"""Sharpness as phones add it."""

from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_LUMA = (0.299, 0.587, 0.114)  # of sRGB values, as in YCbCr


class Sharpen(DevelopEffect):
    """An unsharp mask of luma: edges get halos.

    Attributes:
        amount: of the difference from the smoothed picture that is added.
        radius_px: deviation of the bell by which it is smoothed.
    """

    name: ClassVar[str] = "sharpen"
    summary: ClassVar[str] = "an unsharp mask, with halos"
    stage: ClassVar[Stage] = Stage.PICTURE
    rank: ClassVar[int] = 20

    amount: float = Field(default=0.8, ge=0, le=20)
    radius_px: float = Field(default=1.2, ge=0.1, le=20)

    def begin(self, clip: Clip) -> Step:
        return self._sharpened

    def _sharpened(self, picture: NDArray[np.floating]) -> NDArray[np.floating]:
        luma = picture @ np.array(_LUMA, picture.dtype)
        detail = luma - cv2.GaussianBlur(luma, (0, 0), self.radius_px)
        return np.asarray((picture + self.amount * detail[..., None]).clip(0, 1))
