"""Rates, differences and forecasts with their 95 % intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from physpatch.stats.rates import Difference as Difference
from physpatch.stats.rates import Interval as Interval
from physpatch.stats.rates import Median as Median
from physpatch.stats.rates import Rate as Rate
from physpatch.stats.rates import percent as percent

_PRIOR_CLIPS = 0.25
_RESAMPLES = 2000
_MOST_UNITS = 10**7
_Z = float(stats.norm.ppf(0.975))


# --- one rate ------------------------------------------------------------------------------------------------------------


def wilson(successes: int, n: int) -> Rate:
    """Estimate a rate of independent trials with Wilson's score interval (Wilson 1927)."""
    return _independent(successes, n, "wilson")


def clopper_pearson(successes: int, n: int) -> Rate:
    """Estimate a rate of independent trials with the exact interval (Clopper and Pearson 1934).

    It is never too short and usually too long.
    """
    return _independent(successes, n, "exact")


def means_by_unit(values: ArrayLike, units: ArrayLike) -> list[float]:
    """Average values (N,) over those of equal ``units`` (N,), such as the frames of one clip: one mean a unit."""
    _, number = np.unique(np.asarray(units), return_inverse=True)
    sums, counts = np.bincount(number, np.asarray(values, dtype=float)), np.bincount(number)
    return [float(total / count) for total, count in zip(sums, counts, strict=True)]


def rate_by_unit(successes: ArrayLike, units: ArrayLike) -> Rate:
    """Estimate the share of successes (N,): Wilson's interval where all ``units`` (N,) differ, else :func:`clip_rate`'s."""
    means = means_by_unit(successes, units)
    if len(means) == np.size(successes):
        return wilson(round(sum(means)), len(means))
    return clip_rate(means)


def clip_rate(rates: Sequence[float], weights: Sequence[float] | None = None) -> Rate:
    """Average the success rates of clips; ``n`` counts clips, because frames of one clip are not independent trials.

    The interval is Wilson's at the effective number of trials n / ICC, with the intra-class correlation from the spread
    between clips (Kish 1965, section 5.4, for clusters of many frames). A quarter of a clip at 0 and one at 1 are added to
    that spread, because a few clips may agree by chance: so the interval covers 94 to 99 % where the t interval's coverage
    falls to 48 % (docs/results.md). A single clip says nothing about others: its interval is from 0 to 1.

    ``weights``, all above 0, weight the clips; the effective number of clips is then Kish's.
    """
    if len(rates) == 0:
        return Rate(None, None, 0)
    shares = _normalised(weights, len(rates))
    mean, n = math.fsum(shares * np.asarray(rates, dtype=float)), 1 / math.fsum(shares**2)
    if len(rates) == 1:
        return Rate(mean, (0.0, 1.0), 1)
    return Rate(mean, score_interval(mean, n / clip_correlation(rates, weights)), len(rates))


