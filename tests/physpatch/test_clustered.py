"""Rates over clips of several pose cells: the estimators by hand, and their intervals' coverage."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from session_intervals import coverage

from physpatch.stats.clustered import Observation, clustered_change, clustered_difference, clustered_rate
from physpatch.stats.intervals import score_interval


def test_the_mean_is_weighted_and_counts_clips() -> None:
    observations = [Observation("a", 0, 1.0, 0.5), Observation("a", 1, 0.0), Observation("b", 0, 1.0)]
    rate = clustered_rate([*observations, Observation("c", 0, 1.0, 0.0)])
    assert rate.rate == pytest.approx(0.6) and rate.n == 2
    assert rate.ci95 is not None and rate.ci95[0] < 0.6 < rate.ci95[1]
    assert clustered_rate([]).rate is None and clustered_rate([Observation("a", 0, 1.0, 0.0)]).n == 0


def test_clips_that_differ_widen_the_interval_and_cells_that_differ_too() -> None:
    def width(shares: list[list[float]]) -> float:
        rate = clustered_rate([Observation(t, c, share) for t, row in enumerate(shares) for c, share in enumerate(row)])
        assert rate.rate == pytest.approx(0.5) and rate.ci95 is not None
        return rate.ci95[1] - rate.ci95[0]

    alike = width([[0.5, 0.5, 0.5]] * 4)
    cells_differ = width([[0.0, 0.5, 1.0]] * 4)
    clips_differ = width([[0.0] * 3, [0.0] * 3, [1.0] * 3, [1.0] * 3])
    assert alike < cells_differ and alike < clips_differ


def test_the_interval_is_that_of_a_two_way_analysis_of_variance() -> None:
    """By hand for three cells in each of four clips: variances between clips and between cells, and their freedom."""
    shares = np.array([[0.9, 0.5, 0.4], [0.8, 0.6, 0.1], [0.3, 0.4, 0.0], [1.0, 0.5, 0.3]])
    clips, cells = shares.shape
    mean, of_clip, of_cell = shares.mean(), shares.mean(axis=1), shares.mean(axis=0)
    center = (clips * mean + 0.002) / (clips + 0.004)
    between_clips = (
        (((of_clip - center) ** 2).sum() + 0.002 * (center**2 + (1 - center) ** 2)) / (clips + 0.004 - 1) / clips
    )
    rest = ((shares - of_clip[:, None] - of_cell + mean) ** 2).sum() / ((clips - 1) * (cells - 1))
    between_cells = of_cell.var(ddof=1) / cells - rest / shares.size
    assert between_cells > 0
    variance = between_clips + between_cells
    freedom = variance**2 / (between_clips**2 / clips + between_cells**2 / cells) - 1
    rate = clustered_rate([Observation(clip, cell, share) for (clip, cell), share in np.ndenumerate(shares)])
    assert rate.rate == pytest.approx(mean) and rate.n == clips
    quantile = stats.t.ppf(0.975, freedom)
    assert rate.ci95 == pytest.approx(score_interval(mean, center * (1 - center) / variance, quantile))


def test_clips_that_agree_do_not_show_that_all_would() -> None:
    for n, least in ((3, 0.5), (10, 0.15)):
        rate = clustered_rate([Observation(clip, cell, 0.0) for clip in range(n) for cell in range(12)])
        assert rate.rate == 0 and rate.ci95 is not None and rate.ci95[0] < 1e-9 and rate.ci95[1] > least


def test_only_cells_of_both_are_compared() -> None:
    ones = [Observation(clip, cell, 1.0) for clip in range(3) for cell in range(4)]
    others = [Observation(clip + 3, cell, 0.0) for clip in range(3) for cell in range(2, 6)]
    difference = clustered_difference(ones, others)
    assert difference.difference == pytest.approx(1) and difference.n == 3 and difference.ci95 is not None
    assert clustered_difference(ones, [replace(one, cell=9) for one in others]).n == 0
    single = clustered_difference(ones, others[:4])
    assert single.difference == pytest.approx(1) and single.ci95 is None and single.n == 1


def test_a_change_takes_off_what_clips_and_cells_do_to_both() -> None:
    """Clips and cells differ much and change alike: the change is as good as known, and none is claimed of one clip."""
    before = [Observation(clip, cell, 0.2 + 0.2 * clip + 0.1 * cell) for clip in range(4) for cell in range(3)]
    after = [replace(one, share=one.share - 0.15) for one in before]
    change = clustered_change(before, after)
    assert change.difference == pytest.approx(0.15) and change.n == 4 and change.ci95 is not None
    assert change.ci95[0] < 0.15 < change.ci95[1] < 0.5
    apart = clustered_difference(before, [replace(one, clip=one.clip + 4) for one in after])  # type: ignore[operator]
    assert apart.difference == pytest.approx(0.15) and change.is_significant and not apart.is_significant
    single = clustered_change(before[:3], after[:3])
    assert single.difference == pytest.approx(0.15) and (single.ci95, single.n) == (None, 1)
    assert clustered_change(before, []).n == 0


def test_intervals_hold_what_is_true_however_much_clips_differ() -> None:
    """A small run of benchmarks/session_intervals.py, whose bounds are narrower."""
    result = coverage(150, 1)
    assert result["worst"][0] > 0.88
    for design in result["designs"]:
        for part in (value for value in design.values() if isinstance(value, dict)):
            assert part["claimed"] == (design["clips"] > 1)
    (worst,) = [d for d in result["designs"] if (d["clips"], d["clip_sd"]) == (3, 2.0)]
    assert worst["rate 0.50"]["cells_as_units"] < 0.6  # what was claimed before
