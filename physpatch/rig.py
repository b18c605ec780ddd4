"""From a measured rig to the transformations that a patch is trained under."""

import math
from dataclasses import replace

from calibration.errors import InputError
from calibration.profile import LightProfile, RigProfile
from physpatch.config import EOT_LIMITS, EotConfig

_SPREAD = 0.1  # of the light, beyond what the pictures of the chart happened to have
_COLOUR_SPREAD = 0.03
_BLUR_SHARE = (0.5, 1.5)  # of the measured: people do not always hold still, and focus wanders
_TONE = (0.97, 1.03)  # the tone curve is in the colour maps already


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
    blurs, noises, warmths = zip(*(_seen(light, size) for light in profile.lights), strict=True)
    dark, bright = (pick(light.white_range[i] for light in profile.lights) for i, pick in ((0, min), (1, max)))
    return replace(
        base,
        prints=tuple(light.map for light in profile.lights),
        gain=_limited("gain", dark * (1 - _SPREAD), bright * (1 + _SPREAD)),
        temperature=_limited("temperature", min(warmths) * (1 - _COLOUR_SPREAD), max(warmths) * (1 + _COLOUR_SPREAD)),
        blur_px=_limited("blur_px", _BLUR_SHARE[0] * min(blurs), _BLUR_SHARE[1] * max(blurs)),
        noise=_limited("noise", 0.0, 1.5 * max(noises)),
        gamma=_TONE,
    )


def _seen(light: LightProfile, size: int) -> tuple[float, float, float]:
    """Blur in pixels of a victim's image, noise there at white, and the white balance as EOT counts it."""
    shrink = min(1.0, size / min(light.frame_wh))  # shrinking averages pixels, and their noise with them
    noise = math.hypot(light.read_noise, light.shot_noise) * shrink
    return light.blur_px * shrink, noise, math.sqrt(light.white[0] / light.white[2])


def _limited(name: str, low: float, high: float) -> tuple[float, float]:
    least, most = EOT_LIMITS[name]
    return (min(max(low, least), most), min(max(high, least), most))
