"""Rates over clips of several pose cells each: what a hand-held session gives.

A clip is a stretch of filming in which one sheet is held up. Frames of one pose cell are alike, and so are the cells of one
clip: the hand, the light and the distance drift together. Cells seen in several clips are alike as well. So the variance of a
mean has two parts, between clips and between cells, added as for two-way clusters (Cameron, Gelbach and Miller 2011); the
degrees of freedom lie between Satterthwaite's (1946) and Welch's (1947), and the interval has Wilson's shape, which stays
within 0 and 1. What single cells of single clips vary by is in both parts and is taken off once, as the residual mean square
of the two-way analysis of variance has it: the squares of all residuals, which hold the effects of clips and cells as well,
would take off too much.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from physpatch.stats.intervals import Difference, Interval, Rate, clip_rate, score_interval

# Weight of one clip at 0 and one at 1 that are added to the spread, so that clips which agree by chance do not seem to show
# that all would; small, because a clip of many cells rarely lies there (benchmarks/session_intervals.py).
_PRIOR_CLIPS = 0.002
_PRIOR_CLIPS_OF_CHANGES = 0.001  # which lie about a half when brought to [0, 1], half as far from both ends


@dataclass(frozen=True)
class Observation:
    """One pose cell of one clip.

    Attributes:
        clip, cell: names of both; the same cell in another clip has the same name.
        share: of its frames in which something happened, in [0, 1].
        weight: how much it counts, such as the share of the control's frames that are right at that pose.
    """

    clip: Hashable
    cell: Hashable
    share: float
    weight: float = 1.0


class _Side(NamedTuple):
    """One condition: its mean, the residuals' sums by clip and by cell, and the variances of the mean."""

    mean: float
    center: float
    clips: int
    of_clips: float
    by_cell: dict[Hashable, float]
    of_single: float  # from single cells of single clips, which of_clips holds too


def clustered_rate(observations: Sequence[Observation]) -> Rate:
    """Estimate the share over clips and poses; ``n`` counts clips.

    With a single clip nothing is known of others: no interval over clips is claimed, and ``within95`` is that over its cells.
    """
    return _rate(observations, _PRIOR_CLIPS)


def _rate(observations: Sequence[Observation], prior: float) -> Rate:
    counted = [one for one in observations if one.weight > 0]
    if not counted:
        return Rate(None, None, 0)
    side = _side(counted, prior)
    if side.clips == 1:
        within = clip_rate([one.share for one in counted], [one.weight for one in counted])
        return Rate(side.mean, None, 1, within.ci95 if len(counted) > 1 else None)
    between_cells = _between_cells(side.by_cell, side.of_single)
    variance = side.of_clips + between_cells
    quantile = _quantile([(side.of_clips, side.clips - 1), (between_cells, len(side.by_cell) - 1)])
    return Rate(side.mean, _interval(side, variance, quantile), side.clips)


def clustered_difference(ones: Sequence[Observation], others: Sequence[Observation]) -> Difference:
    """Estimate the difference of two conditions that were filmed in clips of their own; only cells of both count.

    Cells are paired: what a pose does to both is taken off. The interval joins those of both rates (Newcombe 1998, method
    10) and what the difference varies from cell to cell. ``n`` is the smaller number of clips; with one clip on either side
    no interval is claimed.
    """
    common = {one.cell for one in ones if one.weight > 0} & {one.cell for one in others if one.weight > 0}
    sides = [
        _side(counted) if (counted := [one for one in side if one.cell in common and one.weight > 0]) else None
        for side in (ones, others)
    ]
    one, other = sides
    if one is None or other is None:
        return Difference(None, None, 0)
    difference, clips = one.mean - other.mean, min(one.clips, other.clips)
    if clips == 1:
        return Difference(difference, None, 1)
    by_cell = {cell: one.by_cell[cell] - other.by_cell[cell] for cell in one.by_cell}
    between_cells = _between_cells(by_cell, one.of_single + other.of_single)
    parts = [(one.of_clips, one.clips - 1), (other.of_clips, other.clips - 1), (between_cells, len(by_cell) - 1)]
    quantile = _quantile(parts)
    low, high = _interval(one, one.of_clips, quantile)
    least, most = _interval(other, other.of_clips, quantile)
    of_cells = quantile**2 * between_cells
    below = np.sqrt((one.mean - low) ** 2 + (most - other.mean) ** 2 + of_cells)
    above = np.sqrt((high - one.mean) ** 2 + (other.mean - least) ** 2 + of_cells)
    return Difference(difference, (max(-1.0, difference - float(below)), min(1.0, difference + float(above))), clips)


