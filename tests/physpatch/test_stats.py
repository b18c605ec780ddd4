"""Intervals against closed forms, and their coverage on correlated clips."""

import math

import numpy as np
import pytest

from physpatch.stats import clip_rate, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (56, 100), (300, 300), (1, 2)])
def test_wilson_is_the_score_interval(k: int, n: int) -> None:
    z, p = 1.959963984540054, k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    rate = wilson(k, n)
    assert rate.rate == p and rate.n == n and rate.ci95 is not None
    assert rate.ci95 == pytest.approx((max(0.0, middle - half), min(1.0, middle + half)), abs=1e-9)


def test_nothing_counted_is_nothing_claimed() -> None:
    assert wilson(0, 0).to_dict() == {"rate": None, "ci95": None, "n": 0} == clip_rate([]).to_dict()
    assert str(wilson(0, 0)) == "not measured"
    assert str(wilson(1, 2)) == "50.0 % [9.5, 90.5], n = 2"


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="4 of 3"):
        wilson(4, 3)


def test_one_clip_says_nothing_about_others() -> None:
    assert clip_rate([0.7]).ci95 == (0.0, 1.0)


def test_clips_that_all_agree_are_not_certain() -> None:
    low, high = clip_rate([1.0] * 8).ci95 or (0, 0)
    assert 0.6 < low < 0.9 and high == pytest.approx(1)


def test_a_single_success_does_not_narrow_the_interval_to_nothing() -> None:
    none, one = clip_rate([0.0] * 10).ci95 or (0, 0), clip_rate([1 / 6] + [0.0] * 9).ci95 or (0, 0)
    assert none[0] == 0 and one[0] > 0 and one[1] > 0.08


@pytest.mark.parametrize("truth", [0.15, 0.5, 0.85])
def test_clip_intervals_cover_the_truth_where_frames_are_correlated(truth: float) -> None:
    """Ten clips of 50 frames at intra-class correlation 0.5: the nominal 95 % must be near 95 %, a naive one is not."""
    rng = np.random.default_rng(0)
    covered, naive, runs = 0, 0, 1000
    for _ in range(runs):
        chances = rng.beta(truth, 1 - truth, 10)  # Beta(a, b) has intra-class correlation 1 / (a + b + 1)
        hits = rng.binomial(50, chances)
        low, high = clip_rate((hits / 50).tolist()).ci95 or (1, 0)
        covered += low <= truth <= high
        low, high = wilson(int(hits.sum()), 500).ci95 or (1, 0)
        naive += low <= truth <= high
    assert 0.92 <= covered / runs <= 0.99
    assert naive / runs < 0.5
