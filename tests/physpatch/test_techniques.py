"""What each technique does that the others do not."""

import numpy as np
import pytest
import torch
from black_box import BestClasses
from torch import nn

from physpatch.records.eot_config import EotConfig
from physpatch.techniques.adam import Adam
from physpatch.techniques.base import shrinking
from physpatch.techniques.black_box import BlackBox
from physpatch.techniques.coarse_to_fine import CoarseToFine
from physpatch.techniques.curriculum import Curriculum
from physpatch.techniques.ensemble import Ensemble
from physpatch.techniques.evolution import Evolution
from physpatch.techniques.pgd import Pgd
from physpatch.techniques.two_colours import TwoColours

START = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2


def pull(technique, towards: torch.Tensor, steps: int) -> None:
    for _ in range(steps):
        (technique.cells() - towards).square().sum().backward()
        technique.step()


def test_pgd_steps_by_sign_with_momentum_and_stays_printable() -> None:
    technique = Pgd(START, 0.1, steps=100)
    weights = torch.randn_like(START)
    (technique.cells() * weights).sum().backward()
    technique.step()
    torch.testing.assert_close(technique.cells().detach(), (START - 0.1 * weights.sign()).clamp(0, 1))
    before = technique.cells().detach().clone()
    (
        technique.cells() * -1e-6 * weights
    ).sum().backward()  # against the first, and as strong once its scale is taken out
    technique.step()
    moved = technique.cells().detach() - before
    inside = (technique.cells() > 0) & (technique.cells() < 1)
    assert (moved[inside] * weights.sign()[inside]).mean() > 0.09  # 0.9 of the first gradient and 1 of the second
    pull(technique, torch.full_like(START, 5.0), 60)
    assert technique.cells().max() == 1 and technique.cells().min() >= 0


def test_steps_shrink_to_a_twentieth_of_the_first() -> None:
    technique = Pgd(START, 0.1, steps=50)
    pull(technique, torch.zeros_like(START), 50)
    before = technique.cells().detach().clone()
    pull(technique, torch.ones_like(START), 1)
    assert float((technique.cells().detach() - before).abs().max()) <= 0.1 * 0.0501


def test_steps_follow_half_a_cosine() -> None:
    factors = [shrinking(taken, 50) for taken in (0, 25, 50, 60)]
    assert factors == pytest.approx([1, 0.525, 0.05, 0.05])


def test_adams_steps_shrink_too() -> None:
    technique = Adam(START, 0.1, steps=20)
    weights = torch.randn(START.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        (technique.logits[0] * weights).sum().backward()
        technique.step()
    # The gradient stays the same, so each step has the step size.
    way = 0.1 * sum(shrinking(i, 20) for i in range(20))
    moved = technique.logits[0].detach() - torch.logit(START)
    torch.testing.assert_close(moved, -way * weights.sign(), atol=1e-3, rtol=0)


def test_a_curriculum_widens_with_success_and_ends_whole() -> None:
    full = EotConfig.preset("outdoor")
    failing, succeeding = (Curriculum(START, steps=50) for _ in range(2))
    assert failing.ranges(full) == EotConfig.none().changed(prints=full.prints)
    for technique, success in ((failing, 0.0), (succeeding, 0.9)):
        for _ in range(10):
            pull(technique, torch.zeros_like(START), 1)
            technique.observe(success)
    widths = [t.ranges(full).rotation_deg[1] / full.rotation_deg[1] for t in (failing, succeeding)]
    assert widths == pytest.approx([10 / 30, 10 / 30])  # both at least keep to the timetable
    for _ in range(20):
        succeeding.observe(0.9)
    assert succeeding.ranges(full).rotation_deg[1] == pytest.approx(0.6 * full.rotation_deg[1])
    pull(failing, torch.zeros_like(START), 20)
    assert failing.ranges(full) == full
    just = Curriculum(START, steps=50)
    just.observe(0.25)  # a quarter of the batch is enough
    assert just.ranges(full).rotation_deg[1] == pytest.approx(0.02 * full.rotation_deg[1])


def test_coarse_to_fine_moves_fields_first_and_cells_later() -> None:
    technique = CoarseToFine(START, 0.3, steps=40)
    assert [tuple(z.shape) for z in technique.logits] == [(3, 2, 2), (3, 4, 4), (3, 8, 8)]
    cells = technique.cells().detach()
    assert torch.equal(cells[:, :4, :4], cells[:, :1, :1].expand(3, 4, 4))
    target = torch.zeros(3, 8, 8)
    target[:, ::2, ::2] = 1.0
    pull(technique, target, 5)
    early = technique.cells().detach()
    assert torch.equal(early[:, :4, :4], early[:, :1, :1].expand(3, 4, 4))
    pull(technique, target, 35)
    assert float((technique.cells().detach() - target).abs().mean()) < 0.3 < float((early - target).abs().mean())
    odd = CoarseToFine(torch.rand(3, 10, 7))
    assert odd.cells().shape == (3, 10, 7)


def test_an_ensemble_weighs_the_most_resistant_most() -> None:
    weights = Ensemble(START).weigh(torch.tensor([1.0, 3.0, 3.0]))
    assert weights.sum() == pytest.approx(1) and weights[1] == weights[2] > 3 * weights[0]
    assert not Ensemble(START).weigh(torch.ones(2, requires_grad=True)).requires_grad


def test_black_box_needs_losses_alone_and_replays_them() -> None:
    target = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(5))

    def train(technique: BlackBox, steps: int) -> None:
        for _ in range(steps):
            candidates = technique.candidates()
            assert candidates.shape[1:] == target.shape and not candidates.requires_grad
            technique.tell((candidates - target).square().flatten(1).sum(dim=1))

    start = torch.full((3, 3, 3), 0.5)
    technique = BlackBox(start, seed=3)
    train(technique, 30)
    state = technique.state()
    train(technique, 90)
    assert float((technique.cells().detach() - target).abs().mean()) < 0.25 * float((start - target).abs().mean())
    again = BlackBox(torch.rand(3, 3, 3), seed=3)
    again.restore(state)
    train(again, 90)
    np.testing.assert_array_equal(again.cells().numpy(), technique.cells().numpy())
    with pytest.raises(TypeError, match="losses, not gradients"):
        technique.step()


