"""The rig profile: a measured printer, paper and camera, in one JSON file that training and sessions read."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import LONGEST_SIDE_PX, Intrinsics
from calibration.colour.colour_chart import ChartShot, chart_picture, mean_shot
from calibration.colour.colour_map import ColourMap, fit_colour_map
from calibration.colour.colour_space import srgb_to_linear
from calibration.common.errors import InputError
from calibration.common.files import read_json, write_json
from calibration.common.units import finite, finite_pair, whole

PROFILE_VERSION = 1
_PLAUSIBLE_SCALE = (0.5, 2.0)
_MOST_LIGHT = 1e6  # of levels, noise, blur and colour differences: far beyond what can be measured
_MOST_LIGHTS = 50


@dataclass(frozen=True)
class LightProfile:
    """The colour map, exposure and noise of printer and camera under one light.

    Attributes:
        name: the user's name for the light.
        map: from sent to seen sRGB, relative to the paper.
        white: linear level of the paper in the pictures, per channel.
        white_range: darkest and brightest level of the paper.
        read_noise, shot_noise: as in ``calibration.colour.colour_chart.ChartShot``.
        blur_px: median standard deviation of the blur.
        frame_wh: size of the pictures.
        shots: number of pictures.
        before, after: median and 95th percentile of CIEDE2000 without the map, and with it on held-out colours.
        sent, seen: the printed and the observed colours of the chart, relative to the paper, as sRGB integers, row by row.
    """

    name: str
    map: ColourMap
    white: tuple[float, float, float]
    white_range: tuple[float, float]
    read_noise: float
    shot_noise: float
    blur_px: float
    frame_wh: tuple[int, int]
    shots: int
    before: tuple[float, float]
    after: tuple[float, float]
    sent: tuple[tuple[int, int, int], ...] = field(repr=False)
    seen: tuple[tuple[int, int, int], ...] = field(repr=False)

    @classmethod
    def fit(cls, name: str, sent: NDArray[np.uint8], shots: Sequence[ChartShot]) -> "LightProfile":
        """Fit a profile to pictures of the chart under one light.

        Args:
            name: of the light.
            sent: the cells of the chart, (rows, columns, 3) sRGB uint8.
            shots: measurements of the pictures.

        Raises:
            InputError: if there are no pictures, or they differ in size.
        """
        if not shots:
            raise InputError("no usable picture of the colour chart")
        if len({shot.frame_wh for shot in shots}) > 1:
            raise InputError(
                "the pictures differ in size; take all pictures of one light with the same camera settings"
            )
        seen = mean_shot(shots)
        fitted = fit_colour_map(sent.reshape(-1, 3) / 255, seen.reshape(-1, 3))
        red, green, blue = (float(v) for v in np.mean([shot.white for shot in shots], axis=0))
        return cls(
            name=name,
            map=fitted.map,
            white=(red, green, blue),
            white_range=(min(s.white_range[0] for s in shots), max(s.white_range[1] for s in shots)),
            read_noise=float(np.median([shot.read_noise for shot in shots])),
            shot_noise=float(np.median([shot.shot_noise for shot in shots])),
            blur_px=float(np.median([shot.blur_px for shot in shots])),
            frame_wh=shots[0].frame_wh,
            shots=len(shots),
            before=fitted.before,
            after=fitted.after,
            sent=_triples(sent),
            seen=_triples((seen * 255).round()),
        )

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "LightProfile":
        """Build from JSON values.

        Raises:
            ValueError, TypeError, KeyError, InputError: other values than :meth:`fit` gives.
        """
        red, green, blue = (finite(level, 0, _MOST_LIGHT) for level in value["white"])
        width, height = (whole(side, 1, LONGEST_SIDE_PX) for side in value["frame_wh"])
        pairs = {name: finite_pair(value[name], 0, _MOST_LIGHT) for name in ("white_range", "before", "after")}
        plain = {name: finite(value[name], 0, _MOST_LIGHT) for name in ("read_noise", "shot_noise", "blur_px")}
        colours = {name: _colours(value[name]) for name in ("sent", "seen")}
        if (
            not isinstance(value["name"], str)
            or len(colours["sent"]) != len(colours["seen"])
            or min(red, green, blue) <= 0
        ):
            raise ValueError("a light needs a name, paper that is not black, and as many seen colours as sent ones")
        checked = {"white": (red, green, blue), "frame_wh": (width, height), "shots": whole(value["shots"], 0, 10**9)}
        arguments: dict[str, Any] = {**value, **checked, **pairs, **plain, **colours}
        return cls(**arguments | {"map": ColourMap.from_dict(value["map"])})

    @property
    def gamut_share(self) -> float:
        """Return the CIELAB volume of the seen colours over that of the sent colours; 0 if they span no volume."""
        from scipy.spatial import ConvexHull, QhullError
        from skimage.color import rgb2lab

        try:
            sent, seen = (ConvexHull(rgb2lab(np.array(colours) / 255)).volume for colours in (self.sent, self.seen))
        except (QhullError, ValueError):
            return 0.0
        return float(seen / sent)

    @property
    def explained(self) -> float:
        """Return the share of the variance of the seen colours, in linear light, that the map explains.

        A low value means that the picture shows another sheet, or that the pose is wrong.
        """
        sent, seen = (np.array(colours) / 255 for colours in (self.sent, self.seen))
        light, mapped = srgb_to_linear(seen), srgb_to_linear(np.clip(self.map.apply(sent), 0, 1))
        varied = float(((light - light.mean(axis=0)) ** 2).sum())
        return 1 - float(((light - mapped) ** 2).sum()) / varied if varied > 0 else 0.0

    def picture(self) -> NDArray[np.uint8]:
        """Draw the chart, or sheet, as sent, as seen and as predicted, side by side, (H, W, 3) RGB uint8."""
        count = len(self.sent)
        rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)  # as square as it can be
        sent, seen = (np.array(colours).reshape(rows, -1, 3) / 255 for colours in (self.sent, self.seen))
        return chart_picture(sent, seen, self.map.apply(sent))


@dataclass(frozen=True)
class RigProfile:
    """The measured properties of a printer, its paper and a camera.

    Attributes:
        printer, paper, camera: the user's names for them.
        print_scale: printed length of 1 mm, across and down; None if the rulers were not measured.
        intrinsics: of the camera; None before `calibrate camera`.
        lens: statistics of the lens calibration.
        lights: one profile for each light under which the chart was filmed.
    """

    printer: str = ""
    paper: str = ""
    camera: str = ""
    print_scale: tuple[float, float] | None = None
    intrinsics: Intrinsics | None = None
    lens: dict[str, Any] | None = None
    lights: tuple[LightProfile, ...] = ()

    def with_light(self, light: LightProfile) -> "RigProfile":
        """Return the profile with a light added; it replaces a light of the same name."""
        other_lights = tuple(existing for existing in self.lights if existing.name != light.name)
        return replace(self, lights=(*other_lights, light))

    def save(self, path: Path) -> None:
        """Write the profile to a JSON file, atomically."""
        write_json(path, {"physpatch_rig": PROFILE_VERSION} | _plain(self))

    @classmethod
    def load(cls, path: Path) -> "RigProfile":
        """Load a profile.

        Raises:
            InputError: if the file is missing, not a profile, of a newer version, or holds an invalid value.
        """
        record = read_json(path)
        if not isinstance(record, dict) or "physpatch_rig" not in record:
            raise InputError(f"{path} is not a rig profile; create one with `physpatch calibrate colour`")
        version = record.pop("physpatch_rig")
        if not isinstance(version, int) or version > PROFILE_VERSION:
            raise InputError(f"{path} was written by a newer physpatch (version {version}); update physpatch")
        try:
            return cls._from_plain(record)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except KeyError as error:
            raise InputError(f"{path} is not a complete rig profile: {error} is missing; calibrate again") from error
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise InputError(f"{path} is not a complete rig profile ({error}); calibrate again") from error

    @classmethod
    def _from_plain(cls, record: dict[str, Any]) -> "RigProfile":
        plain = dict(record)
        if plain.get("intrinsics") is not None:
            plain["intrinsics"] = Intrinsics.from_dict(plain["intrinsics"])
        if plain.get("print_scale") is not None:
            plain["print_scale"] = finite_pair(plain["print_scale"], *_PLAUSIBLE_SCALE)
        for name in ("printer", "paper", "camera"):
            if not isinstance(plain.get(name, ""), str):
                raise ValueError(f"{name} should be text, got {plain[name]!r:.40}")
        if plain.get("lens") is not None:
            whole(plain["lens"]["views"], 0, 10**9)
            finite(plain["lens"]["rms_px"], 0)
        lights = plain.get("lights", ())
        if len(lights) > _MOST_LIGHTS:
            raise ValueError(f"{len(lights)} lights; expected at most {_MOST_LIGHTS}")
        plain["lights"] = tuple(LightProfile.from_dict(light) for light in lights)
        return cls(**plain)


def _triples(colours: NDArray[Any]) -> tuple[tuple[int, int, int], ...]:
    return tuple((int(r), int(g), int(b)) for r, g, b in colours.reshape(-1, 3))


def _colours(values: Any) -> tuple[tuple[int, int, int], ...]:
    """Return (n, 3) sRGB integers, n above 0; raise ValueError for other values."""
    colours = tuple((whole(r, 0, 255), whole(g, 0, 255), whole(b, 0, 255)) for r, g, b in values)
    if not colours:
        raise ValueError("no colours")
    return colours


def _plain(profile: RigProfile) -> dict[str, Any]:
    value = asdict(profile)
    value["lights"] = [asdict(light) | {"map": light.map.to_dict()} for light in profile.lights]
    return value
