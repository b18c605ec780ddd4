"""Intervals for what was measured."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval. ``rate`` and ``ci95`` are None where nothing was counted."""

    rate: float | None
    ci95: tuple[float, float] | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        if self.rate is None or self.ci95 is None:
            return "not measured"
        return f"{100 * self.rate:.1f} % [{100 * self.ci95[0]:.1f}, {100 * self.ci95[1]:.1f}], n = {self.n}"


def wilson(successes: int, n: int) -> Rate:
    """Wilson's score interval for independent trials (Wilson 1927)."""
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if n == 0:
        return Rate(None, None, 0)
    interval = stats.binomtest(successes, n).proportion_ci(method="wilson")
    return Rate(successes / n, (float(interval.low), float(interval.high)), n)


def clip_rate(rates: Sequence[float]) -> Rate:
    """Mean of the clips' own success rates with a t interval over clips, cut to [0, 1].

    Frames of one clip are not independent trials: the clip is the unit, ``n`` counts clips. With fewer than two clips
    there is no interval, and none is given.
    """
    n = len(rates)
    if n == 0:
        return Rate(None, None, 0)
    mean = math.fsum(rates) / n
    if n == 1:
        return Rate(mean, (0.0, 1.0), 1)
    spread = math.sqrt(math.fsum((r - mean) ** 2 for r in rates) / (n - 1) / n)
    half = float(stats.t.ppf(0.975, n - 1)) * spread
    if half == 0:  # all clips agree: a t interval of no width would claim certainty; Wilson over clips does not
        return Rate(mean, wilson(round(mean * n), n).ci95, n)
    return Rate(mean, (max(0.0, mean - half), min(1.0, mean + half)), n)
