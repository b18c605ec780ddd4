"""The ranges that transformations are sampled from in training and measuring."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from calibration.colour.colour_map import ColourMap
from calibration.common.errors import InputError, unknown_name
from physpatch.transforms import DEFAULT_PRESET, PRESETS, Range, parameters


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
            raise newer_key(unknown[0], cls)
        given = {name: tuple(ends) for name, ends in value.items() if name != "prints"}
        if not given:
            return cls(prints)
        absent = {name: (one.neutral, one.neutral) for name, one in parameters().items() if name not in given}
        return cls(prints, **absent | given)


def newer_key(key: str, section: type) -> InputError:
    """Build the error for a key of a saved config that nothing here knows."""
    return InputError(
        f"unknown key {key!r} in the {section.__name__} of this run; was it written by a newer physpatch, or with an "
        "extension that is not installed here?"
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
