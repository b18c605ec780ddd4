"""A network learns to answer like a victim that gives predictions alone, and its gradients lead the patch."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import ON_SCREEN, make_tiny_victim
from torch import nn

from calibration.common.errors import InputError
from physpatch.attack import imitation
from physpatch.attack.imitation import ImitatedVictim, Imitation, Imitations
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.training.distributed import Processes
from physpatch.training.targets import resolve_target
from physpatch.training.trainer import Trainer
from physpatch.victims.protocol import Victim

CONFIG = TrainConfig.of(steps=60, batch=8, area=0.6, cut="square", grid=(4, 4), seed=3, eot=ON_SCREEN)
BLUE = 2


class _Blind(nn.Module):
    """A network elsewhere: what it answers has no gradient, and every image is counted."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.images = network, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += len(images)
        return self.network(images).detach()


@pytest.fixture
def blind_victim(tiny_victim: Victim) -> Victim:
    """The tiny victim behind predictions alone."""
    return replace(tiny_victim, name="blind", module=_Blind(tiny_victim.module), differentiable=False)


@pytest.fixture
def mistaken() -> Victim:
    """A network of the same classes that takes red for blue and blue for red."""
    victim = replace(make_tiny_victim(), name="mistaken")
    with torch.no_grad():
        head = victim.module.head.weight
        head.copy_(head[[2, 1, 0, 3]])
    return victim


def test_the_gradients_of_an_imitation_reach_a_target_that_the_network_alone_mistakes(
    blind_victim, mistaken, photographs, monkeypatch
) -> None:
    success = {}
    for rate in (0.0, 0.05):
        monkeypatch.setattr(imitation, "_RATE", rate)
        trainer = Trainer(blind_victim, photographs, CONFIG, BLUE, imitators=[mistaken])
        success[rate] = [record.success for record in trainer]
    assert np.mean(success[0.05][-10:]) > 0.9
    assert np.mean(success[0.0][-10:]) < 0.1  # red cells, which it takes for blue ones


def test_the_network_that_is_copied_and_the_victim_stay_as_they_were(blind_victim, mistaken, photographs) -> None:
    before = [copy.deepcopy(victim.module.state_dict()) for victim in (blind_victim, mistaken)]
    list(Trainer(blind_victim, photographs, CONFIG.changed(steps=3), BLUE, imitators=[mistaken]))
    for victim, weights in zip((blind_victim, mistaken), before, strict=True):
        assert all(torch.equal(value, weights[name]) for name, value in victim.module.state_dict().items())
        assert not any(p.requires_grad for p in victim.module.parameters())


def test_scores_are_the_victims_and_their_gradient_the_imitations(blind_victim, mistaken) -> None:
    imitated = ImitatedVictim.of(blind_victim, Imitations([mistaken]))
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    asked = images.clone().requires_grad_()
    scores = imitated.scores(asked)
    torch.testing.assert_close(scores, blind_victim.scores(images))
    own = images.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(mistaken.scores(own)[:, BLUE].sum(), own)
    (gradient,) = torch.autograd.grad(scores[:, BLUE].sum(), asked)
    torch.testing.assert_close(gradient, theirs)


