"""What a run is asked to do: plain frozen dataclasses, refused when a key is unknown, saved with the run."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from calibration.colour.colour_map import ColourMap
from calibration.common.errors import InputError, unknown_name
from calibration.common.success import GOALS, SCOPES
from calibration.sheet.road_signs import sign_name
from physpatch.records.patch_file import check_grid

Range = tuple[float, float]
PRECISIONS = ("auto", "float32", "bfloat16")
OBJECT_SOURCES = ("auto", "drawn", "labels")  # auto: drawn where it is one of the signs
_FARTHEST_BESIDE = 1.5  # sizes of an object from its own edge


@dataclass(frozen=True)
class EotConfig:
    """Ranges of the expectation over transformation (Athalye et al. 2018, section 2). Each is sampled uniformly.

    In a camera's order. The defaults are the preset ``desk``: a print on or above a desk before a webcam or phone.

    Attributes:
        rotation_deg: in-plane rotation.
        tilt_deg: yaw and pitch of the patch plane, seen through a pinhole camera (the perspective).
        scale: factor on the patch's nominal side.
        bend: largest displacement of the paper's 3×3 lattice, as a share of the patch side.
        gain: factor on the light that falls on the patch, in linear light.
        shadow: depth of a soft-edged shadow across the patch; 0 is none, 1 is black.
        glare: light that a soft reflection adds, as a share of white.
        blur_px: standard deviation of the defocus, in pixels of the image.
        motion_px: length of the motion blur, in pixels of the image.
        temperature: white balance as a factor on red and its inverse on blue.
        tint: white balance as a factor on green, across the temperature: lamps off the black body's colours, and cameras.
        noise: standard deviation of the sensor noise where the image is white, as a share of white's light.
        gamma: exponent of the tone curve on the patch, on sRGB values.
        jpeg: libjpeg's quality, 1 to 100; 100 is no JPEG.
        prints: what a measured printer and camera make of the cells' colours, a map for each light; empty leaves them.
    """

    rotation_deg: Range = (-20.0, 20.0)
    tilt_deg: Range = (-20.0, 20.0)
    scale: Range = (0.85, 1.15)
    bend: Range = (0.0, 0.02)
    gain: Range = (0.8, 1.2)
    shadow: Range = (0.0, 0.4)
    glare: Range = (0.0, 0.2)
    blur_px: Range = (0.2, 1.0)
    motion_px: Range = (0.0, 1.5)
    temperature: Range = (0.92, 1.08)
    tint: Range = (0.95, 1.05)  # half of what is below, as a camera's white balance takes some of it back
    noise: Range = (0.0, 0.03)
    gamma: Range = (0.9, 1.1)
    jpeg: Range = (60.0, 95.0)
    prints: tuple[ColourMap, ...] = ()

    def __post_init__(self) -> None:
        for name, (least, most) in EOT_LIMITS.items():
            low, high = getattr(self, name)
            if not -math.inf < low <= high < math.inf:
                raise InputError(f"EOT range {name} runs from {low} to {high}; expected two rising numbers")
            if not least <= low <= high <= most:
                raise InputError(f"EOT range {name} {low:g} to {high:g} out of range; expected {least:g} to {most:g}")

    @classmethod
    def none(cls) -> "EotConfig":
        """No transformation but the random place, as in the original project."""
        neutral: dict[str, Any] = {name: (value, value) for name, value in _NEUTRAL.items()}
        return cls(**neutral)

    @classmethod
    def preset(cls, name: str) -> "EotConfig":
        """One of :data:`EOT_PRESETS`.

        Raises:
            InputError: no such preset.
        """
        if name not in EOT_PRESETS:
            raise unknown_name("EOT preset", name, EOT_PRESETS)
        return EOT_PRESETS[name]

    def narrowed(self, share: float) -> "EotConfig":
        """Ranges that reach only this share, in [0, 1], of the way from no transformation to the whole."""
        if share >= 1:
            return self
        ranges = {name: getattr(self, name) for name in _NEUTRAL}
        narrow: dict[str, Any] = {
            k: tuple(_NEUTRAL[k] + share * (end - _NEUTRAL[k]) for end in ends) for k, ends in ranges.items()
        }
        return replace(self, **narrow)

    def with_ranges(self, ranges: Iterable[tuple[str, Range]]) -> "EotConfig":
        """Replace ranges by those of :func:`parse_range`; of several for one name the last holds.

        Raises:
            InputError: a range out of its limits.
        """
        changed: dict[str, Any] = dict(ranges)
        return replace(self, **changed)


_NEUTRAL = {
    "rotation_deg": 0.0,
    "tilt_deg": 0.0,
    "scale": 1.0,
    "bend": 0.0,
    "gain": 1.0,
    "shadow": 0.0,
    "glare": 0.0,
    "blur_px": 0.0,
    "motion_px": 0.0,
    "temperature": 1.0,
    "tint": 1.0,
    "noise": 0.0,
    "gamma": 1.0,
    "jpeg": 100.0,
}
EOT_LIMITS = {
    "rotation_deg": (-180.0, 180.0),
    "tilt_deg": (-75.0, 75.0),
    "scale": (0.05, 10.0),
    "bend": (0.0, 0.15),
    "gain": (0.01, 10.0),
    "shadow": (0.0, 1.0),
    "glare": (0.0, 1.0),
    "blur_px": (0.0, 10.0),
    "motion_px": (0.0, 30.0),
    "temperature": (0.5, 2.0),
    "tint": (0.5, 2.0),
    "noise": (0.0, 0.5),
    "gamma": (0.2, 5.0),
    "jpeg": (1.0, 100.0),
}
EOT_PRESETS = {
    "mild": EotConfig(
        rotation_deg=(-10.0, 10.0),
        tilt_deg=(-10.0, 10.0),
        scale=(0.9, 1.1),
        bend=(0.0, 0.005),
        gain=(0.9, 1.1),
        shadow=(0.0, 0.15),
        glare=(0.0, 0.05),
        blur_px=(0.2, 0.6),
        motion_px=(0.0, 0.5),
        temperature=(0.97, 1.03),
        tint=(0.98, 1.02),
        noise=(0.0, 0.01),
        gamma=(0.95, 1.05),
        jpeg=(80.0, 98.0),
    ),
    "desk": EotConfig(),
    "outdoor": EotConfig(
        rotation_deg=(-30.0, 30.0),
        tilt_deg=(-40.0, 40.0),
        scale=(0.6, 1.4),
        bend=(0.0, 0.04),
        gain=(0.4, 1.6),
        shadow=(0.0, 0.7),
        glare=(0.0, 0.5),
        blur_px=(0.3, 1.8),
        motion_px=(0.0, 5.0),
        temperature=(0.85, 1.18),
        tint=(0.9, 1.11),  # white lamps may be 0.006 off the black body in CIE 1960 (u, v), ANSI C78.377
        noise=(0.0, 0.06),
        gamma=(0.8, 1.25),
        jpeg=(40.0, 90.0),
    ),
}


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The command line's defaults are these."""

    model: str = "auto"
    weights: str | None = None
    trust_weights: bool = False
    data: str = "samples"
    target: str = "auto"
    technique: str = "pgd"
    also: tuple[str, ...] = ()  # further models, fooled at the same time
    objective: str = "cross-entropy"
    nps: float = 0.0
    tv: float = 0.0
    learning_rate: float | None = None  # None: the technique's own
    restarts: int = 1
    precision: str = "auto"  # of the victims: bfloat16 on a GPU, float32 on the CPU, where bfloat16 is slower
    grid: tuple[int, int] = (10, 10)
    area: float = 0.15  # of the image that the patch is, where it is by itself
    sign_area: float = 0.15  # of the image that the square around a drawn sign is, on which the patch lies
    steps: int = 200
    batch: int = 16
    seed: int = 0
    device: str = "auto"
    held_out: float = 0.5
    limit: int = 2000
    eot: EotConfig = EotConfig()
    backgrounds: str | None = None  # a folder of scenes of a session, as many in a batch as other photographs
    object: str | None = None  # what the patch is put on, of a detector's classes
    object_from: str = "auto"  # where that stands: drawn as a sign, or labelled with boxes in the data
    object_share: float = 0.2  # of a sign's area, or of a labelled box, that the patch is
    object_at: tuple[float, float] = (0.5, 0.5)  # the patch's middle, across and down, as shares of the object's box
    goal: str = "auto"  # what a detector shall do, see GOALS
    scope: str = "patch"  # where that counts, see SCOPES
    profile: str | None = None  # SHA-256 of the rig profile from which `eot` was made

    def __post_init__(self) -> None:
        check_grid(self.grid)
        for name in ("area", "sign_area"):
            if not 0.001 <= getattr(self, name) <= 0.9:
                raise InputError(
                    f"{name} {getattr(self, name)} out of range; expected the share of the image, 0.001 to 0.9"
                )
        for name in ("steps", "batch", "limit", "restarts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0.01 <= self.object_share <= 0.8:
            raise InputError(
                f"object_share {self.object_share} out of range; expected a share of the object, 0.01 to 0.8"
            )
        for name, known in (("goal", GOALS), ("scope", SCOPES), ("object_from", OBJECT_SOURCES)):
            if getattr(self, name) not in known:
                raise unknown_name(name.replace("_", " "), getattr(self, name), known)
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out {self.held_out} out of range; expected a share between 0 and 1")
        for name in ("nps", "tv"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"the weight {name} must be 0 or above, got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.seed < 0:
            raise InputError(f"seed must not be negative, got {self.seed}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate must be positive, got {self.learning_rate}")

    @property
    def drawn_sign(self) -> str | None:
        """The sign that is drawn for the patch to lie on; None where there is none."""
        if self.object is None or self.object_from == "labels":
            return None
        return self.object if self.object_from == "drawn" or sign_name(self.object) is not None else None

    @property
    def labelled_object(self) -> str | None:
        """The class on whose labelled boxes the patch is put; None where a sign is drawn, or there is no object."""
        return None if self.drawn_sign is not None else self.object

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "TrainConfig":
        """Read :meth:`to_dict`'s output back.

        Raises:
            InputError: a key this version does not know, or a value of the wrong kind.
        """
        try:
            return cls._from_plain(value)
        except (TypeError, AttributeError) as error:
            raise InputError(f"the settings of this run cannot be read ({error})") from error

    @classmethod
    def _from_plain(cls, value: dict[str, Any]) -> "TrainConfig":
        eot = value.get("eot", {})
        _refuse_unknown(cls, value)
        _refuse_unknown(EotConfig, eot)
        plain = {k: v for k, v in value.items() if k != "eot"}
        plain |= {k: tuple(plain[k]) for k in ("grid", "also", "object_at") if k in plain}
        config = replace(cls(**plain), eot=_eot_from_plain(eot))
        if config.drawn_sign is not None and "area" in plain and "sign_area" not in plain:
            # Before the two had names of their own, ``area`` of a run on a drawn sign was the sign's.
            config = replace(config, sign_area=config.area, area=cls.area)
        return config


def _eot_from_plain(value: dict[str, Any]) -> EotConfig:
    ranges: dict[str, Any] = {k: tuple(v) for k, v in value.items() if k != "prints"}
    if ranges:
        ranges.setdefault("tint", (1.0, 1.0))  # of runs from before it was drawn
    return EotConfig(**ranges, prints=tuple(ColourMap.from_dict(one) for one in value.get("prints", ())))


def _refuse_unknown(cls: type, value: dict[str, Any]) -> None:
    unknown = sorted(value.keys() - {field.name for field in fields(cls)})
    if unknown:
        raise InputError(
            f"unknown key {unknown[0]!r} in the {cls.__name__} of this run; was it written by a newer physpatch?"
        )


def parse_range(text: str) -> tuple[str, Range]:
    """Turn ``blur_px=0:2`` into ("blur_px", (0.0, 2.0)), and ``NAME=VALUE`` into a range of one value.

    Raises:
        InputError: no such range, or not two numbers.
    """
    name, _, value = text.partition("=")
    if name not in _NEUTRAL:
        raise unknown_name("EOT range", name, _NEUTRAL)
    low, _, high = value.partition(":")
    try:
        return name, (float(low), float(high or low))
    except ValueError:
        raise InputError(f"EOT range {text!r} not understood; write {name}=LOW:HIGH") from None


def parse_place(text: str) -> tuple[float, float]:
    """Turn ``0.5,0.6`` into shares across and down; below 0 and above 1 is beside.

    Raises:
        InputError: not two shares, or too far away.
    """
    try:
        across, down = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"the place {text!r} is not understood; write two shares of the object's box, such as 0.5,0.5"
        ) from None
    if not all(-_FARTHEST_BESIDE <= share <= 1 + _FARTHEST_BESIDE for share in (across, down)):
        raise InputError(
            f"the place {text!r} is far from the object; expected shares of its box, {-_FARTHEST_BESIDE} to "
            f"{1 + _FARTHEST_BESIDE}, where 0 to 1 is on it"
        )
    return across, down
