"""Training on a tiny deterministic victim: the loss falls, runs repeat and resume bit for bit, the victim is left alone."""

import copy
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from support import CATEGORIES, ON_SCREEN, colour_photographs

from calibration.common.errors import InputError, PhyspatchError
from physpatch.attack.penalties import non_printability, offset_palette, total_variation
from physpatch.data.batch_sampler import BatchSource
from physpatch.data.photographs import UNLABELLED
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_exchange import to_cells
from physpatch.rendering.cells import cells_from_patch
from physpatch.rendering.compositing import place_patch
from physpatch.rendering.eot import sample
from physpatch.techniques import TECHNIQUES
from physpatch.techniques.static import Static
from physpatch.training.counted_photographs import counted_photographs, recognised_share
from physpatch.training.starts import anchored_start
from physpatch.training.targets import resolve_target
from physpatch.training.targets.race import _first_list, _kept, _ranked, _Round, _step_lengths
from physpatch.training.trainer import Trainer
from physpatch.victims.protocol import Victim

CONFIG = TrainConfig.of(steps=40, batch=8, area=0.6, cut="square", grid=(4, 4), seed=3, eot=ON_SCREEN)


def others_for(technique: str, victim: Victim) -> list[Victim]:
    """A second victim for the technique that needs several."""
    return [replace(victim, name="second")] if technique == "ensemble" else []


@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("eot", [ON_SCREEN, EotConfig.none()], ids=["eot", "no-eot"])
def test_loss_falls_and_the_patch_works(technique, target, eot, tiny_victim, photographs) -> None:
    config = CONFIG.changed(technique=technique, eot=eot)
    trainer = Trainer(tiny_victim, photographs, config, target, others=others_for(technique, tiny_victim))
    losses = [record.loss for record in trainer]
    assert len(losses) == 40
    assert np.mean(losses[-8:]) < 0.8 * losses[0]
    if target == 2:  # blue things are brought about by blue cells
        red, green, blue = trainer.patch.cells.reshape(-1, 3).mean(axis=0)
        assert blue > 2 * max(red, green)


def test_records_count_time_and_name_their_terms(tiny_victim, photographs) -> None:
    records = list(Trainer(tiny_victim, photographs, CONFIG.changed(steps=3), 2))
    assert [r.step for r in records] == [1, 2, 3]
    assert all(set(r.terms) == {"ce"} and r.loss == pytest.approx(r.terms["ce"]) and r.seconds > 0 for r in records)


@pytest.mark.parametrize("technique", sorted(TECHNIQUES))
def test_the_same_seed_gives_the_same_patch_and_another_seed_another(technique, tiny_victim, photographs) -> None:
    def trained(seed: int) -> np.ndarray:
        config = CONFIG.changed(technique=technique, steps=6, seed=seed)
        trainer = Trainer(tiny_victim, photographs, config, 2, others=others_for(technique, tiny_victim))
        list(trainer)
        return trainer.patch.cells

    np.testing.assert_array_equal(trained(3), trained(3))
    if technique not in ("evolution", "two-colours"):  # their starts hold the best patch here, whatever the seed
        assert not np.array_equal(trained(3), trained(4))


