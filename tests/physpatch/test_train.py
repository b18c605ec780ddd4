"""Training on a tiny deterministic victim: the loss falls, runs repeat and resume bit for bit, the victim is left alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import CATEGORIES, colour_photographs

from calibration.errors import InputError, PhyspatchError
from physpatch.compose import place_patch
from physpatch.config import EotConfig, TrainConfig
from physpatch.eot import sample
from physpatch.techniques import TECHNIQUES
from physpatch.techniques.static import Static
from physpatch.train import Trainer, resolve_target

CONFIG = TrainConfig(steps=40, batch=8, area=0.6, grid=(4, 4), seed=3)


@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("eot", [EotConfig(), EotConfig.none()], ids=["eot", "no-eot"])
def test_loss_falls_and_the_patch_works(technique, target, eot, tiny_victim, photographs) -> None:
    trainer = Trainer(tiny_victim, photographs, replace(CONFIG, technique=technique, eot=eot), target)
    losses = [record.loss for record in trainer]
    assert len(losses) == 40
    assert np.mean(losses[-8:]) < 0.8 * losses[0]
    if target == 2:  # blue things are brought about by blue cells
        red, green, blue = trainer.patch.cells.reshape(-1, 3).mean(axis=0)
        assert blue > 2 * max(red, green)


def test_records_count_time_and_name_their_terms(tiny_victim, photographs) -> None:
    records = list(Trainer(tiny_victim, photographs, replace(CONFIG, steps=3), 2))
    assert [r.step for r in records] == [1, 2, 3]
    assert all(set(r.terms) == {"ce"} and r.loss == pytest.approx(r.terms["ce"]) and r.seconds > 0 for r in records)


@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
def test_the_same_seed_gives_the_same_patch_and_another_seed_another(technique, tiny_victim, photographs) -> None:
    def trained(seed: int) -> np.ndarray:
        trainer = Trainer(tiny_victim, photographs, replace(CONFIG, technique=technique, steps=6, seed=seed), 2)
        list(trainer)
        return trainer.patch.cells

    np.testing.assert_array_equal(trained(3), trained(3))
    assert not np.array_equal(trained(3), trained(4))


@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
def test_resumed_is_bit_for_bit_the_same(technique, tiny_victim, photographs) -> None:
    config = replace(CONFIG, technique=technique, steps=12)
    whole = Trainer(tiny_victim, photographs, config, None)
    list(whole)
    first = Trainer(tiny_victim, photographs, config, None)
    for record in first:
        if record.step == 5:
            break
    second = Trainer(tiny_victim, photographs, config, None)
    second.restore(copy.deepcopy(first.state()))
    assert [record.step for record in second] == list(range(6, 13))
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_the_victim_is_left_as_it_was_found(tiny_victim, photographs) -> None:
    module = tiny_victim.module.train()
    for parameter in module.parameters():
        parameter.requires_grad_()
    weights = copy.deepcopy(module.state_dict())
    list(Trainer(tiny_victim, photographs, replace(CONFIG, steps=3), None))
    assert module.training and all(m.training for m in module.modules())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in weights.items())


def test_static_follows_the_original_rule() -> None:
    start = torch.full((3, 2, 2), 0.5)
    technique = Static(start, 0.1)
    weights = torch.arange(12.0).reshape(3, 2, 2) - 6
    (technique.cells() * weights).sum().backward()
    technique.step()
    expected = (start - 0.1 * weights / 6).clamp(0, 1)  # sign times magnitude, relative to the strongest cell
    torch.testing.assert_close(technique.cells().detach(), expected)
    assert technique.cells().grad is None


def test_static_moves_by_the_mean_gradient_of_a_cells_pixels(tiny_victim) -> None:
    """Through placing and victim: the step is along the average over each cell of a patch of single pixels' gradient."""
    images = torch.rand(2, 3, 32, 32)
    params = sample(EotConfig.none(), 2, torch.Generator().manual_seed(0))
    start = torch.rand(3, 2, 2) * 0.6 + 0.2
    technique = Static(start, 0.1)
    pixels = start.repeat_interleave(4, 1).repeat_interleave(4, 2).requires_grad_()
    for cells in (technique.cells(), pixels):
        tiny_victim.scores(place_patch(images, cells, params, 0.25)[0])[:, 0].sum().backward()
    averaged = torch.nn.functional.avg_pool2d(pixels.grad[None], 4)[0]
    technique.step()
    moved = technique.cells().detach() - start
    torch.testing.assert_close(moved, -0.1 * averaged / averaged.abs().max(), atol=2e-3, rtol=0.05)


def test_a_step_cut_short_is_made_again(tiny_victim, photographs, monkeypatch) -> None:
    """Ctrl-C in the middle of a step: what is kept is the state before it, and the resumed run is the same run."""
    config = replace(CONFIG, steps=5)
    whole = Trainer(tiny_victim, photographs, config, 2)
    list(whole)
    cut = Trainer(tiny_victim, photographs, config, 2)
    steps = iter(cut)
    next(steps)
    real = tiny_victim.module.forward
    monkeypatch.setattr(tiny_victim.module, "forward", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    monkeypatch.setattr(tiny_victim.module, "forward", real)
    list(cut)
    assert all(torch.equal(value, cut.state()[name]) for name, value in whole.state().items())


def test_auto_target_is_what_random_patches_favour(tiny_victim, photographs) -> None:
    assert CATEGORIES[resolve_target("auto", tiny_victim, photographs, CONFIG)] == "bright thing"
    assert resolve_target("none", tiny_victim, photographs, CONFIG) is None
    assert resolve_target("Blue-Thing", tiny_victim, photographs, CONFIG) == 2
    assert resolve_target("1", tiny_victim, photographs, CONFIG) == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("blu thing", "unknown class 'blu thing'; did you mean 'blue thing'"),
        ("7", "classes 0 to 3"),
        ("-1", "out of range"),
    ],
)
def test_unknown_targets_are_refused(target, words, tiny_victim, photographs) -> None:
    with pytest.raises(InputError, match=words):
        resolve_target(target, tiny_victim, photographs, CONFIG)


def test_guards(tiny_victim, photographs) -> None:
    with pytest.raises(InputError, match="unknown technique 'adm'; did you mean 'adam'"):
        Trainer(tiny_victim, photographs, replace(CONFIG, technique="adm"))
    with pytest.raises(InputError, match="smaller than tiny's input of 32 px"):
        Trainer(tiny_victim, colour_photographs(4, 24), CONFIG)
    broken = copy.deepcopy(tiny_victim.module)
    broken.head.bias.fill_(float("nan"))
    with pytest.raises(PhyspatchError, match="the loss is nan at step 1; lower --learning-rate"):
        list(Trainer(replace(tiny_victim, module=broken), photographs, CONFIG, 2))


def test_unlabelled_photographs_take_the_victims_own_answer(tiny_victim, photographs) -> None:
    unlabelled = replace(photographs, labels=torch.full_like(photographs.labels, -1))
    trainer = Trainer(tiny_victim, unlabelled, replace(CONFIG, steps=25), None)
    losses = [record.loss for record in trainer]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
