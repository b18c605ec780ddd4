"""A sensor whose pixels see one colour each."""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError
from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_BORDER = 4  # pixels, for which filters reach beyond the frame; an even number keeps the mosaic going


class Mosaic(DevelopEffect):
    """A Bayer mosaic, red and green above green and blue (Bayer 1976), each of whose pixels has its own noise.

    The missing colours are interpolated after white balance, so that the colour of the light makes no edges, by
    colour-demosaicing: OpenCV's "edge-aware" method is hardly better than a bilinear one.

    Attributes:
        method: ``menon``, along edges (Menon, Andriani and Calvagno 2007); ``malvar``, a linear filter (Malvar, He and Cutler
            2004); or ``bilinear``. The later, the more colour fringes.
    """

    name: ClassVar[str] = "mosaic"
    summary: ClassVar[str] = "a Bayer mosaic and its demosaicing: colour fringes and loss of detail"
    stage: ClassVar[Stage] = Stage.SENSOR

    method: Literal["menon", "malvar", "bilinear"] = "menon"

    def require_libraries(self) -> None:
        _demosaicing()

    def begin(self, clip: Clip) -> Step:
        demosaicing = _demosaicing()
        demosaic = {
            "menon": demosaicing.demosaicing_CFA_Bayer_Menon2007,
            "malvar": demosaicing.demosaicing_CFA_Bayer_Malvar2004,
            "bilinear": demosaicing.demosaicing_CFA_Bayer_bilinear,
        }[self.method]

        def demosaiced(record: NDArray[np.floating]) -> NDArray[np.floating]:
            bordered = np.pad(bayer(record * clip.gains), _BORDER, mode="reflect")
            full = demosaic(bordered, "RGGB")[_BORDER:-_BORDER, _BORDER:-_BORDER]
            return np.asarray(full / clip.gains, dtype=record.dtype)

        return demosaiced


def bayer(frame: NDArray[np.floating]) -> NDArray[np.floating]:
    """Keep one colour a pixel of a frame (H, W, 3): red, green, red, … in even rows and green, blue, green, … in odd ones."""
    mosaic = frame[..., 1].copy()
    mosaic[::2, ::2] = frame[::2, ::2, 0]
    mosaic[1::2, 1::2] = frame[1::2, 1::2, 2]
    return mosaic


def _demosaicing() -> Any:
    try:
        import colour_demosaicing
    except ImportError as error:
        raise UnavailableError(
            "the camera effect 'mosaic' needs colour-demosaicing; install with: pip install 'physpatch[render]'"
        ) from error
    return colour_demosaicing
