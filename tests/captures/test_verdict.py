"""Which cause is named: never by chance, never one of several equals alone, and never past a replay that fails."""

import numpy as np
import pytest
from scipy import stats

from captures.gap.replay import STEPS
from captures.results.verdict import (
    REAL,
    TRAINED,
    WAY,
    GapStep,
    Verdict,
    _causes,
    _p_value,
    _significant_together,
    verdict,
)
from physpatch.stats.intervals import Difference, clip_rate, paired_difference, wilson

NAMES = (*STEPS, REAL)


def judged(rates: np.ndarray, **more) -> Verdict:
    """Of units' rates (6, n), a row a step."""
    steps = [
        GapStep(step.name, step.shown, clip_rate(here), None if i == 0 else paired_difference(rates[i - 1], here))
        for i, (step, here) in enumerate(zip(WAY, rates, strict=True))
    ]
    return verdict(steps, paired_difference(rates[0], rates[-1]), "the target comes first", **more)


def way(*losses: float, n: int = 30, seed: int = 0) -> np.ndarray:
    """Units that fail one after another: at each step so many points more."""
    order = np.random.default_rng(seed).permutation(n)
    lost = np.cumsum([0, *losses])
    return np.array([(order >= round(share * n)).astype(float) for share in lost])


def loss(size: float, p_value: float) -> Difference:
    """A loss with the interval that belongs to its two-sided p value."""
    half = size * stats.norm.isf(0.025) / stats.norm.isf(p_value / 2)
    return Difference(size, (size - half, size + half), 30)


def test_an_interval_that_ends_at_zero_has_a_two_sided_p_value_of_5_percent() -> None:
    assert (
        _p_value(Difference(0.2, (0.0, 0.4), 10)) == pytest.approx(0.05) == _p_value(Difference(-0.2, (-0.4, 0.0), 10))
    )
    assert _p_value(loss(0.1, 0.003)) == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("p_values", "number"), [((0.02,) * 5, 0), ((0.009, 0.5, 0.5, 0.5, 0.5), 1), ((0.5, 0.012, 0.009, 0.5, 0.5), 2)]
)
def test_losses_are_significant_by_holms_rule(p_values: tuple[float, ...], number: int) -> None:
    named = dict(zip("abcde", p_values, strict=True))
    significant = _significant_together({name: loss(0.2, p_value) for name, p_value in named.items()})
    assert significant == set(sorted(named, key=named.__getitem__)[:number])


@pytest.mark.parametrize(("size", "causes"), [(0.2, []), (0.35, ["sized"])])
def test_a_step_with_most_of_the_loss_need_not_stand_beside_the_others(size: float, causes: list[str]) -> None:
    losses = {name: loss(0.1, 0.3) for name in NAMES[1:]} | {"sized": loss(size, 0.02)}
    assert _causes(losses, losses, loss(0.6, 0.001)) == causes


@pytest.mark.parametrize("number", range(1, 6))
def test_the_only_step_with_a_loss_is_named(number: int) -> None:
    losses = [0.0] * 5
    losses[number - 1] = 0.4
    found = judged(way(*losses))
    assert (found.cause, found.second) == (NAMES[number], None)
    assert "The largest loss is due to" in found.sentence and "To fix this: " in found.sentence


def test_nothing_is_named_by_chance() -> None:
    """Five steps of pure chance, of which the largest is looked for: each judged alone, 4 % of such sessions had one."""
    rng = np.random.default_rng(0)
    named = [judged(rng.binomial(4, 0.6, (6, 30)) / 4).cause is not None for _ in range(400)]
    assert np.mean(named) <= 0.005
    alike = judged(np.full((6, 30), 0.9))
    assert alike.cause is None and "no loss" in alike.sentence


def test_a_large_loss_by_small_ones_names_no_step() -> None:
    found = judged(way(0.07, 0.07, 0.07, 0.07, 0.07))
    assert found.cause is None and "No step has a significant loss" in found.sentence


def test_two_that_are_alike_are_both_named() -> None:
    found = judged(way(0.0, 0.3, 0.33, 0.0, 0.0))
    assert (found.cause, found.second) == ("coloured", "sized")
    assert (
        "A similar loss is due to its size" in found.sentence and "To fix the second: print it larger" in found.sentence
    )
    assert judged(way(0.0, 0.2, 0.6, 0.0, 0.0)).second is None


def test_a_loss_that_the_camera_does_not_show_is_not_a_cause() -> None:
    foretold = way(0.0, 0.0, 0.5, 0.0, 0.0)
    foretold[-1] = foretold[0]
    foretold[-1, np.flatnonzero(foretold[-1])[:2]] = 0  # chance, on top
    assert judged(foretold).cause is None
    half = way(0.0, 0.0, 0.7, 0.0, -0.45)
    assert judged(half).cause == REAL  # there is a loss, and not where the replay has it


def test_what_a_later_step_makes_good_is_charged_to_no_step() -> None:
    """As measured: turned sheets lose in training's sizes, and not in the session's, which are larger."""
    regained = way(0.3, -0.25, 0.0, 0.4, 0.0)
    assert (judged(regained).cause, judged(regained).second) == ("blurred", None)
    kept = way(0.3, 0.0, 0.0, 0.4, 0.0)
    assert (judged(kept).cause, judged(kept).second) == ("blurred", "posed")


def test_a_replay_that_overshoots_its_only_loss_is_not_believed() -> None:
    """As measured: colours cost the replay 22 points, half of which the camera has again; the session has lost 13."""
    assert judged(way(0.0, 0.0, 0.3, 0.0, -0.18, n=40)).cause == REAL


def test_what_the_camera_regains_is_charged_to_no_step() -> None:
    """As measured: far away, the replay takes twice as many points for its colours as the camera shows."""
    found = judged(way(0.0, 0.3, 0.27, 0.0, -0.14))
    assert (found.cause, found.second) == ("sized", None)
    assert judged(way(0.0, 0.3, 0.27, 0.0, 0.0)).second == "coloured"


def test_a_scene_that_takes_the_effect_is_named() -> None:
    """Training's own rate on held-out photographs is where the way begins."""
    rates = np.tile(way(0.5)[1], (6, 1))
    assert judged(rates).cause is None
    found = judged(rates, digital=wilson(190, 200))
    assert found.cause == TRAINED and found.sentence.startswith(
        "On held-out photographs, the target comes first in 95 %"
    )
    assert "the scene" in found.sentence


def test_without_a_control_the_sentence_says_so() -> None:
    assert judged(way(0.4, 0, 0, 0, 0), conditional=False).sentence.endswith("right at these poses.)")