@pytest.mark.parametrize(
    ("technique", "restarts"), [*((name, 1) for name in sorted(TECHNIQUES)), ("adam", 4), ("black-box", 3)]
)
def test_resumed_is_bit_for_bit_the_same(technique, restarts, tiny_victim, photographs) -> None:
    config = CONFIG.changed(technique=technique, steps=12, restarts=restarts)
    others = others_for(technique, tiny_victim)
    whole = Trainer(tiny_victim, photographs, config, None, others=others)
    list(whole)
    first = Trainer(tiny_victim, photographs, config, None, others=others)
    for record in first:
        if record.step == 5:
            break
    second = Trainer(tiny_victim, photographs, config, None, others=others)
    second.restore(copy.deepcopy(first.state()))
    assert [record.step for record in second] == list(range(6, whole.total_steps + 1))
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_the_victim_is_left_as_it_was_found(tiny_victim, photographs) -> None:
    module = tiny_victim.module.train()
    for parameter in module.parameters():
        parameter.requires_grad_()
    weights = copy.deepcopy(module.state_dict())
    list(Trainer(tiny_victim, photographs, CONFIG.changed(steps=3), None))
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
    config = CONFIG.changed(steps=5)
    whole = Trainer(tiny_victim, photographs, config, 2)
    list(whole)
    cut = Trainer(tiny_victim, photographs, config, 2)
    steps = iter(cut)
    next(steps)
    step = type(cut._technique).step
    monkeypatch.setattr(type(cut._technique), "step", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # after the backward pass
        next(iter(cut))
    monkeypatch.setattr(type(cut._technique), "step", step)
    steps = iter(cut)
    real = tiny_victim.module.forward
    monkeypatch.setattr(tiny_victim.module, "forward", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    monkeypatch.setattr(tiny_victim.module, "forward", real)
    list(cut)
    assert all(torch.equal(value, cut.state()[name]) for name, value in whole.state().items())


def test_auto_target_wins_a_race_of_trainings(tiny_victim, photographs) -> None:
    """The class that auto takes is the one on which whole trainings end lowest."""
    said: list[str] = []
    shown: list[tuple[int, int, str]] = []
    choice = resolve_target("auto", tiny_victim, photographs, CONFIG, said.append, lambda *args: shown.append(args))
    assert [done for done, *_ in shown] == sorted(done for done, *_ in shown)
    assert shown[-1][0] == shown[-1][1] and {total for _, total, _ in shown} == {shown[0][1]}
    assert shown[0][2] == "choosing a target: round 1, 4 classes"
    ends = {}
    for target in range(4):
        losses = [r.loss for r in Trainer(tiny_victim, photographs, CONFIG.changed(technique="pgd"), target)]
        ends[target] = np.mean(losses[-8:])
    assert ends[choice.index] < min(ends.values()) + 0.1 < np.mean(list(ends.values()))
    assert f"target auto: '{CATEGORIES[choice.index]}' ({choice.index})" in said[-1]
    assert {tried["class"] for tried in choice.tried} == set(CATEGORIES)
    assert {tried["origin"] for tried in choice.tried} == {"favoured by random patches"}
    assert "among 4 classes" in choice.how and "favoured by random patches" in choice.how
    assert said[0] == "target auto: 4 classes race, 0 of them from a hand-made list of mosaic-like classes"
    again = resolve_target("auto", tiny_victim, photographs, CONFIG)
    assert again == choice


def test_auto_keeps_the_class_of_the_patch_to_begin_with(tiny_victim, photographs, patch) -> None:
    said: list[str] = []
    foreign, none = (replace(patch, target=target) for target in ({"index": 9, "name": "zebra"}, None))
    choice = resolve_target("auto", tiny_victim, photographs, CONFIG, said.append, starts=[none, foreign, patch, patch])
    assert (choice.index, choice.how) == (2, "that of the patch to begin with")
    assert said == ["target auto: 'blue thing' (2), the class of the patch to begin with"]
    other = replace(patch, target={"index": 0, "name": CATEGORIES[0]})
    with pytest.raises(InputError, match=f"different classes, 'blue thing', '{CATEGORIES[0]}'; choose one by --target"):
        resolve_target("auto", tiny_victim, photographs, CONFIG, starts=[patch, other])
    assert resolve_target("1", tiny_victim, photographs, CONFIG, starts=[patch]).index == 1


def test_the_race_ranks_by_nearness_first_and_by_success_later() -> None:
    """By its loss, a class that is near on every photograph beats one that succeeds on half of them; by success, not."""
    near_on_all, first_on_half = [2.0, 2.0, 2.0, 2.0], [0.1, 0.1, 9.0, 9.0]
    losses = torch.tensor([near_on_all, first_on_half, [9.0, 9.0, 9.0, 9.0]])
    assert _ranked(losses, 0).tolist() == [0, 1, 2]
    assert _ranked(losses, 1).tolist() == _ranked(losses, 0.5).tolist() == [1, 0, 2]


def test_listed_classes_do_not_leave_the_race_in_its_opening() -> None:
    """Nor do they take more places than there are: what remains is as many as without them."""
    order, listed = torch.tensor([3, 0, 4, 2, 1]), [False, True, False, True, False]
    assert _kept(order, _Round(1, 1, 3, power=0, opening=True), listed).tolist() == [3, 0, 1]
    assert _kept(order, _Round(1, 1, 3, power=0), listed).tolist() == [3, 0, 4]
    assert _kept(order, _Round(1, 1, 5, power=0, opening=True), listed).tolist() == order.tolist()


def test_the_steps_of_the_race_shorten_after_its_opening() -> None:
    first, second, *later = _step_lengths()
    assert set(first) == set(second) == {0.06}
    falling = [length for lengths in later for length in lengths]
    assert falling == sorted(falling, reverse=True) and falling[-1] == pytest.approx(0.005)


def test_the_list_made_by_hand_is_named_for_what_it_is(tiny_victim) -> None:
    """Most classes that auto ends with stand on it, and would not have raced without."""
    categories = (*(f"thing {i}" for i in range(50)), "digital clock", "abacus")
    favour = torch.linspace(0, -1, 52)
    favour[51] = 1.0
    origins = _first_list(replace(tiny_victim, categories=categories), favour)
    assert len(origins) == 41 and origins[0] == "favoured by random patches"
    assert origins[50] == "on the list of mosaic-like classes" and 45 not in origins
    assert origins[51] == "favoured by random patches and on the list of mosaic-like classes"


def test_targets_by_name_and_number(tiny_victim, photographs) -> None:
    for text, index in (("none", None), ("Blue-Thing", 2), ("1", 1)):
        assert resolve_target(text, tiny_victim, photographs, CONFIG).index == index


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
        Trainer(tiny_victim, photographs, CONFIG.changed(technique="adm"))
    with pytest.raises(InputError, match="ensemble needs several victims; give --model more than once"):
        Trainer(tiny_victim, photographs, CONFIG.changed(technique="ensemble"))
    with pytest.raises(InputError, match="unknown objective 'margn'; did you mean 'margin'"):
        Trainer(tiny_victim, photographs, CONFIG.changed(objective="margn"))
    stranger = replace(tiny_victim, name="stranger", categories=("w", "x", "y", "z"))
    with pytest.raises(InputError, match="stranger has no class 'blue thing'"):
        Trainer(tiny_victim, photographs, CONFIG, 2, others=[stranger])
    with pytest.raises(InputError, match="smaller than tiny's input of 32 px"):
        Trainer(tiny_victim, colour_photographs(4, 24), CONFIG)
    broken = copy.deepcopy(tiny_victim.module)
    broken.head.bias.fill_(float("nan"))
    with pytest.raises(PhyspatchError, match="the loss is nan at step 1; lower --learning-rate"):
        list(Trainer(replace(tiny_victim, module=broken), photographs, CONFIG, 2))


def test_unlabelled_photographs_take_the_victims_own_answer(tiny_victim, photographs) -> None:
    unlabelled = replace(photographs, labels=torch.full_like(photographs.labels, -1))
    trainer = Trainer(tiny_victim, unlabelled, CONFIG.changed(steps=25), None)
    losses = [record.loss for record in trainer]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_the_best_of_several_starts_goes_on(tiny_victim, photographs) -> None:
    config = CONFIG.changed(restarts=3, steps=20)
    trainer = Trainer(tiny_victim, photographs, config, 2)
    assert trainer.total_steps == 20 + 2 * 3
    losses, ends, trials = [], [], []
    for record in trainer:
        losses.append(trainer._comparison_loss())
        trials.append(record.trial)
        if record.step in (3, 6, 9):
            ends.append(trainer._leader.loss)
    assert ends[0] >= ends[1] >= ends[2] and ends[0] > ends[2]
    assert trials == [0] * 3 + [1] * 3 + [2] * 3 + [None] * 17
    assert losses[8] == pytest.approx(ends[2])  # what goes on after the last trial is the leader
    assert losses[-1] < losses[8]


def test_of_several_whole_trainings_the_best_is_kept(tiny_victim, photographs) -> None:
    config = CONFIG.changed(restarts=3, steps=10, trial=1.0)
    trainer = Trainer(tiny_victim, photographs, config, 2)
    assert trainer.total_steps == 30
    losses, ends = [], []
    for record in trainer:
        losses.append(trainer._comparison_loss())
        if record.step in (10, 20, 30):
            ends.append(trainer._leader.loss)
    assert ends[0] >= ends[1] >= ends[2] and ends[0] > ends[2]
    assert losses[-1] == pytest.approx(ends[-1])  # the leader is what is left
    assert ends[-1] < min(losses[2], losses[12], losses[22])  # after a trial of a share each
    assert len(trainer.start_losses) == 3 and min(trainer.start_losses) == ends[-1]
    resumed = Trainer(tiny_victim, photographs, config, 2)
    resumed.restore(trainer.state())
    assert resumed.start_losses == trainer.start_losses


def test_a_longer_trial_is_judged_on_more_views(tiny_victim, photographs, monkeypatch) -> None:
    drawn: list[int] = []
    draw = BatchSource.draw

    def counted(self, *arguments):
        drawn.append(self.batch)
        return draw(self, *arguments)

    monkeypatch.setattr(BatchSource, "draw", counted)
    for steps, trial, views in ((20, 0.15, 3), (32, 1.0, 32), (2000, 1.0, 512)):
        drawn.clear()
        config = CONFIG.changed(restarts=2, steps=steps, batch=16, trial=trial)
        Trainer(tiny_victim, photographs, config, 2)._comparison_loss()
        assert sum(drawn) == views


def test_starts_are_compared_by_their_own_steps_without_gradients(tiny_victim, photographs) -> None:
    config = CONFIG.changed(technique="black-box", restarts=3, steps=40)
    trainer = Trainer(tiny_victim, photographs, config, 2)
    losses = [record.loss for record in islice(trainer, 20)]  # until one of the starts has gone on
    trials = [
        float(np.mean(losses[first + 3 : first + 6])) for first in (0, 6, 12)
    ]  # the second half of six steps each
    assert trainer._leader.loss == pytest.approx(min(trials)) and trainer._leader.number == int(np.argmin(trials))
    older = {name: value for name, value in trainer.state().items() if name != "trial_losses"} | {
        "step": torch.tensor(7)
    }
    with pytest.raises(InputError, match="compared its starts in another way"):
        Trainer(tiny_victim, photographs, config, 2).restore(older)


def test_a_comparison_of_starts_that_is_cut_short_is_made_again(tiny_victim, photographs, monkeypatch) -> None:
    config = CONFIG.changed(restarts=2, steps=20)
    whole = Trainer(tiny_victim, photographs, config, 2)
    list(whole)
    cut = Trainer(tiny_victim, photographs, config, 2)
    for trial in (1, 2):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(cut, "_comparison_loss", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
            list(cut)
        assert cut.step == 3 * trial - 1
        resumed = Trainer(tiny_victim, photographs, config, 2)
        resumed.restore(copy.deepcopy(cut.state()))
        cut = resumed
        if trial == 1:
            next(iter(cut))
    list(cut)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, cut.state()[name]), name


def test_trials_keep_their_length_where_a_run_goes_on_with_more_steps(tiny_victim, photographs) -> None:
    short, long = (CONFIG.changed(restarts=2, steps=steps) for steps in (20, 200))
    trainer = Trainer(tiny_victim, photographs, short, 2)
    list(trainer)
    patch = trainer.patch.cells
    longer = Trainer(tiny_victim, photographs, long, 2)
    longer.restore(copy.deepcopy(trainer.state()))
    assert (longer.step, longer.total_steps) == (23, 203)
    np.testing.assert_array_equal(longer.patch.cells, patch)
    next(iter(longer))
    assert np.abs(longer.patch.cells.astype(int) - patch).max() <= 60  # a step from there, and no new start


@pytest.mark.parametrize("technique", ["pgd", "black-box"])
def test_the_worst_views_alone_count_where_that_is_asked(technique, tiny_victim, photographs) -> None:
    """The first step sees the same views of the same cells: of these, the worse ones have the higher loss."""
    trained = {}
    for worst in (1.0, 0.25):
        trainer = Trainer(tiny_victim, photographs, CONFIG.changed(technique=technique, worst=worst, steps=12), 2)
        trained[worst] = next(iter(trainer)).loss, list(trainer)[-1].step, trainer.patch.cells
    assert trained[1.0][1] == trained[0.25][1] == 12
    if technique == "pgd":  # which ends with blue cells either way
        assert trained[0.25][0] > trained[1.0][0] + 0.01
    else:
        assert not np.array_equal(trained[1.0][2], trained[0.25][2])


def test_half_precision_trains_nearly_the_same(tiny_victim, photographs) -> None:
    losses = {}
    for precision in ("auto", "float32", "bfloat16"):
        config = CONFIG.changed(precision=precision, steps=3)
        losses[precision] = [record.loss for record in Trainer(tiny_victim, photographs, config, 2)]
    assert losses["auto"] == losses["float32"] != losses["bfloat16"]  # on the CPU, where bfloat16 is slower
    assert losses["bfloat16"][0] == pytest.approx(losses["float32"][0], rel=0.05)


def test_several_victims_are_all_fooled(tiny_victim, photographs) -> None:
    """A victim that sees blue as red and red as blue pulls the patch from blue to what both call blue."""
    swapped = copy.deepcopy(tiny_victim.module)
    swapped.head.weight[:3, :3] = 6 * torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    second = replace(tiny_victim, name="second", module=swapped, cam_layer=swapped.norm)
    for technique in ("adam", "ensemble"):
        trainer = Trainer(tiny_victim, photographs, CONFIG.changed(technique=technique), 2, others=[second])
        records = list(trainer)
        assert set(records[0].terms) == {"ce.tiny", "ce.second"}
        assert sum(records[0].terms.values()) == pytest.approx(records[0].loss)
        red, green, blue = trainer.patch.cells.reshape(-1, 3).mean(axis=0)
        assert min(green, blue) > 2 * red


def test_penalties_are_logged_apart_and_keep_the_patch_printable(tiny_victim, photographs) -> None:
    ends = {}
    for nps, tv in ((0.0, 0.0), (20.0, 0.0), (0.0, 20.0)):
        trainer = Trainer(tiny_victim, photographs, CONFIG.changed(technique="adam", nps=nps, tv=tv), 2)
        records = list(trainer)
        assert set(records[0].terms) == {"ce"} | ({"nps"} if nps else set()) | ({"tv"} if tv else set())
        assert records[-1].loss == pytest.approx(sum(records[-1].terms.values()), rel=1e-5)
        cells = cells_from_patch(trainer.patch)
        ends[nps, tv] = (float(non_printability(cells, offset_palette())), float(total_variation(cells)))
    assert ends[20.0, 0.0][0] < 0.5 * ends[0.0, 0.0][0]
    assert ends[0.0, 20.0][1] < 0.5 * ends[0.0, 0.0][1]


def test_only_photographs_that_are_recognised_behind_a_grey_patch_are_trained_on(tiny_victim) -> None:
    config = CONFIG.changed(area=0.2, eot=EotConfig.none(), recognised=0.5)
    made = colour_photographs(60, 36)
    wrong = torch.arange(60) < 20
    mislabelled = replace(made, labels=torch.where(wrong, (made.labels + 1) % 3, made.labels))
    shares = recognised_share(tiny_victim, mislabelled, config)
    assert shares[wrong].max() == 0 and shares[~wrong].min() == 1
    assert counted_photographs(tiny_victim, mislabelled, config).names == made.names[20:]
    unlabelled = replace(made, labels=torch.full_like(made.labels, UNLABELLED))
    assert len(counted_photographs(tiny_victim, unlabelled, config)) == 60  # by the answer without a patch
    assert counted_photographs(tiny_victim, mislabelled, config.changed(recognised=0.0)) is mislabelled
    few = made.subset(torch.arange(60) < 50)
    assert counted_photographs(tiny_victim, mislabelled.subset(torch.arange(60) < 50), config).names == few.names


def test_the_share_that_must_be_recognised_is_a_share() -> None:
    with pytest.raises(InputError, match="recognised 2 out of range"):
        CONFIG.changed(recognised=2)


def test_queries_are_a_budget_that_is_counted_and_resumed(tiny_victim, photographs) -> None:
    config = CONFIG.changed(technique="evolution", queries=550)
    whole = Trainer(tiny_victim, photographs, config, 2)
    records = list(whole)
    assert [r.queries for r in records] == [256, 384, 448, 480, 512, 544]
    first = Trainer(tiny_victim, photographs, config, 2)
    next(iter(first))
    second = Trainer(tiny_victim, photographs, config, 2)
    second.restore(copy.deepcopy(first.state()))
    assert [r.queries for r in second] == [r.queries for r in records[1:]]
    np.testing.assert_array_equal(second.patch.cells, whole.patch.cells)
    assert next(iter(Trainer(tiny_victim, photographs, CONFIG, 2))).queries is None


def test_the_answer_alone_trains_a_patch(tiny_victim, photographs) -> None:
    config = CONFIG.changed(technique="evolution", objective="answer", queries=1000)
    records = list(Trainer(tiny_victim, photographs, config, 2))
    assert all(r.loss == pytest.approx(1 - r.success) for r in records)
    assert np.mean([r.success for r in records[-5:]]) > records[0].success + 0.2


def test_a_training_begins_with_a_given_patch(tiny_victim, photographs, patch, tmp_path) -> None:
    patch.save(tmp_path)
    for start in (tmp_path, tmp_path / "patch.json"):
        config = CONFIG.changed(grid=patch.grid, start=str(start))
        np.testing.assert_array_equal(Trainer(tiny_victim, photographs, config, 2).patch.cells, patch.cells)
    finer = Trainer(tiny_victim, photographs, CONFIG.changed(grid=(20, 20), start=str(tmp_path)), 2).patch.cells
    np.testing.assert_array_equal(finer[::2, ::2], patch.cells)
    np.testing.assert_array_equal(finer[1::2, 1::2], patch.cells)
    coarser = Trainer(tiny_victim, photographs, CONFIG.changed(grid=(5, 5), start=str(tmp_path)), 2).patch.cells
    np.testing.assert_array_equal(coarser, to_cells(patch.cells, (5, 5)))  # the mean light, as of an import
    with pytest.raises(InputError, match="no run gone"):
        Trainer(tiny_victim, photographs, CONFIG.changed(start="gone"), 2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"queries": 500}, "pgd uses gradients"),
        ({"objective": "answer"}, "answer has no gradient"),
        ({"technique": "evolution", "queries": 100}, "fewer than the [0-9]+ that one step of evolution takes"),
        ({"technique": "black-box", "queries": 95, "batch": 8}, "95 queries are fewer than the 96 that one step"),
    ],
)
def test_queries_and_answers_are_for_techniques_without_gradients(settings, words, tiny_victim, photographs) -> None:
    with pytest.raises(InputError, match=words):
        Trainer(tiny_victim, photographs, CONFIG.changed(**settings), 2)
    with pytest.raises(InputError, match="one start"):
        Trainer(tiny_victim, photographs, CONFIG.changed(technique="evolution", queries=500, restarts=2), 2)


