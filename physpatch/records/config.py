"""What a run is asked to do: plain frozen dataclasses, refused when a key is unknown, saved with the run."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from calibration.colour.colour_map import ColourMap
from calibration.common.errors import InputError, unknown_name
from calibration.common.success import GOALS, SCOPES
from calibration.sheet.road_signs import sign_name
from physpatch.records.patch_file import check_grid
from physpatch.transforms import DEFAULT_PRESET, PRESETS, Range, parameters

PRECISIONS = ("auto", "float32", "bfloat16")
OBJECT_SOURCES = ("auto", "drawn", "labels")  # auto: drawn where it is one of the signs
_FARTHEST_BESIDE = 1.5  # sizes of an object from its own edge


@dataclass(frozen=True, init=False)
class EotConfig:
    """Ranges of the expectation over transformation (Athalye et al. 2018, section 2). Each is sampled uniformly.

    Every transform of ``physpatch.transforms`` has its ranges here, by name: ``EotConfig(blur_px=(0.0, 2.0))`` sets one, and
    ``config.blur_px`` reads it. What is not given is the preset ``desk``'s: a print on or above a desk before a webcam or
    phone.

    Attributes:
        prints: what a measured printer and camera make of the cells' colours, a map for each light; empty leaves them.
    """

    _ranges: tuple[tuple[str, Range], ...]
    prints: tuple[ColourMap, ...]

    def __init__(self, prints: tuple[ColourMap, ...] = (), **ranges: Range) -> None:
        """Take ranges by name.

        Raises:
            InputError: a range that no transform has, or that leaves its limits.
        """
        known = parameters()
        for name in ranges.keys() - known.keys():
            raise unknown_name("EOT range", name, known)
        chosen = {name: ranges.get(name, one.preset(DEFAULT_PRESET)) for name, one in known.items()}
        for name, (low, high) in chosen.items():
            least, most = known[name].limits
            if not -math.inf < low <= high < math.inf:
                raise InputError(f"EOT range {name} runs from {low} to {high}; expected two rising numbers")
            if not least <= low <= high <= most:
                raise InputError(f"EOT range {name} {low:g} to {high:g} out of range; expected {least:g} to {most:g}")
        object.__setattr__(self, "_ranges", tuple((name, tuple(bounds)) for name, bounds in chosen.items()))
        object.__setattr__(self, "prints", tuple(prints))

    def __getattr__(self, name: str) -> Range:
        for known, bounds in self.__dict__.get("_ranges", ()):
            if known == name:
                return bounds
        raise AttributeError(f"EotConfig has no range {name!r}")

    @property
    def ranges(self) -> dict[str, Range]:
        """Every range by its name."""
        return dict(self._ranges)

    @classmethod
    def none(cls) -> "EotConfig":
        """Give no transformation but the random place, as in the original project."""
        neutral: dict[str, Any] = {name: (one.neutral, one.neutral) for name, one in parameters().items()}
        return cls(**neutral)

    @classmethod
    def preset(cls, name: str) -> "EotConfig":
        """Give one of :data:`physpatch.transforms.PRESETS`.

        Raises:
            InputError: no such preset.
        """
        if name not in PRESETS:
            raise unknown_name("EOT preset", name, PRESETS)
        ranges: dict[str, Any] = {key: one.preset(name) for key, one in parameters().items()}
        return cls(**ranges)

    def narrowed(self, share: float) -> "EotConfig":
        """Give ranges that reach only this share, in [0, 1], of the way from no transformation to the whole."""
        if share >= 1:
            return self
        neutral = {name: one.neutral for name, one in parameters().items()}
        narrow: dict[str, Any] = {
            name: (neutral[name] + share * (low - neutral[name]), neutral[name] + share * (high - neutral[name]))
            for name, (low, high) in self._ranges
        }
        return self.changed(**narrow)

    def changed(self, prints: tuple[ColourMap, ...] | None = None, **ranges: Range) -> "EotConfig":
        """Give the same with some ranges, or the measured maps, replaced.

        Raises:
            InputError: a range that no transform has, or that leaves its limits.
        """
        return EotConfig(self.prints if prints is None else prints, **self.ranges | ranges)

    def with_ranges(self, ranges: Iterable[tuple[str, Range]]) -> "EotConfig":
        """Replace ranges by those of :func:`parse_range`; of several for one name the last holds.

        Raises:
            InputError: a range out of its limits.
        """
        changed: dict[str, Any] = dict(ranges)
        return self.changed(**changed)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return self.ranges | {"prints": [asdict(one) for one in self.prints]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "EotConfig":
        """Read :meth:`to_dict`'s output back; ranges of transforms that were not there yet are neutral.

        Raises:
            InputError: a key that no transform here has.
        """
        prints = tuple(ColourMap.from_dict(one) for one in value.get("prints", ()))
        unknown = sorted(value.keys() - parameters().keys() - {"prints"})
        if unknown:
            raise _newer(unknown[0], cls)
        given = {name: tuple(ends) for name, ends in value.items() if name != "prints"}
        if not given:
            return cls(prints)
        absent = {name: (one.neutral, one.neutral) for name, one in parameters().items() if name not in given}
        return cls(prints, **absent | given)


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
    eot: EotConfig = field(default_factory=EotConfig)
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
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"eot": self.eot.to_dict()}

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
        unknown = sorted(value.keys() - {one.name for one in fields(cls)})
        if unknown:
            raise _newer(unknown[0], cls)
        plain = {k: v for k, v in value.items() if k != "eot"}
        plain |= {k: tuple(plain[k]) for k in ("grid", "also", "object_at") if k in plain}
        config = replace(cls(**plain), eot=EotConfig.from_dict(eot))
        if config.drawn_sign is not None and "area" in plain and "sign_area" not in plain:
            # Before the two had names of their own, ``area`` of a run on a drawn sign was the sign's.
            config = replace(config, sign_area=config.area, area=cls.area)
        return config


def _newer(key: str, cls: type) -> InputError:
    return InputError(
        f"unknown key {key!r} in the {cls.__name__} of this run; was it written by a newer physpatch, or with an extension "
        "that is not installed here?"
    )


def parse_range(text: str) -> tuple[str, Range]:
    """Turn ``blur_px=0:2`` into ("blur_px", (0.0, 2.0)), and ``NAME=VALUE`` into a range of one value.

    Raises:
        InputError: no such range, or not two numbers.
    """
    name, _, value = text.partition("=")
    if name not in parameters():
        raise unknown_name("EOT range", name, parameters())
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
