"""Objectives against formulas written out here; they are minimised, and small when the attack works."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp
from torch.autograd import gradcheck

from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from calibration.common.errors import InputError
from physpatch.attack.known_defence import Attacked
from physpatch.attack.loss import AttackLoss
from physpatch.attack.objectives import choose_objective
from physpatch.attack.penalties import non_printability, offset_palette, total_variation
from physpatch.attack.placement import AttackRegion, Placement
from physpatch.attack.worst_case import WorstViews, terms_by_view
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.eot import sample
from physpatch.techniques.static import Static
from physpatch.victims.protocol import Victim

SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.1, 3.0, 0.2]])
LABELS = torch.tensor([0, 1])


def test_targeted_is_cross_entropy() -> None:
    (term,) = choose_objective("classify", 2).terms(SCORES, LABELS).values()
    assert float(term) == pytest.approx(-log_softmax(SCORES.numpy(), axis=1)[:, 2].mean(), rel=1e-6)


def test_untargeted_is_the_log_of_what_is_left_for_the_others() -> None:
    (term,) = choose_objective("classify", None).terms(SCORES, LABELS).values()
    scores = SCORES.numpy().astype(np.float64)
    others = [
        logsumexp(np.delete(row, label)) - logsumexp(row) for row, label in zip(scores, LABELS.tolist(), strict=True)
    ]
    assert float(term) == pytest.approx(-np.mean(others), rel=1e-5)


def test_untargeted_stays_finite_for_a_certain_answer() -> None:
    certain = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    (term,) = choose_objective("classify", None).terms(certain, torch.tensor([0])).values()
    term.backward()
    assert torch.isfinite(term) and certain.grad is not None and certain.grad[0, 0] > 0.9


def test_detection_objectives_are_log_probabilities() -> None:
    probability = torch.sigmoid(SCORES).double()
    (hide,) = choose_objective("detect", None).terms(SCORES, LABELS).values()
    assert float(hide) == pytest.approx(float(-torch.log(1 - probability.amax(dim=1)).mean()), rel=1e-5)
    (appear,) = choose_objective("detect", 1).terms(SCORES, LABELS).values()
    assert float(appear) == pytest.approx(float(-torch.log(probability[:, 1]).mean()), rel=1e-5)


def test_dpatch_is_the_detectors_own_loss() -> None:
    """Lowered where the target class were the truth, raised for the object's class, or that of the surest box."""
    probability = torch.sigmoid(SCORES).double()

    def loss(classes: list[int]) -> float:
        truth = torch.nn.functional.one_hot(torch.tensor(classes), 3)
        return float(-torch.where(truth == 1, probability, 1 - probability).log().sum(dim=1).mean())

    for target, on_object, expected in (
        (2, False, loss([2, 2])),
        (2, True, loss([2, 2])),
        (None, True, -loss([1, 0])),
        (None, False, -loss([0, 1])),
    ):
        (term,) = (
            choose_objective("detect", target, "dpatch", on_object=on_object).terms(SCORES, LABELS.flip(0)).values()
        )
        assert float(term) == pytest.approx(expected, rel=1e-5)


def test_t_sea_is_the_confidence_itself() -> None:
    confidence = torch.sigmoid(SCORES)
    (surest,) = choose_objective("detect", None, "t-sea").terms(SCORES, LABELS).values()
    assert float(surest) == pytest.approx(float(confidence.amax(dim=1).mean()))
    own, absent = choose_objective("detect", 2, "t-sea", on_object=True).terms(SCORES, LABELS.flip(0)).values()
    assert float(own) == pytest.approx(float((confidence[0, 1] + confidence[1, 0]) / 2))
    assert float(absent) == pytest.approx(float(1 - confidence[:, 2].mean()))


def test_an_object_that_vanishes_leaves_no_box_of_any_class() -> None:
    vanish, hide = (choose_objective("detect", None, name, on_object=True) for name in ("vanish", "cross-entropy"))
    (term,) = vanish.terms(SCORES, LABELS.flip(0)).values()
    assert float(term) == pytest.approx(float(-torch.log(1 - torch.sigmoid(SCORES.amax(dim=1))).mean()), rel=1e-5)
    relabelled, gone = torch.tensor([[-3.0, 2.0, -3.0]]), torch.tensor([[-3.0, -2.0, -3.0]])
    of_class = torch.tensor([0])
    assert hide.success(relabelled, of_class).item() and not vanish.success(relabelled, of_class).item()
    assert vanish.success(gone, of_class).item()
    with pytest.raises(InputError, match="objective vanish takes no target class"):
        choose_objective("detect", 2, "vanish", on_object=True)


@pytest.mark.parametrize("name", ["dpatch", "t-sea", "vanish"])
def test_losses_for_detectors_are_no_classifiers(name: str) -> None:
    with pytest.raises(InputError, match=f"objective {name} is for detectors"):
        choose_objective("classify", 1, name)


