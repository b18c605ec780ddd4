"""The ranges of transformations for training and evaluation."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from calibration.colour.colour_map import Print, print_from_dict
from calibration.colour.printing_condition import training_conditions
from calibration.common.errors import InputError, unknown_name
from physpatch.transforms import DEFAULT_PRESET, PRESETS, Range, parameters


@dataclass(frozen=True, init=False)
class EotConfig:
    """Ranges of the expectation over transformation (Athalye et al. 2018, section 2). Each is sampled uniformly.

    Every transform of ``physpatch.transforms`` has its ranges here, by name: ``EotConfig(blur_px=(0.0, 2.0))`` sets one, and
    ``config.blur_px`` reads it. Missing ranges are those of the preset ``desk``: a print on or above a desk, before a webcam
    or phone.

    Attributes:
        prints: printing conditions, of which each image has one or a mixture, or colour maps of a measured printer and
            camera, one for each light; empty to keep the cells' colours, as on a screen.
    """

    _ranges: tuple[tuple[str, Range], ...]
    prints: tuple[Print, ...]

    def __init__(self, prints: tuple[Print, ...] = (), **ranges: Range) -> None:
        """Create ranges by name.

        Raises:
            InputError: a range of no transform, or one outside its limits.
        """
        declared = parameters()
        for name in ranges.keys() - declared.keys():
            raise unknown_name("EOT range", name, declared)
        chosen = {name: ranges.get(name, parameter.preset(DEFAULT_PRESET)) for name, parameter in declared.items()}
        for name, (low, high) in chosen.items():
            least, most = declared[name].limits
            if not -math.inf < low <= high < math.inf:
                raise InputError(f"EOT range {name} is {low} to {high}; expected two numbers in ascending order")
            if not least <= low <= high <= most:
                raise InputError(f"EOT range {name} {low:g} to {high:g} out of range; expected {least:g} to {most:g}")
        object.__setattr__(self, "_ranges", tuple((name, tuple(bounds)) for name, bounds in chosen.items()))
        object.__setattr__(self, "prints", tuple(prints))

    def __getattr__(self, name: str) -> Range:
        for own_name, bounds in self.__dict__.get("_ranges", ()):
            if own_name == name:
                return bounds
        raise AttributeError(f"EotConfig has no range {name!r}")

    @property
    def ranges(self) -> dict[str, Range]:
        """Return all ranges by name."""
        return dict(self._ranges)

    @classmethod
    def none(cls) -> "EotConfig":
        """Create ranges without any transformation except the random place, as in the original project."""
        neutral: dict[str, Any] = {name: (p.neutral, p.neutral) for name, p in parameters().items()}
        return cls(**neutral)

    @classmethod
    def preset(cls, name: str) -> "EotConfig":
        """Create the ranges of a preset in :data:`physpatch.transforms.PRESETS`, under all printing conditions for training.

        Raises:
            InputError: no such preset.
        """
        if name not in PRESETS:
            raise unknown_name("EOT preset", name, PRESETS)
        ranges: dict[str, Any] = {key: parameter.preset(name) for key, parameter in parameters().items()}
        return cls(training_conditions(), **ranges)

    def narrowed(self, share: float) -> "EotConfig":
        """Interpolate between ranges without an effect, at a share of 0, and these, at 1; the prints stay as they are."""
        if share >= 1:
            return self
        neutral = {name: parameter.neutral for name, parameter in parameters().items()}
        narrow: dict[str, Any] = {
            name: (neutral[name] + share * (low - neutral[name]), neutral[name] + share * (high - neutral[name]))
            for name, (low, high) in self._ranges
        }
        return self.changed(**narrow)

    def changed(self, prints: tuple[Print, ...] | None = None, **ranges: Range) -> "EotConfig":
        """Replace some of the ranges, or the colour maps.

        Raises:
            InputError: a range of no transform, or one outside its limits.
        """
        return EotConfig(self.prints if prints is None else prints, **self.ranges | ranges)

    def with_ranges(self, ranges: Iterable[tuple[str, Range]]) -> "EotConfig":
        """Replace ranges by the results of :func:`parse_range`; the last one of a name counts.

        Raises:
            InputError: a range outside its limits.
        """
        changed: dict[str, Any] = dict(ranges)
        return self.changed(**changed)

    def to_dict(self) -> dict[str, Any]:
        """Convert the ranges to JSON values."""
        return self.ranges | {"prints": [colour_map.to_dict() for colour_map in self.prints]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "EotConfig":
        """Restore ranges from :meth:`to_dict`; those of transforms that did not exist yet become neutral.

        Raises:
            InputError: a key that belongs to no transform here.
        """
        prints = tuple(print_from_dict(colour_map) for colour_map in value.get("prints", ()))
        unknown = sorted(value.keys() - parameters().keys() - {"prints"})
        if unknown:
            raise newer_key(unknown[0], cls)
        ranges = {name: tuple(ends) for name, ends in value.items() if name != "prints"}
        if not ranges:
            return cls(prints)
        absent = {name: (p.neutral, p.neutral) for name, p in parameters().items() if name not in ranges}
        return cls(prints, **absent | ranges)


def newer_key(key: str, section: type) -> InputError:
    """Create the error for an unknown key of a saved config."""
    return InputError(
        f"unknown key {key!r} in the {section.__name__} of this run; it may have been written by a newer physpatch, or "
        "with an extension that is not installed here"
    )


def parse_range(text: str) -> tuple[str, Range]:
    """Parse ``blur_px=0:2`` into ("blur_px", (0.0, 2.0)), and ``NAME=VALUE`` into a range of a single value.

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
        raise InputError(f"EOT range {text!r} not understood; give {name}=LOW:HIGH") from None
