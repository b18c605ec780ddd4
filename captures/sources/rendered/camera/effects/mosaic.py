"""A sensor whose pixels see one colour each."""

from typing import ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

# OpenCV's: of 16 bits, in milliseconds, and there anyway.
_METHODS = {"edge-aware": cv2.COLOR_BayerRGGB2RGB_EA, "bilinear": cv2.COLOR_BayerRGGB2RGB}
_BRIGHTEST = 2.0  # a balanced record that is still told from brighter ones; beyond 1 all are white in the picture
_LEVELS = 2**16 - 1
_BORDER = 4  # OpenCV leaves the outermost pixels out; even, so that the mosaic goes on


class Mosaic(DevelopEffect):
    """A Bayer mosaic, red and green above green and blue (Bayer 1976), each of whose pixels has its own noise.

    The missing colours are interpolated after white balance, so that the colour of the light makes no edges.

    Attributes:
        method: ``edge-aware``, along edges rather than across; or ``bilinear``, with more colour fringes.
    """

    name: ClassVar[str] = "mosaic"
    summary: ClassVar[str] = "a Bayer mosaic and its demosaicing: colour fringes and loss of detail"
    stage: ClassVar[Stage] = Stage.SENSOR

    method: Literal["edge-aware", "bilinear"] = "edge-aware"

    def begin(self, clip: Clip) -> Step:
        scale = clip.gains * (_LEVELS / _BRIGHTEST)

        def demosaiced(record: NDArray[np.floating]) -> NDArray[np.floating]:
            levels = (record * scale).round().clip(0, _LEVELS).astype(np.uint16)
            bordered = cv2.copyMakeBorder(bayer(levels), *(_BORDER,) * 4, cv2.BORDER_REFLECT_101)
            full = cv2.cvtColor(bordered, _METHODS[self.method])[_BORDER:-_BORDER, _BORDER:-_BORDER]
            return np.asarray(full / scale, dtype=record.dtype)

        return demosaiced


def bayer(frame: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Keep one colour a pixel of a frame (H, W, 3): red, green, red, … in even rows and green, blue, green, … in odd ones."""
    mosaic = frame[..., 1].copy()
    mosaic[::2, ::2] = frame[::2, ::2, 0]
    mosaic[1::2, 1::2] = frame[1::2, 1::2, 2]
    return mosaic
