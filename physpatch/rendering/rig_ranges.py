"""From a measured rig to the transformations that a patch is trained under."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.common.errors import InputError
from physpatch.records.eot_config import EotConfig
from physpatch.transforms import parameters

_SPREAD = 0.1  # of the light, beyond what the pictures of the chart happened to have
_COLOUR_SPREAD = 0.03
_BLUR_SHARE = (0.5, 1.5)  # of the measured: people do not always hold still, and focus wanders
_TONE = (0.97, 1.03)  # the tone curve is in the colour maps already


@dataclass(frozen=True)
class WhiteBalance:
    """White paper's level in a picture as EOT counts it: red, green, blue = gain · (temperature, tint, 1 / temperature).

    All three measured channels are kept. Without the tint, green would be taken for the root of red times blue.
    """

    gain: float
    temperature: float
    tint: float

    @classmethod
    def of(cls, white: Sequence[float] | NDArray[np.float64]) -> "WhiteBalance":
        """Split linear levels (3,), all above 0."""
        red, green, blue = (float(level) for level in white)
        gain = math.sqrt(red * blue)
        return cls(gain, math.sqrt(red / blue), green / gain)

    @property
    def mean(self) -> float:
        """Of the three channels, at a gain of 1."""
        return (self.temperature + self.tint + 1 / self.temperature) / 3


def eot_for_rig(base: EotConfig, profile: RigProfile, size: int = 224) -> EotConfig:
    """``base`` with the colours, light, white balance, blur and noise of a rig; views and paper stay as they are.

    Args:
        base: usually a preset.
        profile: with at least one light.
        size: of the victims' images, into which the square middle of a camera's frame is shrunk.

    Raises:
        InputError: the profile holds no light.
    """
    if not profile.lights:
        raise InputError("this rig profile holds no colours yet; add them with `physpatch calibrate colour`")
    blurs, noises = zip(*(_seen(light, size) for light in profile.lights), strict=True)
    balances = [WhiteBalance.of(light.white) for light in profile.lights]
    # levels are means over the channels, of which the tint and the temperature have their share
    levels = [
        [end / white.mean for end in light.white_range] for light, white in zip(profile.lights, balances, strict=True)
    ]
    dark, bright = min(low for low, _ in levels), max(high for _, high in levels)
    ranges = parameters()
    return base.changed(
        prints=tuple(light.map for light in profile.lights),
        gain=ranges["gain"].clipped(dark * (1 - _SPREAD), bright * (1 + _SPREAD)),
        temperature=_spread("temperature", [white.temperature for white in balances]),
        tint=_spread("tint", [white.tint for white in balances]),
        blur_px=ranges["blur_px"].clipped(_BLUR_SHARE[0] * min(blurs), _BLUR_SHARE[1] * max(blurs)),
        noise=ranges["noise"].clipped(0.0, 1.5 * max(noises)),
        gamma=_TONE,
    )


def _seen(light: LightProfile, size: int) -> tuple[float, float]:
    """Blur in pixels of a victim's image, and the noise there at white."""
    shrink = min(1.0, size / min(light.frame_wh))  # shrinking averages pixels, and their noise with them
    noise = math.hypot(light.read_noise, light.shot_noise) * shrink
    return light.blur_px * shrink, noise


def _spread(name: str, values: Sequence[float]) -> tuple[float, float]:
    return parameters()[name].clipped(min(values) * (1 - _COLOUR_SPREAD), max(values) * (1 + _COLOUR_SPREAD))