def clip_correlation(rates: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Estimate the intra-class correlation behind :func:`clip_rate`'s interval, at most 1; 1 for a single clip."""
    if len(rates) < 2:
        return 1.0
    shares = _normalised(weights, len(rates))
    values = np.asarray(rates, dtype=float)
    mean, n = math.fsum(shares * values), 1 / math.fsum(shares**2)
    center = (n * mean + _PRIOR_CLIPS) / (n + 2 * _PRIOR_CLIPS)
    spread = n**2 * math.fsum((shares * (values - center)) ** 2) + _PRIOR_CLIPS * (center**2 + (1 - center) ** 2)
    return min(1.0, spread / (n + 2 * _PRIOR_CLIPS - 1) / (center * (1 - center)))


def _normalised(weights: Sequence[float] | None, n: int) -> NDArray[np.float64]:
    return np.full(n, 1 / n) if weights is None else np.asarray(weights, dtype=float) / math.fsum(weights)


def clip_t(rates: Sequence[float]) -> Interval | None:
    """Compute Student's t interval over the rates of clips; None for fewer than two clips.

    It is too short where clips agree by chance.
    """
    if len(rates) < 2:
        return None
    mean, error = float(np.mean(rates)), float(np.std(rates, ddof=1)) / math.sqrt(len(rates))
    half = float(stats.t.ppf(0.975, len(rates) - 1)) * error
    return max(0.0, mean - half), min(1.0, mean + half)


def clip_bootstrap(rates: Sequence[float], *, seed: int = 0) -> Interval | None:
    """Compute the percentile bootstrap interval over whole clips; None for fewer than two clips.

    See Davison and Hinkley 1997, section 3.8.
    """
    if len(rates) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.asarray(rates)[rng.integers(len(rates), size=(_RESAMPLES, len(rates)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def percentile_bootstrap(
    statistic: Callable[..., float | None], *columns: NDArray[np.float64], seed: int = 0
) -> Interval | None:
    """Compute the percentile bootstrap interval of a statistic over units that are drawn anew.

    See Davison and Hinkley 1997, section 5.3.1.

    Args:
        statistic: of the columns; None where it is undefined.
        columns: each (N, …), a row for each unit.
        seed: of the draws.

    Returns:
        None for fewer than three units, or where fewer than half of the draws define the statistic.
    """
    rng, n = np.random.default_rng(seed), len(columns[0])
    if n < 3:
        return None
    drawn = (statistic(*(column[chosen] for column in columns)) for chosen in rng.integers(n, size=(_RESAMPLES, n)))
    defined = [value for value in drawn if value is not None]
    if len(defined) < _RESAMPLES / 2:
        return None
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def median_over(values: Sequence[float]) -> Median:
    """Compute the median of the values of clips, with its distribution-free interval (Conover 1999, section 3.2).

    The interval lies between two of the ordered values and covers at least 95 %, which not even the range of fewer than six
    does.
    """
    ordered, n = sorted(values), len(values)
    rank = int(stats.binom.ppf(0.025, n, 0.5)) if n else 0
    return Median(float(np.median(ordered)) if n else None, (ordered[rank - 1], ordered[-rank]) if rank else None, n)


@dataclass(frozen=True)
class Correlation:
    """The similarity of the frames of one clip.

    Attributes:
        icc: intra-class correlation in [0, 1]; None where each clip has one frame or nothing varies.
        effective_n: number of independent frames with the same information.
    """

    icc: float | None
    effective_n: float


def frame_correlation(hits: Sequence[int], frames: Sequence[int]) -> Correlation:
    """Estimate the intra-class correlation of frames' successes by analysis of variance (Ridout et al. 1999, eq. 6).

    The effective sample size is the number of frames over the design effect 1 + (m - 1) ICC (Kish 1965, section 5.4).

    Args:
        hits: successes in each clip.
        frames: frames in each clip, at least one.
    """
    k, m = np.asarray(hits, dtype=float), np.asarray(frames, dtype=float)
    total, clips = float(m.sum()), len(m)
    if clips < 2 or total <= clips or not 0 < k.sum() < total:
        return Correlation(None, float(clips) if clips < total else total)
    within = float((k - k * k / m).sum()) / (total - clips)
    between = float((k * k / m).sum() - k.sum() ** 2 / total) / (clips - 1)
    size = (total - float((m * m).sum()) / total) / (clips - 1)
    icc = min(1.0, max(0.0, (between - within) / (between + (size - 1) * within)))
    return Correlation(icc, total / (1 + (size - 1) * icc))


def clips_needed(margin: float, *, rate: float = 0.5, correlation: float = 1.0) -> int:
    """Compute how many clips reduce the half width of :func:`clip_rate`'s interval to ``margin``.

    Args:
        margin: share above 0.
        rate: the expected share; a half needs most clips.
        correlation: of the frames within a clip; 1, where all agree, needs most clips.
    """
    if not 0 < margin < 1 or not 0 <= rate <= 1:
        raise ValueError(f"margin must lie between 0 and 1 and rate in [0, 1], got {margin} and {rate}")

    def half(clips: int) -> float:
        low, high = score_interval(rate, clips / max(correlation, 1e-3))
        return (high - low) / 2

    low, high = 1, _MOST_UNITS
    while low < high:  # the half width falls with the number of clips
        middle = (low + high) // 2
        low, high = (low, middle) if half(middle) <= margin else (middle + 1, high)
    return low


# --- two rates -----------------------------------------------------------------------------------------------------------


def paired_difference(
    first: Sequence[float], second: Sequence[float], weights: Sequence[float] | None = None
) -> Difference:
    """Estimate the mean difference, first minus second, of rates in [0, 1] of the same clips or pose cells.

    The interval combines those of both rates by :func:`clip_rate` with their correlation over the pairs (Newcombe 1998, method
    10 of his paper on paired data). A few pairs that are correlated by chance would make it too short, so the correlation is
    shrunk to n / (n + 2) of it, as by two more pairs without any. ``weights`` are those of :func:`clip_rate`; where they
    differ, or a rate is neither 0 nor 1, McNemar's test does not apply, because it counts pairs.

    Raises:
        ValueError: the numbers of rates differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} rates cannot be paired with {len(second)}")
    if len(first) == 0:
        return Difference(None, None, 0)
    correlation = _shrunk_correlation(first, second, weights)
    joined = _joined(clip_rate(first, weights), clip_rate(second, weights), correlation)
    if len(first) == 1:
        return replace(joined, ci95=(-1.0, 1.0))
    equal_weights = weights is None or max(weights) - min(weights) < 1e-9
    countable = equal_weights and {*first, *second} <= {0.0, 1.0}
    return replace(joined, p_value=mcnemar(first, second) if countable else None)


def _shrunk_correlation(first: Sequence[float], second: Sequence[float], weights: Sequence[float] | None) -> float:
    shares = _normalised(weights, len(first))
    a, b = (np.asarray(rates) - shares @ np.asarray(rates) for rates in (first, second))
    scale = math.sqrt(float(shares @ a**2) * float(shares @ b**2))
    n = 1 / float(shares @ shares)
    return float(shares @ (a * b)) / scale * n / (n + 2) if scale > 1e-12 else 0.0


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute the exact two-sided p value of McNemar's test (1947) on pairs of outcomes, each 0 or 1."""
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(b > a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def independent_difference(first: Rate, second: Rate) -> Difference:
    """Estimate the difference of rates without common clips, with Newcombe's hybrid interval (1998, method 10)."""
    return _joined(first, second, 0.0)


def _joined(first: Rate, second: Rate, correlation: float) -> Difference:
    """Estimate the difference of two correlated rates from their intervals (Newcombe 1998)."""
    if first.rate is None or second.rate is None:
        return Difference(None, None, 0)
    difference = first.rate - second.rate
    if first.ci95 is None or second.ci95 is None:
        return Difference(difference, None, min(first.n, second.n))
    below, rise = first.rate - first.ci95[0], second.ci95[1] - second.rate
    above, fall = first.ci95[1] - first.rate, second.rate - second.ci95[0]
    low = difference - math.sqrt(max(0.0, below**2 - 2 * correlation * below * rise + rise**2))
    high = difference + math.sqrt(max(0.0, above**2 - 2 * correlation * above * fall + fall**2))
    return Difference(difference, (max(-1.0, low), min(1.0, high)), min(first.n, second.n))


# --- predictions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forecast:
    """The quality of predicted shares.

    Attributes:
        brier: mean squared error (Brier 1950); 0 is perfect.
        constant: Brier score of always predicting the measured mean; a useful prediction scores lower.
        slope: of the measured on the predicted shares, by least squares; 1 is calibrated, 0 is uninformative. None where all
            predictions are equal.
        slope_ci95: by the bootstrap over the pairs; None where pairs are not independent.
        n: number of pairs.
    """

    brier: float
    constant: float
    slope: float | None
    slope_ci95: Interval | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Convert the forecast to JSON values."""
        return asdict(self)


def forecast(
    predicted: Sequence[float], measured: Sequence[float], *, alike: bool = False, seed: int = 0
) -> Forecast | None:
    """Compare predicted with measured shares, clip by clip or cell by cell; None without any.

    ``alike`` says that pairs come from the same clips, so that their number supports no interval.
    """
    p, m = np.asarray(predicted, dtype=float), np.asarray(measured, dtype=float)
    if not len(p):
        return None
    slope = _slope(p, m)
    interval = None if slope is None or alike else percentile_bootstrap(_slope, p, m, seed=seed)
    return Forecast(float(((p - m) ** 2).mean()), float(m.var()), slope, interval, len(p))


def _slope(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float | None:
    spread = float(predicted.var())
    return float(((predicted - predicted.mean()) * measured).mean()) / spread if spread > 1e-12 else None


def mean_interval(values: ArrayLike) -> tuple[float, Interval] | None:
    """Compute the mean of independent measurements and Student's t interval; None for fewer than two."""
    measured = np.asarray(values, dtype=float)
    n = len(measured)
    if n < 2:
        return None
    half = float(stats.t.ppf(0.975, n - 1) * measured.std(ddof=1) / math.sqrt(n))
    mean = float(measured.mean())
    return mean, (mean - half, mean + half)


def _independent(successes: int, n: int, method: str) -> Rate:
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n, got {successes} of {n}")
    if n == 0:
        return Rate(None, None, 0)
    interval = stats.binomtest(successes, n).proportion_ci(method=method)
    return Rate(successes / n, (float(interval.low), float(interval.high)), n)


def score_interval(rate: float, trials: float, quantile: float = _Z) -> Interval:
    """Compute Wilson's interval for a rate that need not be a whole number of successes."""
    squared = quantile**2 / trials
    middle = (rate + squared / 2) / (1 + squared)
    half = quantile / (1 + squared) * math.sqrt(rate * (1 - rate) / trials + squared / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
