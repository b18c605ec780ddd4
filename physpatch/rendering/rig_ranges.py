"""EOT ranges from a measured rig."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.common.errors import InputError
from physpatch.records.eot_config import EotConfig
from physpatch.transforms import parameters

_SPREAD = 0.1  # of the light, beyond its range in the pictures of the chart
_COLOUR_SPREAD = 0.03
_BLUR_SHARE = (0.5, 1.5)  # of the measured blur: hands move, and focus drifts
_NOISE_SHARE = 1.5
_TONE = (0.97, 1.03)  # the tone curve is in the colour maps already
_SATURATION = (0.97, 1.03)  # and so is the camera's saturation


@dataclass(frozen=True)
class WhiteBalance:
    """White paper's levels in a picture, in EOT's terms: red, green, blue = gain · (temperature, tint, 1 / temperature).

    Three parameters represent the three measured channels exactly. Without the tint, green would be the root of red times
    blue.
    """

    gain: float
    temperature: float
    tint: float

    @classmethod
    def of(cls, white: Sequence[float] | NDArray[np.float64]) -> "WhiteBalance":
        """Create the white balance of linear levels (3,), red, green, blue, all above 0."""
        red, green, blue = (float(level) for level in white)
        gain = math.sqrt(red * blue)
        return cls(gain, math.sqrt(red / blue), green / gain)

    @property
    def mean(self) -> float:
        """Compute the mean of the three channels at a gain of 1."""
        return (self.temperature + self.tint + 1 / self.temperature) / 3


def eot_for_rig(base: EotConfig, profile: RigProfile, size: int = 224) -> EotConfig:
    """Replace colours, light and white balance in ``base`` by those of a rig; views and paper stay as they are.

    Blur and noise begin where they were measured and reach as far as in ``base`` at least: pictures of a chart are taken near
    by and held still, often in a larger format than a session's, whose pixels are averaged less in a victim's.

    Args:
        base: usually a preset.
        profile: one with at least one light.
        size: side, in pixels, of the victims' images, to which the central square of a camera's frame is scaled down.

    Raises:
        InputError: the profile holds no light.
    """
    if not profile.lights:
        raise InputError("this rig profile has no colours yet; add them with `physpatch calibrate colour`")
    blurs, noises = zip(*(_blur_and_noise(light, size) for light in profile.lights), strict=True)
    balances = [WhiteBalance.of(light.white) for light in profile.lights]
    # levels are means over the channels, which tint and temperature change too
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
        blur_px=ranges["blur_px"].clipped(
            _BLUR_SHARE[0] * min(blurs), max(_BLUR_SHARE[1] * max(blurs), base.ranges["blur_px"][1])
        ),
        noise=ranges["noise"].clipped(0.0, max(_NOISE_SHARE * max(noises), base.ranges["noise"][1])),
        gamma=_TONE,
        saturation=_SATURATION,
    )


def _blur_and_noise(light: LightProfile, size: int) -> tuple[float, float]:
    """Compute the blur in pixels of a victim's image, and the noise of white there."""
    shrink = min(1.0, size / min(light.frame_wh))  # scaling down averages the noise of pixels
    noise = math.hypot(light.read_noise, light.shot_noise) * shrink
    return light.blur_px * shrink, noise


def _spread(name: str, values: Sequence[float]) -> tuple[float, float]:
    return parameters()[name].clipped(min(values) * (1 - _COLOUR_SPREAD), max(values) * (1 + _COLOUR_SPREAD))
