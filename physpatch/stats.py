"""Intervals for what was measured."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

_PRIOR_CLIPS = 0.25


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
    """Mean of the clips' own success rates; ``n`` counts clips, because frames of one clip are not independent trials.

    The interval is Wilson's at the effective number of trials n / ICC, with the intra-class correlation from the spread
    between clips (Kish 1965, section 5.4, for clusters of many frames). To that spread a quarter of a clip at 0 and one at
    1 are added, because a few clips that agree do not show that all would: so it covers 94 to 99 % where the t interval
    falls to 48 % (docs/results.md). With a single clip nothing is known of others.
    """
    n = len(rates)
    if n == 0:
        return Rate(None, None, 0)
    mean = math.fsum(rates) / n
    if n == 1:
        return Rate(mean, (0.0, 1.0), 1)
    center = (math.fsum(rates) + _PRIOR_CLIPS) / (n + 2 * _PRIOR_CLIPS)
    spread = math.fsum((r - center) ** 2 for r in rates) + _PRIOR_CLIPS * (center**2 + (1 - center) ** 2)
    correlation = spread / (n + 2 * _PRIOR_CLIPS - 1) / (center * (1 - center))
    return Rate(mean, _score_interval(mean, n / min(1.0, correlation)), n)


def _score_interval(rate: float, trials: float) -> tuple[float, float]:
    """Wilson's interval for a rate that need not be a whole number of successes."""
    quantile = float(stats.norm.ppf(0.975))
    squared = quantile**2 / trials
    middle = (rate + squared / 2) / (1 + squared)
    half = quantile / (1 + squared) * math.sqrt(rate * (1 - rate) / trials + squared / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