@pytest.mark.parametrize(
    ("task", "target", "name"),
    [(task, target, "cross-entropy") for task in ("classify", "detect") for target in (None, 2)]
    + [("classify", 1, "margin")],
)
def test_the_worst_views_are_those_of_the_highest_losses(task: str, target: int | None, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scores, labels = 3 * torch.randn(8, 4, generator=generator), torch.randint(4, (8,), generator=generator)
    objective = choose_objective(task, target, name)
    alone = [float(sum(objective.terms(scores[i : i + 1], labels[i : i + 1]).values())) for i in range(len(scores))]
    losses = terms_by_view(objective, scores, labels).sum(dim=1)
    torch.testing.assert_close(losses, torch.tensor(alone))

    def weights(share: float) -> torch.Tensor:
        return WorstViews(share).of(losses, torch.zeros(8, dtype=torch.long), learn=True)

    worst = sorted(np.argsort(alone, kind="stable")[-3:].tolist())  # 0.3 of eight
    assert weights(0.3).nonzero()[:, 0].tolist() == worst
    chosen = objective.terms(scores[worst], labels[worst])
    assert float((weights(0.3) * losses).mean()) == pytest.approx(float(sum(chosen.values())))
    assert weights(1.0).tolist() == [1.0] * 8
    assert weights(0.01).nonzero()[:, 0].tolist() == [int(losses.argmax())]
    suspicious = losses.index_fill(0, torch.tensor([0, 7]), 1e6)
    of_suspicious = WorstViews(0.25).of(suspicious, torch.zeros(8, dtype=torch.long), learn=True)
    assert of_suspicious.nonzero()[:, 0].tolist() == [0, 7]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 1.0])
def test_the_worst_views_are_those_of_the_whole_batch_where_processes_hold_parts(share: float) -> None:
    """Each process has the losses of all, and takes the mean over its own rows."""
    generator = torch.Generator().manual_seed(1)
    scores, labels = 3 * torch.randn(8, 4, generator=generator), torch.randint(4, (8,), generator=generator)
    objective = choose_objective("classify", 2, "cross-entropy")
    losses = terms_by_view(objective, scores, labels).sum(dim=1)
    prints = torch.zeros(8, dtype=torch.long)
    parts = []
    for first in (0, 4):
        part = slice(first, first + 4)
        own = terms_by_view(objective, scores[part], labels[part])
        weights = WorstViews(share).of(losses, prints, learn=True)[part]
        parts.append(float((weights[:, None] * own).mean(dim=0).sum()))
    rows = losses.topk(int(np.ceil(share * 8))).indices
    whole = float(sum(objective.terms(scores[rows], labels[rows]).values()))
    assert np.mean(parts) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("task", "target", "scores", "expected"),
    [
        ("classify", 1, [[0, 2, 1], [3, 2, 1]], [True, False]),
        ("classify", None, [[0, 2, 1], [3, 4, 1]], [True, False]),
        ("detect", 2, [[9, 9, -2], [0, 0, -1]], [False, True]),
        ("detect", None, [[-3, -2, -4], [0, -9, -9]], [True, False]),
        ("detect", None, [[-1.2, -9, -9], [-9, -9, -1]], [True, False]),  # confidences of 0.23 and 0.27
    ],
)
def test_success_by_task(task, target, scores, expected) -> None:
    found = choose_objective(task, target).success(torch.tensor(scores, dtype=torch.float32), LABELS)
    assert found.tolist() == expected


def test_an_object_is_relabelled_where_its_own_class_is_gone_and_the_target_is_there() -> None:
    scores = torch.tensor([[-3.0, 2.0], [2.0, 2.0], [-3.0, -3.0], [2.0, -3.0]])
    relabel = choose_objective("detect", 1, goal="relabel", on_object=True)
    assert relabel.success(scores, torch.zeros(4, dtype=torch.long)).tolist() == [True, False, False, False]


@dataclass(frozen=True)
class LookingOn:
    """A defence that suspects views and leaves them as they are."""

    suspicion: torch.Tensor
    name: str = "looking-on"
    suspects: bool = True

    def attacked(self, images: torch.Tensor, draws: torch.Tensor) -> Attacked:
        return Attacked(images, self.suspicion)