def clustered_change(ones: Sequence[Observation], others: Sequence[Observation]) -> Difference:
    """Estimate the difference of two judgements of the same cells of the same clips; only what both have counts.

    What a clip and a pose do to both is taken off: the change of each cell of each clip, between -1 and 1, is one observation,
    brought to [0, 1] to be averaged as in :func:`clustered_rate`. ``n`` counts clips; with one clip no interval is claimed.
    """
    before = {(one.clip, one.cell): one.share for one in others}
    changes = [
        replace(one, share=(1 + one.share - before[one.clip, one.cell]) / 2)
        for one in ones
        if (one.clip, one.cell) in before
    ]
    rate = _rate(changes, _PRIOR_CLIPS_OF_CHANGES)
    if rate.rate is None:
        return Difference(None, None, 0)
    ends = rate.ci95
    return Difference(2 * rate.rate - 1, None if ends is None else (2 * ends[0] - 1, 2 * ends[1] - 1), rate.n)


def _side(observations: Sequence[Observation], prior: float = _PRIOR_CLIPS) -> _Side:
    weights = np.array([one.weight for one in observations])
    weights = weights / weights.sum()
    shares = np.array([one.share for one in observations])
    mean = float(weights @ shares)
    of_clip: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    by_cell: dict[Hashable, float] = defaultdict(float)
    residuals = weights * (shares - mean)
    for one, weight, share, residual in zip(observations, weights, shares, residuals, strict=True):
        of_clip[one.clip][0] += weight
        of_clip[one.clip][1] += weight * share
        by_cell[one.cell] += residual
    clips = len(of_clip)
    parts = np.array(list(of_clip.values()))
    effective = 1 / float((parts[:, 0] ** 2).sum())  # as many clips of one weight would tell as much
    center = (effective * mean + prior) / (effective + 2 * prior)
    spread = effective**2 * float(((parts[:, 1] - parts[:, 0] * center) ** 2).sum())
    spread += prior * (center**2 + (1 - center) ** 2)
    freedom = max(effective + 2 * prior - 1, 1e-9)
    return _Side(
        mean, center, clips, spread / freedom / effective, dict(by_cell), _of_single(observations, weights, residuals)
    )


def _of_single(
    observations: Sequence[Observation], weights: NDArray[np.float64], residuals: NDArray[np.float64]
) -> float:
    """Estimate the variance of the mean, of ``weights`` that sum to 1, that comes from each cell of each clip by itself.

    That is the residual mean square of the two-way analysis of variance. Cells are swept out first, so that only a system of
    as many equations as there are clips is left (Searle 1971, section 7.1).
    """
    clip, cell = (_numbered(names) for names in zip(*((one.clip, one.cell) for one in observations), strict=True))
    shares = np.array([one.share for one in observations])
    counts = np.zeros((clip.max() + 1, cell.max() + 1))
    np.add.at(counts, (clip, cell), 1.0)
    of_cell = counts.sum(axis=0)
    within = shares - (np.bincount(cell, shares) / of_cell)[cell]  # less the mean of its cell
    adjusted = np.diag(counts.sum(axis=1)) - counts / of_cell @ counts.T
    inverse = np.linalg.pinv(adjusted, hermitian=True)
    sums = np.bincount(clip, within)
    freedom = len(shares) - len(of_cell) - round(float(np.trace(adjusted @ inverse)))
    if freedom == 0:  # no cell was seen in two clips: effects of both cannot be told apart
        return float((residuals**2).sum())
    square = max(0.0, float((within**2).sum() - sums @ inverse @ sums)) / freedom
    return square * float((weights**2).sum())


def _numbered(names: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number names from 0 in the order in which they come."""
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def _between_cells(by_cell: dict[Hashable, float], of_single: float) -> float:
    """The variance of a mean that comes from the cells, beyond what cells of each clip vary in any case."""
    cells = len(by_cell)
    return max(0.0, sum(r * r for r in by_cell.values()) * cells / (cells - 1) - of_single) if cells > 1 else 0.0


def _quantile(parts: Sequence[tuple[float, int]]) -> float:
    """Student's 97.5 % quantile at the degrees of freedom of a sum of variances, each with its own.

    Satterthwaite (1946) takes the estimated variances for the true ones, which makes intervals too long where there are three
    clips; Welch (1947) adds two to the freedom of each and takes two off the sum, which makes them too short. One is what
    benchmarks/session_intervals.py speaks for.
    """
    total = sum(variance for variance, _ in parts)
    needed = sum(variance**2 / (freedom + 1) for variance, freedom in parts if freedom > 0)
    return float(stdtrit(max(1.0, total**2 / needed - 1) if needed > 0 else 1.0, 0.975))


def _interval(side: _Side, variance: float, quantile: float) -> Interval:
    return score_interval(side.mean, side.center * (1 - side.center) / variance, quantile)