def test_starts_of_all_kinds_are_tried_beside_one_another(tiny_victim, photographs, tmp_path) -> None:
    patch = Trainer(tiny_victim, photographs, CONFIG, 2).patch
    patch.save(tmp_path)
    config = CONFIG.changed(start=("dark", str(tmp_path), "random"), restarts=4)
    assert config.optimisation.start_patches == (str(tmp_path),)
    dark, given, random, further = Trainer(tiny_victim, photographs, config, 2)._starts
    assert dark.max() < 0.3 and random.max() > 0.9 and further.max() > 0.9
    assert torch.equal(given, cells_from_patch(patch))
    (alone,) = Trainer(tiny_victim, photographs, CONFIG.changed(start="dark"), 2)._starts
    assert torch.equal(alone, dark)


def test_an_unknown_start_is_told_what_else_there_is() -> None:
    with pytest.raises(InputError, match=r"unknown start 'drak'; did you mean 'dark'.*patch\.json"):
        anchored_start("drak")
    assert anchored_start("random") == "random"


def test_no_start_draws_what_a_start_of_a_neighbouring_seed_draws(tiny_victim, photographs) -> None:
    seeds = []
    for seed in (0, 1, 2):
        trainer = Trainer(tiny_victim, photographs, CONFIG.changed(seed=seed, restarts=3), 2)
        for number in range(3):
            trainer._begin(number)
            seeds.append(trainer._technique.seed)
    assert seeds[::3] == [0, 1, 2] and len(set(seeds)) == len(seeds)


