"""What a camera makes of the light that its pixels record: exposure, noise, white balance, colours, tone and JPEG.

Effects come in between, each at its :class:`Stage`, in the order of a camera's image signal processor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.colour.colour_space import linear_to_srgb
from captures.sources.rendered.camera.effects import Stage, Step
from captures.sources.rendered.spectra import linear_from_recorded, white

Steps = Mapping[Stage, Sequence[Step]]
_NO_STEPS: Steps = MappingProxyType({})


@dataclass(frozen=True)
class Development:
    """How a camera turns records into a picture, for one clip.

    Attributes:
        camera: whose sensitivities recorded the light.
        light: the illuminant that the camera balances, and whose matrix it uses.
        exposure: the sRGB-linear value of a perfect diffuser under lights of a power of 1.
        cast: (3,) factors of an imperfect white balance.
        read_noise, shot_noise: of a record of 1, in its own units.
        jpeg_quality: 1 to 100.
    """

    camera: str
    light: str
    exposure: float = 0.9
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    read_noise: float = 0.004
    shot_noise: float = 0.01
    jpeg_quality: int = 90

    @classmethod
    def draw(cls, rng: np.random.Generator, camera: str, light: str, strength: float) -> "Development":
        """Draw a plausible one for a camera that a scene lights with ``strength``."""
        return cls(
            camera,
            light,
            0.9 * strength,
            tuple(rng.uniform(0.95, 1.05, 3)),
            rng.uniform(0.002, 0.006),
            rng.uniform(0.008, 0.015),
            int(rng.integers(85, 95)),
        )

    @property
    def gains(self) -> NDArray[np.float64]:
        """Return the factors (3,) of white balance."""
        diffuser = white(self.camera, self.light)
        return diffuser[1] / diffuser * self.cast

    def develop(
        self, recorded: NDArray[np.floating], rng: np.random.Generator | None, steps: Steps = _NO_STEPS
    ) -> NDArray[np.uint8]:
        """Develop what pixels recorded, (H, W, 3), into an sRGB picture, (H, W, 3) uint8.

        Args:
            recorded: see :class:`captures.sources.rendered.camera.exposure.Shot`.
            rng: for noise; None for none.
            steps: effects by the stage at which they are applied.
        """
        exposed = _through(recorded * self.exposure, steps, Stage.LIGHT)
        if rng is not None:
            noise = np.sqrt(self.read_noise**2 + self.shot_noise**2 * exposed.clip(0, None))
            exposed = exposed + rng.standard_normal(exposed.shape, np.float32) * noise
        gains = self.gains
        exposed = np.minimum(exposed, 1 / gains)  # pixels are full before what is between them is interpolated
        exposed = _through(exposed, steps, Stage.SENSOR).clip(0, None)
        balanced = _through(exposed * gains, steps, Stage.BALANCE).clip(0, 1)
        linear = balanced @ linear_from_recorded(self.camera, self.light).T
        toned = _through(linear.clip(0, 1), steps, Stage.TONE)
        picture = _through(linear_to_srgb(toned), steps, Stage.PICTURE)
        pixels = (picture * 255).round().astype(np.uint8)
        return _through(pixels, steps, Stage.ENCODER) if steps.get(Stage.ENCODER) else self._through_jpeg(pixels)

    def _through_jpeg(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        _, packed = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _through(frame: NDArray[Any], steps: Steps, stage: Stage) -> NDArray[Any]:
    for step in steps.get(stage, ()):
        frame = step(frame)
    return frame
