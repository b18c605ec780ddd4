"""Intervals against closed forms, and their coverage on correlated clips."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, samplesize_confint_proportion

from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.stats.intervals import (
    Rate,
    clip_bootstrap,
    clip_correlation,
    clip_rate,
    clip_t,
    clips_needed,
    clopper_pearson,
    forecast,
    frame_correlation,
    independent_difference,
    mcnemar,
    mean_interval,
    means_by_unit,
    paired_difference,
    percentile_bootstrap,
    rate_by_unit,
    wilson,
)
from physpatch.stats.rates import Difference, points


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


def test_a_rate_of_single_units_is_wilsons_and_of_several_images_each_that_of_clips() -> None:
    hits = [True, True, True, False, False, False, True]
    assert rate_by_unit(hits, [5, 1, 2, 3, 4, 6, 0]) == wilson(4, 7)
    units = [8, 8, 8, 3, 3, 3, 5]
    assert means_by_unit(hits, units) == [0.0, 1.0, 1.0]  # in the order of the units' numbers
    assert rate_by_unit(hits, units) == clip_rate([0.0, 1.0, 1.0])


def test_clips_that_all_agree_are_not_certain() -> None:
    low, high = clip_rate([1.0] * 8).ci95 or (0, 0)
    assert 0.6 < low < 0.9 and high == pytest.approx(1)


def test_a_single_success_does_not_narrow_the_interval_to_nothing() -> None:
    none, one = clip_rate([0.0] * 10).ci95 or (0, 0), clip_rate([1 / 6] + [0.0] * 9).ci95 or (0, 0)
    assert none[0] == 0 and one[0] > 0 and one[1] > 0.08


def correlated_clips(rng, truth: float, correlation: float, clips: int, frames: int = 50):
    """Hits of each clip; Beta(a, b) has intra-class correlation 1 / (a + b + 1)."""
    total = 1 / correlation - 1
    return rng.binomial(frames, rng.beta(truth * total, (1 - truth) * total, clips))


@pytest.mark.parametrize("clips", [10, 20, 40])
@pytest.mark.parametrize("correlation", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("truth", [0.3, 0.5, 0.7])
def test_clip_intervals_cover_the_truth_where_frames_are_correlated(
    truth: float, correlation: float, clips: int
) -> None:
    """The nominal 95 % must be near 95 %, where a naive interval over frames is far from it."""
    rng = np.random.default_rng(0)
    covered, naive, runs = 0, 0, 1000
    for _ in range(runs):
        hits = correlated_clips(rng, truth, correlation, clips)
        low, high = clip_rate((hits / 50).tolist()).ci95 or (1, 0)
        covered += low <= truth <= high
        # Wilson's interval over all frames holds the truth where their share is this near to it.
        naive += abs(hits.mean() / 50 - truth) <= 1.96 * math.sqrt(truth * (1 - truth) / (50 * clips))
    assert 0.92 <= covered / runs <= 0.97
    assert naive / runs < 0.55


@pytest.mark.parametrize("truth", [0.05, 0.15, 0.85])
def test_rare_success_is_covered_too_if_with_longer_intervals(truth: float) -> None:
    rng = np.random.default_rng(1)
    hits = [correlated_clips(rng, truth, 0.5, 12) for _ in range(1000)]
    intervals = [clip_rate((h / 50).tolist()).ci95 or (1, 0) for h in hits]
    assert 0.92 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.99


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (56, 100), (300, 300), (1, 2)])
def test_intervals_agree_with_statsmodels(k: int, n: int) -> None:
    for ours, theirs in ((wilson, "wilson"), (clopper_pearson, "beta")):
        assert ours(k, n).ci95 == pytest.approx(proportion_confint(k, n, method=theirs), abs=1e-9)


def test_the_t_interval_and_the_bootstrap_of_clips() -> None:
    rates = [0.2, 0.5, 0.4, 0.9, 0.1, 0.3]
    _, interval = mean_interval(rates) or (0, (0, 0))
    assert clip_t(rates) == pytest.approx(interval)
    low, high = clip_bootstrap(rates) or (1, 0)
    assert interval[0] < low < 0.4 < high < interval[1]  # known to be too short for so few
    assert clip_bootstrap(rates) == (low, high) and clip_bootstrap(rates, seed=1) != (low, high)
    assert clip_t([0.5]) is None and clip_bootstrap([0.5]) is None and mean_interval([1.0]) is None


def test_a_statistic_that_draws_may_leave_undefined_has_an_interval_over_units() -> None:
    rates = np.random.default_rng(0).uniform(size=30)
    assert percentile_bootstrap(np.mean, rates, seed=3) == pytest.approx(clip_bootstrap(rates, seed=3))
    weights = np.where(np.arange(30) < 4, 1.0, 0.0)  # some draws have none of the four

    def weighted(values: np.ndarray, weights: np.ndarray) -> float | None:
        return float(values @ weights / weights.sum()) if weights.any() else None

    low, high = percentile_bootstrap(weighted, rates, weights) or (1, 0)
    assert rates[:4].min() <= low < high <= rates[:4].max()
    assert percentile_bootstrap(weighted, rates, np.zeros(30)) is None
    assert percentile_bootstrap(np.mean, rates[:2]) is None


@pytest.mark.parametrize("correlation", [0.1, 0.5, 0.9])
def test_the_correlation_of_frames_is_found_again(correlation: float) -> None:
    rng = np.random.default_rng(3)
    hits = correlated_clips(rng, 0.4, correlation, 2000)
    found = frame_correlation(hits.tolist(), [50] * 2000)
    assert found.icc == pytest.approx(correlation, abs=0.03)
    assert found.effective_n == pytest.approx(2000 * 50 / (1 + 49 * correlation), rel=0.1)


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert [points(change) for change in (0.0712, -0.0712, 0.0004, -0.0004)] == ["+7.1", "-7.1", "0.0", "0.0"]
    assert points(-0.004, 0) == "0"
    lost = Difference(0.0712, (-0.01, 0.15), 9)
    assert str(lost) == "+7.1 points [-1.0, +15.0], n = 9" and str(-lost) == "-7.1 points [-15.0, +1.0], n = 9"


def test_a_correlation_that_cannot_be_told_is_not_made_up() -> None:
    assert frame_correlation([5, 5], [5, 5]).icc is None  # nothing varies
    assert frame_correlation([1, 0, 1], [1, 1, 1]).icc is None  # a frame each
    assert frame_correlation([5, 0, 5, 0], [5] * 4).icc == 1.0
    assert frame_correlation([2, 3, 2, 3], [5] * 4).icc == 0.0


def test_enough_clips_are_asked_for_and_not_more() -> None:
    for margin, rate in ((0.05, 0.5), (0.1, 0.2), (0.03, 0.9)):
        n = clips_needed(margin, rate=rate)
        half = [
            (high - low) / 2 for m in (n - 1, n) for low, high in [proportion_confint(rate * m, m, method="wilson")]
        ]
        assert half[1] <= margin < half[0]
        assert n == pytest.approx(samplesize_confint_proportion(rate, margin), rel=0.06)
    nothing = [0.0] * 7  # reaches up to 35 %, so many more are needed
    n = clips_needed(0.05, rate=0.0, correlation=clip_correlation(nothing))
    assert n == pytest.approx(35, abs=1)
    low, high = clip_rate([0.0] * n).ci95
    assert (high - low) / 2 <= 0.05
    assert clips_needed(0.05, correlation=0.5) == pytest.approx(clips_needed(0.05) / 2, abs=1)
    with pytest.raises(ValueError, match="margin must lie between"):
        clips_needed(0.0)


@pytest.mark.parametrize("table", [(30, 12, 3, 20), (5, 0, 4, 1), (10, 0, 0, 10)])
def test_mcnemar_is_statsmodels(table: tuple[int, int, int, int]) -> None:
    both, one, other, none = table
    ones = [1.0] * (both + one) + [0.0] * (other + none)
    others = [1.0] * both + [0.0] * one + [1.0] * other + [0.0] * none
    exact = statsmodels_mcnemar([[both, one], [other, none]], exact=True).pvalue
    assert mcnemar(ones, others) == pytest.approx(min(1.0, exact))


def test_paired_differences_see_what_single_rates_do_not() -> None:
    control = [0.0, 0.2, 0.4, 0.6, 0.8] * 3
    patch = [min(1.0, rate + 0.2) for rate in control]
    paired = paired_difference(patch, control)
    assert paired.difference == pytest.approx(0.2) and paired.is_significant and paired.n == 15
    apart = independent_difference(clip_rate(patch), clip_rate(control))
    assert apart.difference == pytest.approx(0.2) and not apart.is_significant
    assert str(paired).startswith("+20.0 points [+") and paired_difference([], []).difference is None
    assert paired_difference([1.0], [0.0]).ci95 == (-1.0, 1.0)
    with pytest.raises(ValueError):
        paired_difference([1.0, 0.0], [1.0])


def test_paired_intervals_are_newcombes_with_the_correlation_shrunk_by_two_pairs() -> None:
    first, second = [1.0, 1.0, 1.0, 0.5, 0.5, 0.0], [1.0, 0.5, 0.0, 0.5, 0.0, 0.0]
    phi = np.corrcoef(first, second)[0, 1] * 6 / 8
    a, b = clip_rate(first), clip_rate(second)
    assert a.rate is not None and a.ci95 is not None and b.rate is not None and b.ci95 is not None
    below, rise, above, fall = a.rate - a.ci95[0], b.ci95[1] - b.rate, a.ci95[1] - a.rate, b.rate - b.ci95[0]
    low = a.rate - b.rate - math.sqrt(below**2 - 2 * phi * below * rise + rise**2)
    high = a.rate - b.rate + math.sqrt(above**2 - 2 * phi * above * fall + fall**2)
    assert paired_difference(first, second).ci95 == pytest.approx((low, high))


def test_pairs_of_unequal_weight_have_no_p_value() -> None:
    first, second = [1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]
    assert paired_difference(first, second, [2.0] * 4).p_value == 0.5
    assert paired_difference(first, second, [1.0, 2.0, 1.0, 1.0]).p_value is None


def test_an_interval_that_ends_at_zero_does_not_exclude_it() -> None:
    assert not Difference(0.1, (0.0, 0.2), 5).is_significant and not Difference(-0.1, (-0.2, 0.0), 5).is_significant
    assert Difference(0.1, (0.01, 0.2), 5).is_significant


@pytest.mark.parametrize("clips", [10, 30])
@pytest.mark.parametrize(("patch", "control"), [(0.5, 0.1), (0.1, 0.02), (0.8, 0.8)])
def test_paired_intervals_cover_the_truth(patch: float, control: float, clips: int) -> None:
    rng = np.random.default_rng(0)
    covered, runs = 0, 800
    for _ in range(runs):
        hard = rng.random((clips, 1))  # a clip in which the control succeeds is one in which the patch does
        ones = (np.where(rng.random((clips, 4)) < 0.6, hard, rng.random((clips, 4))) < patch).mean(axis=1)
        others = (np.where(rng.random((clips, 4)) < 0.6, hard, rng.random((clips, 4))) < control).mean(axis=1)
        low, high = paired_difference(ones.tolist(), others.tolist()).ci95 or (1, 0)
        covered += low <= patch - control <= high
    assert covered / runs >= 0.92


@pytest.mark.parametrize(("a", "b"), [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((10, 10), (0, 20))])
def test_differences_of_two_samples_are_newcombes(a: tuple[int, int], b: tuple[int, int]) -> None:
    ours = independent_difference(wilson(*a), wilson(*b))
    assert ours.ci95 == pytest.approx(confint_proportions_2indep(*a, *b, method="newcomb"), abs=1e-3)
    assert independent_difference(wilson(*a), Rate(None, None, 0)).difference is None


def test_forecasts_are_judged() -> None:
    truth = [0.1, 0.9, 0.5, 0.3, 0.7, 0.2]
    perfect = forecast(truth, truth)
    assert perfect is not None and (perfect.brier, perfect.slope) == (0.0, pytest.approx(1.0))
    doubled = forecast([0.5 + 2 * (t - 0.5) for t in truth], truth)
    assert doubled is not None and doubled.slope == pytest.approx(0.5) and doubled.brier > 0
    blind = forecast([0.5] * 6, truth)
    assert blind is not None and blind.slope is None and blind.constant == pytest.approx(float(np.var(truth)))
    assert forecast([], []) is None


@pytest.mark.parametrize(
    "change",
    [
        {"rate": math.inf},
        {"rate": math.nan},
        {"rate": 1.5},
        {"n": -1},
        {"n": 2**70},
        {"ci95": [0, math.inf]},
        {"ci95": [-1, 0.5]},
        {"within95": [0, math.nan]},
    ],
)
def test_a_rate_of_a_file_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    whole = {"rate": 0.5, "ci95": None, "n": 4}
    assert TypeAdapter(Rate).validate_python(whole).n == 4
    with pytest.raises(ValidationError):
        TypeAdapter(Rate).validate_python({**whole, **change})


@pytest.mark.parametrize("change", [{"difference": 1.5}, {"ci95": [-math.inf, 0.5]}, {"p_value": 7.0}])
def test_a_difference_of_a_file_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    whole = {"difference": 0.5, "ci95": [0.1, 1.2], "n": 4}
    assert TypeAdapter(Difference).validate_python(whole).n == 4
    with pytest.raises(ValidationError):
        TypeAdapter(Difference).validate_python({**whole, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"clean_accuracy": -math.inf},
        {"controls": {"grey": 7.0}},
        {"target": {"index": 3, "name": "\ud800"}},
        {"poses": -1},
    ],
)
def test_an_evaluation_of_a_file_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    rate: dict[str, object] = {"rate": 0.5, "ci95": None, "n": 4}
    whole: dict[str, object] = {
        "n": 4,
        "poses": 1,
        "clean_accuracy": 1.0,
        "patched_accuracy": 0.5,
        "controls": {"grey": 0.75},
    }
    whole |= {f"{kind}_success": rate for kind in ("targeted", "untargeted")}
    whole |= {f"control_{kind}_success": {"grey": rate} for kind in ("targeted", "untargeted")}
    assert EvaluationRecord.model_validate(whole).n == 4
    with pytest.raises(ValidationError):
        EvaluationRecord.model_validate(whole | change)
