"""Rates and differences with their intervals, as plain values; ``physpatch.stats.intervals`` computes them."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import annotated_types as at

Interval = tuple[float, float]
_ROUNDING = 1e-9
# Bounds that hold where a record is read from a file.
Share = Annotated[float, at.Interval(ge=-_ROUNDING, le=1 + _ROUNDING)]
Count = Annotated[int, at.Interval(ge=0, le=2**53)]
_Change = Annotated[float, at.Interval(ge=-2, le=2)]  # by Student's t, an interval's end may lie beyond 1


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval. ``rate`` and ``ci95`` are None if nothing was counted.

    A single clip says nothing about others, so its ``ci95`` is None, and ``within95`` is the interval within the clip.
    """

    rate: Share | None
    ci95: tuple[Share, Share] | None
    n: Count
    within95: tuple[Share, Share] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert the rate to JSON values."""
        values = asdict(self)
        return values if self.within95 is not None else {k: v for k, v in values.items() if k != "within95"}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Rate":
        """Restore a rate from :meth:`to_dict`, also after a round trip through JSON."""
        ends = (None if end is None else (end[0], end[1]) for end in (value["ci95"], value.get("within95")))
        ci95, within95 = ends
        return cls(value["rate"], ci95, value["n"], within95)

    def __str__(self) -> str:
        if self.rate is None:
            return "not measured"
        if self.ci95 is None:
            return f"{percent(self.rate)} in one clip, which says nothing about others"
        return f"{percent(self.rate)} [{100 * self.ci95[0]:.1f}, {100 * self.ci95[1]:.1f}], n = {self.n}"


@dataclass(frozen=True)
class Difference:
    """One rate minus another, as shares, with its 95 % interval; ``n`` counts pairs, or the smaller of two samples.

    ``p_value`` is that of McNemar's exact test, for pairs of equal weight.
    """

    difference: Annotated[float, at.Interval(ge=-1 - _ROUNDING, le=1 + _ROUNDING)] | None
    ci95: tuple[_Change, _Change] | None
    n: Count
    p_value: Share | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert the difference to JSON values."""
        return asdict(self)

    @property
    def is_significant(self) -> bool:
        """Tell whether the interval excludes zero."""
        return self.ci95 is not None and not self.ci95[0] <= 0 <= self.ci95[1]

    def __str__(self) -> str:
        if self.difference is None:
            return "not measured"
        if self.ci95 is None:
            return f"{points(self.difference)} points of too few clips to say anything about others"
        low, high = map(points, self.ci95)
        return f"{points(self.difference)} points [{low}, {high}], n = {self.n}"

    def __neg__(self) -> "Difference":
        """Return the difference in the other direction."""
        ci95 = None if self.ci95 is None else (-self.ci95[1], -self.ci95[0])
        return replace(self, difference=None if self.difference is None else -self.difference, ci95=ci95)


def points(change: float, digits: int = 1) -> str:
    """Format a change of a share in points, with its sign, such as ``+7.1``; what rounds to zero has none."""
    text = f"{100 * change:+.{digits}f}"
    return text if float(text) else text[1:]


@dataclass(frozen=True)
class Median:
    """A median with its 95 % interval; ``median`` is None without values, ``ci95`` for fewer than six."""

    median: float | None
    ci95: Interval | None
    n: int


def bounds_words(low: float, high: float | None, unit: str = "") -> str:
    """Format the bounds of a bin, such as ``1 to 2 m``; the last has no upper one: ``10 m and more``."""
    after = f" {unit}" if unit else ""
    return f"{low:g}{after} and more" if high is None else f"{low:g} to {high:g}{after}"


def percent(share: float | None) -> str:
    """Format a share in [0, 1] such as ``41.0 %``; None becomes a dash."""
    return "–" if share is None else f"{100 * share:.1f} %"