def test_a_view_succeeds_where_every_victim_is_fooled_and_no_defence_suspects_it(tiny_victim: Victim) -> None:
    cells = torch.zeros(3, 2, 2).index_fill(0, torch.tensor([2]), 0.8)
    images = cells[:, :1, :1].expand(4, 3, 32, 32)  # all blue
    objectives = [choose_objective("classify", 2), choose_objective("classify", None)]
    attack = AttackLoss(
        Static(cells),
        [tiny_victim] * 2,
        objectives,
        AttackRegion(Placement.cut("square", 0.1, (2, 2)), "image"),
        defences=[LookingOn(torch.tensor([-1.0, -0.05, 0.0, 0.3])), None],
    )
    params = sample(EotConfig.none(), 4, torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 0, 1, 0])
    terms, fooled = (result.detach() for result in attack(images, labels, params))
    assert fooled.tolist() == [0, 1, 1, 0]  # the first is what it looks like, and the last is suspected
    assert attack.term_names[1] == "suspicion.tiny+looking-on"
    assert float(terms[1]) == pytest.approx((0.05 + 0.1 + 0.4) / 4 / 2)  # from a tenth below the threshold on
    by_view, alike = attack.each(images, labels, params, cells.expand(4, -1, -1, -1))
    assert alike.tolist() == fooled.tolist()
    torch.testing.assert_close(by_view.mean(dim=0), terms)


@pytest.mark.parametrize(("target", "share"), [(2, 1.0), (None, 0.0)])
def test_hard_labels_are_those_that_a_product_shows(target: int | None, share: float, tiny_victim: Victim) -> None:
    """Blue images, which the network takes for blue, but never as surely as its product's threshold."""
    unsure = replace(tiny_victim, threshold=0.999)
    cells = torch.zeros(3, 2, 2).index_fill(0, torch.tensor([2]), 0.8)
    images = cells[:, :1, :1].expand(4, 3, 32, 32)
    region = AttackRegion(Placement.cut("square", 0.1, (2, 2)), "image")
    params = sample(EotConfig.none(), 4, torch.Generator().manual_seed(0))
    labels = torch.full((4,), 2)
    for victim, failed in ((tiny_victim, 1 - share), (unsure, share)):
        attack = AttackLoss(Static(cells), [victim], [choose_objective("classify", target, "answer")], region)
        terms, fooled = attack(images, labels, params)
        by_view, _ = attack.each(images, labels, params, cells.expand(4, -1, -1, -1))
        assert float(terms[0].detach()) == failed and (by_view == failed).all()
        assert (fooled == 1 - failed).all()


@pytest.mark.parametrize("task", ["classify", "detect"])
@pytest.mark.parametrize("target", [None, 0])
def test_term_names_are_told_before_the_first_step(task, target) -> None:
    objective = choose_objective(task, target)
    assert tuple(objective.terms(SCORES, LABELS)) == objective.term_names


def test_margins_are_distances_to_the_lead_and_stop_when_it_is_won() -> None:
    (targeted,) = choose_objective("classify", 2, "margin").terms(SCORES, LABELS).values()
    assert float(targeted) == pytest.approx(np.mean([2.0 + 1.0 + 3, 3.0 - 0.2 + 3]))
    (untargeted,) = choose_objective("classify", None, "margin").terms(SCORES, LABELS).values()
    assert float(untargeted) == pytest.approx(np.mean([2.0 - 0.5 + 3, 3.0 - 0.2 + 3]))
    won = torch.tensor([[0.0, 0.0, 9.0]], requires_grad=True)
    (term,) = choose_objective("classify", 2, "margin").terms(won, torch.tensor([0])).values()
    term.backward()
    assert float(term.detach()) == 0 and won.grad is not None and not won.grad.any()
    (term,) = choose_objective("classify", None, "margin").terms(won.detach(), torch.tensor([0])).values()
    assert float(term) == 0
    with pytest.raises(InputError, match="margin is for classifiers"):
        choose_objective("detect", None, "margin")


def test_non_printability_is_the_distance_to_the_nearest_colour() -> None:
    palette = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0.5, 0, 0]])
    cells = torch.stack([torch.tensor([[0.6, 1.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.9]])])
    assert float(non_printability(cells, palette)) == pytest.approx((0.1 + 0.1) / 2, abs=1e-4)
    assert float(non_printability(palette.T.reshape(3, 1, 3), palette)) < 2e-4
    assert gradcheck(lambda c: non_printability(c, palette.double()), cells.double().requires_grad_())


def test_total_variation_is_the_mean_step_between_neighbours() -> None:
    board = ((torch.arange(4)[:, None] + torch.arange(4)) % 2).float().expand(3, 4, 4)
    assert float(total_variation(board)) == 1
    assert float(total_variation(torch.full((3, 4, 4), 0.3))) == 0
    assert float(total_variation(torch.full((3, 1, 1), 0.3))) == 0  # without neighbours


def test_the_offset_palette_holds_paper_solids_and_tints() -> None:
    palette = offset_palette() * 255
    assert palette.shape == (125, 3)
    for solid in ((246, 246, 246), (0, 158, 224), (229, 0, 125), (29, 29, 27)):
        assert (palette - torch.tensor(solid)).abs().amax(dim=1).min() < 1
    half = linear_to_srgb(
        (srgb_to_linear(np.array([246.0, 246, 246]) / 255) + srgb_to_linear(np.array([0, 158, 224.0]) / 255)) / 2
    )
    assert (palette - torch.from_numpy(half * 255)).abs().amax(dim=1).min() < 1