def test_learning_lowers_the_divergence_from_the_victims_answers(blind_victim, mistaken, monkeypatch) -> None:
    monkeypatch.setattr(imitation, "_RATE", 0.05)
    learner = Imitation(mistaken)
    images = torch.rand(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    answers = blind_victim.scores(images)

    def divergence() -> float:
        with torch.no_grad():
            own = learner.scores(images).log_softmax(dim=1)
        return float((answers.softmax(dim=1) * (answers.log_softmax(dim=1) - own)).sum(dim=1).mean())

    first = divergence()
    for _ in range(40):
        learner.note(images, answers)
        assert learner.learn() == 32
    assert divergence() < 0.1 * first
    assert learner.learn() == 0  # each view is learned once


def test_several_imitations_take_turns_and_each_learns_from_its_own_steps(blind_victim, mistaken, photographs) -> None:
    networks = [mistaken, replace(make_tiny_victim(), name="alike")]
    imitations = Imitations(networks)
    asked = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    imitated = ImitatedVictim.of(blind_victim, imitations)
    before = [imitations.state()]
    for network in (*networks, networks[0]):
        own = asked.detach().clone().requires_grad_()
        (theirs,) = torch.autograd.grad(network.scores(own)[:, BLUE].sum(), own)
        (gradient,) = torch.autograd.grad(imitated.scores(asked)[:, BLUE].sum(), asked)
        torch.testing.assert_close(gradient, theirs, rtol=0.05, atol=1e-4)  # a copy learns by small steps
        assert imitations.learn() == 4
        before.append(imitations.state())
    for first, second, number in ((0, 1, "0."), (1, 2, "1."), (2, 3, "0.")):
        changed = {
            name for name, value in before[second].items() if not torch.equal(value, before[first].get(name, value + 1))
        }
        assert {name for name in changed if name != "turn"} and all(
            name.startswith(number) or name == "turn" for name in changed
        )
    trainer = Trainer(blind_victim, photographs, CONFIG.changed(queries=48), BLUE, imitators=networks)
    assert [record.queries for record in trainer] == [8, 16, 24, 32, 40, 48]  # not more for two


@pytest.mark.parametrize("defences", [("none", "median"), ("median", "median")])
def test_each_defence_that_is_known_asks_once_more(defences, blind_victim, photographs) -> None:
    config = CONFIG.changed(technique="evolution", defences=defences, queries=1100)
    trainer = Trainer(blind_victim, photographs, config, BLUE)
    list(trainer)
    assert 1000 < trainer.queries == blind_victim.module.images <= 1100


def test_of_several_starts_the_best_goes_on_within_the_budget(blind_victim, mistaken, photographs, tmp_path) -> None:
    starts = []
    for number, colour in enumerate([(0, 0, 0), (20, 20, 255), (255, 0, 0)]):
        Patch(np.full((4, 4, 3), colour, np.uint8)).save(tmp_path / f"{number}")
        starts.append(str(tmp_path / f"{number}"))
    config = CONFIG.changed(queries=400, start=tuple(starts), imitate=("mistaken",))
    whole, first, second = (Trainer(blind_victim, photographs, config, BLUE, imitators=[mistaken]) for _ in range(3))
    list(whole)
    assert whole.queries == 8 * whole.total_steps <= 400 and whole.total_steps > 45
    assert blind_victim.module.images == whole.queries  # none to compare the starts
    assert whole._leader is not None and whole._leader.number == 1  # which is blue already
    for record in first:
        if record.step == 8:  # in the second trial
            break
    second.restore(copy.deepcopy(first.state()))
    list(second)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name
    alone = config.changed(imitate=(), technique="evolution")
    with pytest.raises(InputError, match="where no network imitates the victim, queries are a budget for one start"):
        Trainer(blind_victim, photographs, alone, BLUE)


def test_a_technique_that_would_lose_its_start_refuses_it(tiny_victim, photographs) -> None:
    start = Patch(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="coarse-to-fine begins with fields of one colour, so a start would be lost"):
        Trainer(tiny_victim, photographs, CONFIG.changed(technique="coarse-to-fine"), BLUE, start=start)


def test_queries_are_counted_and_all_that_the_victim_was_shown(blind_victim, mistaken, photographs) -> None:
    config = CONFIG.changed(queries=50)
    trainer = Trainer(blind_victim, photographs, config, BLUE, imitators=[mistaken])
    records = list(trainer)
    assert [record.queries for record in records] == [8, 16, 24, 32, 40, 48]
    assert trainer.queries == blind_victim.module.images == 48


@pytest.mark.parametrize("number", [1, 2])
def test_resumed_imitations_are_bit_for_bit_the_same(number, blind_victim, mistaken, photographs) -> None:
    config, networks = CONFIG.changed(queries=96), [mistaken, make_tiny_victim()][:number]
    whole, first, second = (Trainer(blind_victim, photographs, config, BLUE, imitators=networks) for _ in range(3))
    list(whole)
    for record in first:
        if record.step == 5:
            break
    second.restore(copy.deepcopy(first.state()))
    list(second)
    assert set(whole.state()) == set(second.state())
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


@pytest.mark.parametrize("moment", ["after", "within"])
def test_a_step_cut_short_while_learning_is_made_again(
    moment, blind_victim, mistaken, photographs, monkeypatch
) -> None:
    config = CONFIG.changed(steps=5)
    whole = Trainer(blind_victim, photographs, config, BLUE, imitators=[mistaken])
    list(whole)
    cut = Trainer(blind_victim, photographs, config, BLUE, imitators=[mistaken])
    next(iter(cut))
    learn = Imitation.learn

    def interrupted(*arguments: Imitation) -> int:
        if moment == "after":
            learn(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if moment == "after":
            patched.setattr(Imitation, "learn", interrupted)
        else:  # between the gradient and its use
            patched.setattr(torch.optim.Adam, "step", interrupted)
        next(iter(cut))
    list(cut)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, cut.state()[name]), name


def test_auto_takes_no_gradient_of_an_imitated_victim(tiny_victim, photographs) -> None:
    """A race would use the gradients that the attacker does not have."""
    lines: list[str] = []
    choice = resolve_target("auto", tiny_victim, photographs, CONFIG.changed(imitate=("another",)), lines.append)
    assert "race" not in choice.how and choice.index is not None


def test_what_cannot_imitate_or_be_imitated_is_refused(blind_victim, mistaken, photographs) -> None:
    for settings, imitator, processes, words in (
        ({"technique": "evolution"}, mistaken, None, "evolution uses predictions alone and needs no imitation"),
        ({"queries": 7}, mistaken, None, "7 queries are fewer than the 8 that one step of pgd takes"),
        ({"transfer": ("ghost",)}, mistaken, None, "leave out --transfer or --imitate"),
        ({"defences": ("heat",)}, mistaken, None, "heat needs Grad-CAM, and blind is asked for predictions alone"),
        ({}, mistaken, Processes(0, 2), "learns in one process"),
        ({}, blind_victim, None, "blind cannot learn to imitate"),
        ({}, replace(mistaken, categories=("a", "b", "c", "d")), None, "mistaken cannot imitate blind"),
        ({}, replace(mistaken, task="detect"), None, "both must be classifiers"),
    ):
        with pytest.raises(InputError, match=words):
            Trainer(
                blind_victim,
                photographs,
                CONFIG.changed(**settings),
                BLUE,
                imitators=[imitator],
                processes=processes,
            )
