"""Printing conditions under which a patch fails gain weight, and conditions that are alike do not."""

import copy
import math

import numpy as np
import pytest
import torch
from support import ON_SCREEN

from calibration.colour.colour_map import ColourMap
from calibration.colour.printing_condition import LEVELS, PrintingCondition, load_condition
from calibration.common.errors import InputError
from physpatch.attack.worst_case import PrintWeights
from physpatch.records.config import TrainConfig
from physpatch.techniques import TECHNIQUES, GradientFree
from physpatch.training.trainer import Trainer
from physpatch.transforms.kernels.print_colour import shown_prints

_LEVELS = np.linspace(0, 1, LEVELS, dtype=np.float32) ** 2.2
_GRID = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1)
FAITHFUL = PrintingCondition("faithful", "relative", _GRID)
ALIKE = PrintingCondition("alike", "relative", _GRID)
BLANK = PrintingCondition("blank", "relative", np.ones_like(_GRID))  # on which nothing can be printed
CONFIG = TrainConfig.of(
    steps=60, batch=8, area=0.6, cut="square", grid=(4, 4), seed=3, eot=ON_SCREEN.changed(prints=(FAITHFUL, BLANK))
)


def test_weights_grow_with_the_losses_and_sum_to_one() -> None:
    weights = PrintWeights(3, rate=0.1)
    losses, prints = torch.tensor([2.0, 1.0, 3.0, 0.5, 0.5, 0.5]), torch.tensor([0, 0, 0, 1, 1, 1])
    assert weights.of(losses, prints, learn=False).tolist() == pytest.approx([1.0] * 6)
    learnt = weights.of(losses, prints, learn=True)
    grown = np.exp([0.1 * 6.0 / 2, 0.1 * 1.5 / 2, 0])  # two of six views are usual for a condition
    np.testing.assert_allclose(weights.weights, grown / grown.sum(), rtol=1e-6)
    np.testing.assert_allclose(learnt, 3 * (grown / grown.sum())[prints], rtol=1e-6)
    kept = weights.weights.clone()
    weights.of(losses, prints, learn=False)
    assert torch.equal(weights.weights, kept)


def test_each_view_counts_for_the_print_that_it_shows_most_of() -> None:
    conditions = (load_condition("coated"), load_condition("newspaper"))
    light, other, mix = (
        torch.tensor([0.1, 0.1, 0.6, 0.6]),
        torch.tensor([0.7, 0.7, 0.2, 0.2]),
        torch.tensor([0.4, 0.6] * 2),
    )
    assert shown_prints(conditions, light, other, mix).tolist() == [0, 1, 1, 0]
    measured = ColourMap("coded", 1, ((0.0,) * 3, *map(tuple, np.eye(3).tolist())))
    light, other, mix = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.9] * 3), torch.tensor([0.9] * 3)
    assert shown_prints((measured, *conditions), light, other, mix).tolist() == [0, 2, 2]  # a measured map is not mixed
    assert shown_prints((), light, other, mix).tolist() == [0] * 3


def trained(prints: tuple[PrintingCondition, ...], victim, photographs, rate: float = 0.05) -> Trainer:
    config = CONFIG.changed(group_dro=rate, eot=ON_SCREEN.changed(prints=prints))
    trainer = Trainer(victim, photographs, config, 2)
    for record in trainer:
        assert math.isfinite(record.loss)
    return trainer


def weights_of(trainer: Trainer) -> list[float]:
    return trainer.state()["technique.print_weights0"].tolist()


def test_a_condition_out_of_reach_gains_weight(tiny_victim, photographs) -> None:
    faithful, blank = weights_of(trained((FAITHFUL, BLANK), tiny_victim, photographs))
    assert blank > 0.9 and faithful + blank == pytest.approx(1)


def test_conditions_that_are_alike_keep_their_weights(tiny_victim, photographs) -> None:
    first, second = weights_of(trained((FAITHFUL, ALIKE), tiny_victim, photographs))
    assert abs(first - second) < 0.3


@pytest.mark.parametrize("restarts", [1, 3])
def test_weights_go_on_where_they_were(restarts, tiny_victim, photographs) -> None:
    config = CONFIG.changed(steps=12, restarts=restarts, group_dro=0.05)
    whole = Trainer(tiny_victim, photographs, config, 2)
    list(whole)
    first = Trainer(tiny_victim, photographs, config, 2)
    for record in first:
        if record.step == 7:
            break
    second = Trainer(tiny_victim, photographs, config, 2)
    second.restore(copy.deepcopy(first.state()))
    list(second)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_what_cannot_be_weighed_is_refused(tiny_victim, photographs) -> None:
    for name in sorted(name for name in TECHNIQUES if issubclass(TECHNIQUES[name], GradientFree)):
        with pytest.raises(InputError, match="--group-dro weighs the gradients of several printing conditions"):
            Trainer(tiny_victim, photographs, CONFIG.changed(group_dro=0.01, technique=name), 2)
    with pytest.raises(InputError, match="--group-dro weighs the gradients of several printing conditions"):
        Trainer(tiny_victim, photographs, CONFIG.changed(group_dro=0.01, eot=ON_SCREEN), 2)
    with pytest.raises(InputError, match="worst and group_dro both say which views count most"):
        CONFIG.changed(group_dro=0.01, worst=0.5)
    with pytest.raises(InputError, match="group_dro -1 out of range"):
        CONFIG.changed(group_dro=-1)
