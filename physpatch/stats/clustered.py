"""Rates over clips with several pose cells each, as in hand-held sessions.

A clip is a stretch of filming in which one sheet is held up. Frames of one pose cell are similar, and so are the cells of one
clip: the hand, the light and the distance drift together. The same cell in several clips is similar, too. So the variance of
a mean has two parts, between clips and between cells, added as for two-way clusters (Cameron, Gelbach and Miller 2011). The
degrees of freedom lie between Satterthwaite's (1946) and Welch's (1947), and the interval has Wilson's shape, which stays
between 0 and 1. The variance of single cells in single clips is part of both and is subtracted once. It is estimated by the
residual mean square of the two-way analysis of variance: the squares of all residuals, which also contain the effects of
clips and cells, would be too much.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from physpatch.stats.intervals import Difference, Interval, Rate, clip_rate, score_interval

# Weight of one clip at 0 and one at 1 that are added to the spread, because a few clips may agree by chance. It is small, as
# the rate of a clip with many cells is rarely 0 or 1 (benchmarks/session_intervals.py).
_PRIOR_CLIPS = 0.002
_PRIOR_CLIPS_OF_CHANGES = 0.001  # for changes scaled to [0, 1], which lie around a half


@dataclass(frozen=True)
class Observation:
    """One pose cell of one clip.

    Attributes:
        clip, cell: their names; a cell has the same name in every clip.
        share: of its frames in which something happened, in [0, 1].
        weight: such as the share of the control's frames that are right at that pose.
    """

    clip: Hashable
    cell: Hashable
    share: float
    weight: float = 1.0


def averaged(frames: Iterable[tuple[Hashable, Hashable, float]]) -> list[Observation]:
    """Average what happened in frames, each with its clip, its pose cell and a share in [0, 1], over each cell of each clip."""
    shares: dict[tuple[Hashable, Hashable], list[float]] = defaultdict(list)
    for clip, cell, share in frames:
        shares[clip, cell].append(share)
    return [Observation(clip, cell, fmean(values)) for (clip, cell), values in shares.items()]


class _Side(NamedTuple):
    """One condition: its mean, the sums of residuals by cell, and the variances of the mean."""

    mean: float
    center: float
    clips: int
    of_clips: float
    by_cell: dict[Hashable, float]
    of_single: float  # from single cells of single clips; part of of_clips


def clustered_rate(observations: Sequence[Observation]) -> Rate:
    """Estimate the share over clips and poses; ``n`` counts clips.

    A single clip says nothing about others: then there is no interval over clips, and ``within95`` is that over its cells.
    """
    return _rate(observations, _PRIOR_CLIPS)


def _rate(observations: Sequence[Observation], prior: float) -> Rate:
    counted = [o for o in observations if o.weight > 0]
    if not counted:
        return Rate(None, None, 0)
    side = _side(counted, prior)
    if side.clips == 1:
        within = clip_rate([o.share for o in counted], [o.weight for o in counted])
        return Rate(side.mean, None, 1, within.ci95 if len(counted) > 1 else None)
    between_cells = _between_cells(side.by_cell, side.of_single)
    variance = side.of_clips + between_cells
    quantile = _quantile([(side.of_clips, side.clips - 1), (between_cells, len(side.by_cell) - 1)])
    return Rate(side.mean, _interval(side, variance, quantile), side.clips)


def clustered_difference(first: Sequence[Observation], second: Sequence[Observation]) -> Difference:
    """Estimate the difference, first minus second, of two conditions in separate clips; only cells of both count.

    Cells are paired, so the effect of a pose on both conditions cancels. The interval combines those of both rates (Newcombe
    1998, method 10) and the variation of the difference from cell to cell. ``n`` is the smaller number of clips; with one
    clip on either side there is no interval.
    """
    common = {o.cell for o in first if o.weight > 0} & {o.cell for o in second if o.weight > 0}
    a, b = (
        _side(counted) if (counted := [o for o in side if o.cell in common and o.weight > 0]) else None
        for side in (first, second)
    )
    if a is None or b is None:
        return Difference(None, None, 0)
    difference, clips = a.mean - b.mean, min(a.clips, b.clips)
    if clips == 1:
        return Difference(difference, None, 1)
    by_cell = {cell: a.by_cell[cell] - b.by_cell[cell] for cell in a.by_cell}
    between_cells = _between_cells(by_cell, a.of_single + b.of_single)
    parts = [(a.of_clips, a.clips - 1), (b.of_clips, b.clips - 1), (between_cells, len(by_cell) - 1)]
    quantile = _quantile(parts)
    low_a, high_a = _interval(a, a.of_clips, quantile)
    low_b, high_b = _interval(b, b.of_clips, quantile)
    of_cells = quantile**2 * between_cells
    below = np.sqrt((a.mean - low_a) ** 2 + (high_b - b.mean) ** 2 + of_cells)
    above = np.sqrt((high_a - a.mean) ** 2 + (b.mean - low_b) ** 2 + of_cells)
    return Difference(difference, (max(-1.0, difference - float(below)), min(1.0, difference + float(above))), clips)


def clustered_change(after: Sequence[Observation], before: Sequence[Observation]) -> Difference:
    """Estimate the change, after minus before, of two judgements of the same cells in the same clips.

    Only cells with both judgements count. The effects of clip and pose on both cancel: the change of each cell in each clip,
    between -1 and 1, is one observation, scaled to [0, 1] to be averaged as in :func:`clustered_rate`. ``n`` counts clips;
    with one clip there is no interval.
    """
    earlier = {(o.clip, o.cell): o.share for o in before}
    changes = [
        Observation(o.clip, o.cell, (1 + o.share - earlier[o.clip, o.cell]) / 2, o.weight)
        for o in after
        if (o.clip, o.cell) in earlier
    ]
    rate = _rate(changes, _PRIOR_CLIPS_OF_CHANGES)
    if rate.rate is None:
        return Difference(None, None, 0)
    ends = rate.ci95
    return Difference(2 * rate.rate - 1, None if ends is None else (2 * ends[0] - 1, 2 * ends[1] - 1), rate.n)


def _side(observations: Sequence[Observation], prior: float = _PRIOR_CLIPS) -> _Side:
    weights = np.array([o.weight for o in observations])
    weights = weights / weights.sum()
    shares = np.array([o.share for o in observations])
    mean = float(weights @ shares)
    of_clip: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    by_cell: dict[Hashable, float] = defaultdict(float)
    residuals = weights * (shares - mean)
    numbers = (values.tolist() for values in (weights, shares, residuals))
    for observation, weight, share, residual in zip(observations, *numbers, strict=True):
        of_clip[observation.clip][0] += weight
        of_clip[observation.clip][1] += weight * share
        by_cell[observation.cell] += residual
    clips = len(of_clip)
    parts = np.array(list(of_clip.values()))
    effective = 1 / float((parts[:, 0] ** 2).sum())  # number of clips of equal weight with the same information
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
    """Estimate the part of the mean's variance that comes from single cells of single clips.

    It is based on the residual mean square of the two-way analysis of variance. Cells are eliminated first, so that only one
    equation per clip is left (Searle 1971, section 7.1). ``weights`` sum to 1.
    """
    clip, cell = _numbered([o.clip for o in observations]), _numbered([o.cell for o in observations])
    shares = np.array([o.share for o in observations])
    counts = np.zeros((clip.max() + 1, cell.max() + 1))
    np.add.at(counts, (clip, cell), 1.0)
    of_cell = counts.sum(axis=0)
    within = shares - (np.bincount(cell, shares) / of_cell)[cell]  # minus the mean of its cell
    adjusted = np.diag(counts.sum(axis=1)) - counts / of_cell @ counts.T
    inverse = np.linalg.pinv(adjusted, hermitian=True)
    sums = np.bincount(clip, within)
    freedom = len(shares) - len(of_cell) - round(float(np.trace(adjusted @ inverse)))
    if freedom == 0:  # no cell is in two clips, so the effects of both cannot be separated
        return float((residuals**2).sum())
    square = max(0.0, float((within**2).sum() - sums @ inverse @ sums)) / freedom
    return square * float((weights**2).sum())


def _numbered(names: Sequence[Hashable]) -> NDArray[np.intp]:
    """Number names from 0, in order of appearance."""
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names])


def _between_cells(by_cell: dict[Hashable, float], of_single: float) -> float:
    """Estimate the part of a mean's variance that comes from cells, beyond the variation within clips."""
    cells = len(by_cell)
    return max(0.0, sum(r * r for r in by_cell.values()) * cells / (cells - 1) - of_single) if cells > 1 else 0.0


def _quantile(parts: Sequence[tuple[float, int]]) -> float:
    """Compute Student's 97.5 % quantile at the degrees of freedom of a sum of variances, each with its own.

    Satterthwaite (1946) treats the estimated variances as the true ones, which makes intervals too long for three clips;
    Welch (1947) adds two to each of the degrees of freedom and subtracts two from those of the sum, which makes them too
    short. One, in place of two, is supported by benchmarks/session_intervals.py.
    """
    total = sum(variance for variance, _ in parts)
    needed = sum(variance**2 / (freedom + 1) for variance, freedom in parts if freedom > 0)
    return float(stdtrit(max(1.0, total**2 / needed - 1) if needed > 0 else 1.0, 0.975))


def _interval(side: _Side, variance: float, quantile: float) -> Interval:
    return score_interval(side.mean, side.center * (1 - side.center) / variance, quantile)