def test_the_race_of_several_networks_takes_turns(tiny_victim, photographs) -> None:
    """A class that the second network never answers loses the race, though the first is led to it best."""
    alone = resolve_target("auto", tiny_victim, photographs, CONFIG).index
    module = copy.deepcopy(tiny_victim.module)
    module.head.bias.data[alone] = -30.0
    other = replace(tiny_victim, name="other", module=module)
    assert resolve_target("auto", tiny_victim, photographs, CONFIG, others=[other]).index != alone


def test_success_on_a_screen_is_shown_beside_that_on_paper_and_changes_nothing(tiny_victim, photographs) -> None:
    config = CONFIG.changed(steps=22, eot=EotConfig.preset("desk"))
    trainer = Trainer(tiny_victim, photographs, config, 2)
    records = list(trainer)
    assert [record.step for record in records if record.on_screen is not None] == [1, 21]
    assert all(0 <= record.on_screen <= 1 for record in records if record.on_screen is not None)
    assert np.array_equal(records[-1].cells, trainer.history[-1])
    without = Trainer(tiny_victim, photographs, config, 2)
    without._success_on_screen = lambda *_: None  # type: ignore[method-assign]
    list(without)
    assert np.array_equal(without.patch.cells, trainer.patch.cells)
    assert all(record.on_screen is None for record in Trainer(tiny_victim, photographs, CONFIG.changed(steps=2), 2))