def test_evolution_takes_the_best_start_then_steps_by_mirrored_probes() -> None:
    technique = Evolution(START, 0.05, steps=100, seed=2)
    for number, images in ((128, 2), (32, 4), (8, 16)):
        candidates = technique.candidates()
        assert candidates.shape == (number, *START.shape)
        assert torch.equal(technique.judged_on(16), torch.arange(images).expand(number, -1))
        technique.tell((candidates - 1.0).square().flatten(1).mean(dim=1))  # the brightest is the best
    start = technique.cells().clone()
    assert float(start.mean()) > 0.9 and len(start.flatten(1).unique(dim=1).T) <= 2  # a patch of two colours
    probes = technique.candidates()
    assert probes.shape == (32, *START.shape) and probes.min() >= 0 and probes.max() <= 1
    assert technique.judged_on(16).flatten().tolist() == [row for row in range(16) for _ in range(2)]
    assert set(technique.judged_on(5).flatten().tolist()) == set(range(5))
    for _ in range(150):
        technique.tell(technique.candidates().flatten(1).sum(dim=1))
    assert float(technique.cells().mean()) < 0.25 < float(start.mean())


def test_evolution_draws_by_its_seed() -> None:
    one, again, other = (Evolution(START, seed=seed) for seed in (1, 1, 2))
    for _ in range(4):
        candidates = one.candidates()
        assert torch.equal(candidates, again.candidates()) and not torch.equal(candidates, other.candidates())
        for technique in (one, again, other):
            technique.tell((technique.candidates() - START).square().flatten(1).sum(dim=1))


def test_evolution_keeps_a_start_that_is_better_than_two_colours() -> None:
    technique = Evolution(START, seed=1)
    for _ in range(3):
        technique.tell((technique.candidates() - START).square().flatten(1).sum(dim=1))
    assert torch.equal(technique.cells(), START)
    technique.tell(technique.candidates().flatten(1).sum(dim=1))
    moved = (technique.cells() - START).square().mean().sqrt()
    assert float(moved) == pytest.approx(0.004 * shrinking(3, 200) * (1 - 0.97**2) ** 0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "batch", "queries", "steps"),
    [
        (BlackBox, 16, 400, 2),
        (BlackBox, 16, 100, 0),
        (Evolution, 16, 20_000, 612),
        (Evolution, 16, 511, 2),
        (Evolution, 16, 100, 0),
    ],
)
def test_a_budget_of_queries_gives_steps(kind, batch: int, queries: int, steps: int) -> None:
    assert kind.steps_within(queries, batch) == steps


def test_two_colours_learn_a_picture_cell_by_cell() -> None:
    picture = (torch.rand(8, 8, generator=torch.Generator().manual_seed(7)) < 0.4).float()
    wanted = torch.stack([0 * picture, picture, 0 * picture])  # green on black

    def losses(cells: torch.Tensor) -> torch.Tensor:
        return (cells - wanted).square().flatten(1).sum(dim=1)

    start = wanted.clone()
    start[1, ::2, ::3] = 1 - start[1, ::2, ::3]  # twelve cells are wrong, so it is the best of the starts
    technique = TwoColours(start, 0.02, steps=300, seed=1)
    for _ in range(3):
        technique.tell(losses(technique.candidates()))
    assert torch.equal(technique.cells(), start)
    for _ in range(297):
        probes = technique.candidates()
        assert all(len(probe.flatten(1).unique(dim=1).T) <= 2 for probe in probes[:4])
        technique.tell(losses(probes))
    assert torch.equal(technique.cells(), wanted)
    marked = technique.state()["marked"]
    assert marked.min() >= 0.1 and marked.max() <= 0.9  # none of the cells is given up


def test_two_colours_begin_with_those_nearest_to_a_given_patch() -> None:
    technique = TwoColours(START, seed=1)
    for _ in range(3):
        technique.tell((technique.candidates() - START).square().flatten(1).sum(dim=1))
    assert torch.equal(technique.cells(), START)
    technique.tell(torch.zeros(32))  # nothing learnt
    two = technique.cells()
    assert len(two.flatten(1).unique(dim=1).T) == 2
    assert float((two - START).square().mean()) < float((START - START.mean(dim=(1, 2), keepdim=True)).square().mean())


def test_a_model_that_tells_its_best_classes_alone_is_asked_as_one_that_tells_nothing_of_the_others() -> None:
    scores = torch.tensor([[4.0, 1.0, 3.0, 0.0, 2.0], [0.0, 9.0, 0.0, 1.0, 9.5]])
    true, told = scores.softmax(dim=1), BestClasses(nn.Identity(), 2)(scores).exp()
    best = true.topk(2, dim=1).indices
    torch.testing.assert_close(told.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(told.gather(1, best), true.gather(1, best))
    others = told.scatter(1, best, 0.0)
    assert all(len(row[row > 0].unique()) == 1 for row in others)
