"""A race of classes: short parallel trainings with successive halving by losses, then by success."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.common.errors import InputError
from physpatch.attack.placement import Placement
from physpatch.data.batch_sampler import BatchSource, completed_labels
from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.rendering.eot import EotParams, sample
from physpatch.training.targets.base import TargetChoice, TargetRule
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim, normal_name

_FAVOUR_DRAWS = 6  # batches of random patches by which classes are preselected
_FIRST_LIST = 40  # number of classes preselected by random patches
FAVOURED, LISTED = "favoured by random patches", "on the list of mosaic-like classes"
# A hand-made list of the classes that trained mosaics approached best on EfficientNet-Lite0 (docs/results.md). They race on
# every network that has them, because random patches select them only by luck: "digital clock" is 34th to 88th by these.
# For other networks the list is a guess. Classes on neither list are not tried.
_MOSAIC_LIKE = (
    *("digital clock", "abacus", "container ship", "ambulance", "crossword puzzle", "pinwheel", "stupa", "sombrero"),
    *("jigsaw puzzle", "police van", "balloon", "Christmas stocking", "bow tie", "traffic light", "lighter", "quilt"),
)


class _Round(NamedTuple):
    steps: int
    images: int  # per step
    remaining: int  # classes that go on
    power: float  # classes are ranked by the mean of their probability to this power; 0: by the mean of its logarithm
    opening: bool = False  # steps have a constant length, and listed classes go on, whatever their rank


# In the opening, ranks are mostly noise: a class that is 17th of 28 at its end can lead a hundred steps later. While nothing
# succeeds, only the logarithm tells classes apart. Later it is ruled by photographs that are out of reach, and classes would
# go on that come near on all and succeed on few ('cellular telephone'), so higher powers count what succeeds. The last classes
# all succeed on many photographs; there the logarithm tells which are nearer on the others, and so have more to gain.
# Steps shorten after the opening: at a constant length, losses stay at the level of the noise, and the winner is a draw.
_ROUNDS = (
    *(_Round(12, 2, 34, power=0, opening=True), _Round(12, 2, 24, power=0, opening=True)),
    *(
        _Round(16, 3, 9, power=0.5),
        _Round(24, 4, 5, power=0.5),
        _Round(24, 6, 3, power=0.5),
        _Round(24, 12, 1, power=0),
    ),
)
_FIRST_STEP, _LAST_STEP, _MOMENTUM = 0.06, 0.005, 0.9
_SCORED = 0.5  # share of a round's steps that counts, the last ones


class Race(TargetRule):
    """Rule that chooses the winner of a :class:`TargetRace`.

    Not all classes race: only those that random patches favour and those on a hand-made list. The record says which, for
    each class. For a detector, the rule chooses no class, which means hiding. For a network without gradients, no training
    is short: it takes the class that random patches favour most. Where the training begins with a patch that aims at a class,
    it keeps that one.
    """

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "the class that wins a race of short trainings"

    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        if victim.task == "detect":
            return TargetChoice(None, "untargeted")
        if (target := self._of_starts(victim)) is not None:
            say(f"target auto: {victim.categories[target]!r} ({target}), the class of the patch to begin with")
            return TargetChoice(target, "that of the patch to begin with")
        race = TargetRace(victim, photographs, config, self.others)
        with ExitStack() as stack:
            for network in (victim, *self.others):
                stack.enter_context(untouched(network))
            favour = race.favour()
            blind = bool(config.optimisation.imitate)
            if blind or not all(network.differentiable for network in (victim, *self.others)):
                return _most_favoured(victim, favour, say)
            origins = _first_list(victim, favour)
            listed = sum(origin != FAVOURED for origin in origins.values())
            say(
                f"target auto: {len(origins)} classes race, {listed} of them from a hand-made list of mosaic-like classes"
            )
            index, tried = self._winner(race, origins, say)
        say(
            f"target auto: {victim.categories[index]!r} ({index}), the class among these that this grid approaches best "
            f"({origins[index]})"
        )
        how = f"won a race of short trainings among {len(origins)} classes, halved by how near each comes; {origins[index]}"
        return TargetChoice(index, how, tried)

    def _of_starts(self, victim: Victim) -> int | None:
        """Find the class of ``victim`` at which the patches to begin with aim; None where they aim at none that it has.

        Raises:
            InputError: they aim at different ones.
        """
        indices = (victim.target_index(start.target) for start in self.starts if start.target is not None)
        aims = list(dict.fromkeys(index for index in indices if index is not None))
        if len(aims) > 1:
            names = ", ".join(repr(victim.categories[index]) for index in aims)
            raise InputError(f"the patches to begin with aim at different classes, {names}; choose one by --target")
        return aims[0] if aims else None

    def _winner(
        self, race: "TargetRace", origins: dict[int, str], say: Callable[[str], None]
    ) -> tuple[int, tuple[dict[str, Any], ...]]:
        """Run all rounds, and return the index of the last class with what was measured of each, by rounds."""
        categories, classes, tried = race.victim.categories, torch.tensor(list(origins)), []
        racing = [len(classes), *(min(len(classes), rules.remaining) for rules in _ROUNDS)]
        total = sum(rules.steps * rules.images * n for rules, n in zip(_ROUNDS, racing, strict=False) if n > 1)
        before = 0  # images of earlier rounds
        for number, (rules, lengths) in enumerate(zip(_ROUNDS, _step_lengths(), strict=True), start=1):
            if len(classes) == 1:
                break
            words = f"choosing a target: round {number}, {len(classes)} classes"
            show = partial(self._show, before=before, total=total, words=words)
            losses = race.round(classes, rules.images, lengths, on_step=show)
            before += rules.steps * rules.images * len(classes)
            order = _ranked(losses, rules.power)
            for row in order[: 2 * rules.remaining].tolist():
                index = int(classes[row])
                tried.append(
                    {
                        "class": categories[index],
                        "index": index,
                        "round": number,
                        "loss": round(float(losses[row].mean()), 3),
                        "probability": round(float((-losses[row]).exp().mean()), 3),
                        "origin": origins[index],
                    }
                )
            rows = _kept(order, rules, [origins[index] != FAVOURED for index in classes.tolist()])
            race.keep(rows)
            classes = classes[rows]
            leaders = ", ".join(categories[int(c)] for c in classes[:3])
            say(
                f"target auto: {len(order)} classes raced, {len(classes)} remain "
                f"({leaders}{' …' if len(classes) > 3 else ''})"
            )
        return int(classes[0]), tuple(tried)

    def _show(self, done: int, *, before: int, total: int, words: str) -> None:
        self.progress(before + done, total, words)


def _ranked(losses: Tensor, power: float) -> Tensor:
    """Rank the rows of losses (N, S), the best first, by the mean of probabilities to a power, or of logarithms for 0."""
    scores = (-power * losses).exp() if power else -losses
    return scores.mean(dim=1).argsort(descending=True)


def _kept(order: Tensor, rules: _Round, listed: Sequence[bool]) -> Tensor:
    """Choose the rows that go on from all in ``order``, and return them, the best first; ``listed`` is by row."""
    if not rules.opening:
        return order[: rules.remaining]
    places = max(0, rules.remaining - sum(listed))
    unlisted_rows = [row for row in order.tolist() if not listed[row]][:places]
    return torch.tensor([row for row in order.tolist() if listed[row] or row in unlisted_rows])


def _step_lengths() -> list[list[float]]:
    """Return the lengths of the steps of each round: constant in the opening, then falling linearly."""
    constant = sum(rules.steps for rules in _ROUNDS if rules.opening)
    falling = sum(rules.steps for rules in _ROUNDS) - constant
    lengths = iter([_FIRST_STEP] * constant + torch.linspace(_FIRST_STEP, _LAST_STEP, falling).tolist())
    return [list(islice(lengths, rules.steps)) for rules in _ROUNDS]


def _most_favoured(victim: Victim, favour: Tensor, say: Callable[[str], None]) -> TargetChoice:
    index = int(favour.argmax())
    say(
        f"target auto: {victim.categories[index]!r} ({index}), which random patches favour most; no gradients to race with"
    )
    return TargetChoice(index, f"{FAVOURED} most, among all classes; the network gives no gradients")


def _first_list(victim: Victim, favour: Tensor) -> dict[int, str]:
    """Preselect the classes that race, by index, each with the reason: favoured by random patches, or on the list."""
    favoured = favour.topk(min(_FIRST_LIST, int(favour.isfinite().sum()))).indices.tolist()
    positions = {normal_name(name): index for index, name in enumerate(victim.categories)}
    listed = [positions[normal_name(name)] for name in _MOSAIC_LIKE if normal_name(name) in positions]
    origins = dict.fromkeys(favoured, FAVOURED) | dict.fromkeys(listed, LISTED)
    return origins | {index: f"{FAVOURED} and {LISTED}" for index in listed if index in favoured}


class TargetRace:
    """Short parallel trainings, with one patch per class, on the same photographs and transformations.

    The classes that random patches favour say little about those that trained patches reach: among 140 classes on
    EfficientNet-Lite0, the best two were 44th and 96th. So random patches only preselect classes, and training decides, with
    successive halving (Jamieson and Talwalkar 2016): many classes for a few steps, then fewer for more. All patches are
    trained on the same photographs in the same poses, so that differences do not come from the draw.

    Several victims take turns, step by step, so that the winner is a class that all of them are led to, at no more cost.
    """

    def __init__(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, others: Sequence[Victim] = ()
    ) -> None:
        """Prepare a race, with its own generator seeded by ``config.optimisation.seed``."""
        self.victim, self.photographs, self.config = victim, photographs, config
        self._victims = (victim, *others)
        self._generator = torch.Generator().manual_seed(config.optimisation.seed)
        self._labels = completed_labels(victim, photographs)
        self._placement = Placement.of(config)
        self._start = torch.rand(3, *config.patch.grid, generator=self._generator)
        self._cells: Tensor | None = None
        self._momentum: Tensor | None = None

    @torch.no_grad()
    def favour(self) -> Tensor:
        """Compute the mean log-probability of each class (K,) on photographs with random patches; -inf without data.

        Photographs of a class do not count for it, as they say nothing about reaching it.
        """
        source = BatchSource(self.victim, self.photographs, self.config.optimisation.batch)
        total, count = torch.zeros(2, len(self.victim.categories))
        for turn in range(_FAVOUR_DRAWS):
            images, chosen, _ = source.draw(self._generator)
            cells = torch.rand(len(images), 3, *self.config.patch.grid, generator=self._generator).to(images)
            params = sample(self.config.eot, len(images), self._generator)
            scores = self._scores(turn, self._placement.compose(images, cells, params))
            is_label = F.one_hot(self._labels[chosen], len(total)).bool()
            total += scores.log_softmax(dim=1).cpu().masked_fill(is_label, 0).sum(dim=0)
            count += (~is_label).sum(dim=0)
        return (total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf)

    def round(
        self,
        classes: Tensor,
        images: int,
        lengths: Sequence[float],
        *,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Train the patch of each class (N,), and return its losses on the images of the last steps (N, S).

        Args:
            classes: (N,) class indices.
            images: number of images per step.
            lengths: length of each step, a share of the range of a cell's value.
            on_step: called after each part of a step with the number of images seen so far.
        """
        if self._cells is None or self._momentum is None:
            self._cells = self._start.repeat(len(classes), 1, 1, 1).to(self.victim.device)
            self._momentum = torch.zeros_like(self._cells)
        at_once = max(1, self.config.optimisation.batch // images)
        source = BatchSource(self.victim, self.photographs, images)
        losses = torch.zeros(len(lengths), len(classes), images)
        for step, length in enumerate(lengths):
            pictures, _, _ = source.draw(self._generator)
            params = sample(self.config.eot, images, self._generator)
            for rows in torch.arange(len(classes)).split(at_once):
                losses[step, rows] = self._step(step, rows, classes[rows], pictures, params, length)
                on_step(images * (step * len(classes) + int(rows[-1]) + 1))
        return losses[-round(_SCORED * len(lengths)) :].transpose(0, 1).flatten(start_dim=1)

    def keep(self, rows: Tensor) -> None:
        """Keep only some of the patches, by their rows."""
        if self._cells is not None and self._momentum is not None:
            self._cells, self._momentum = self._cells[rows], self._momentum[rows]

    def _scores(self, turn: int, composite: Tensor) -> Tensor:
        """Score composites by the victim whose turn it is."""
        victim = self._victims[turn % len(self._victims)]
        return victim.scores(victim.fitted(composite)).float()

    def _step(
        self, turn: int, rows: Tensor, classes: Tensor, pictures: Tensor, params: EotParams, length: float
    ) -> Tensor:
        """Take a sign step with momentum for the patches of ``rows``; return the losses of each on the images before it."""
        assert self._cells is not None and self._momentum is not None
        images = len(pictures)
        cells = self._cells[rows].requires_grad_()
        composite = self._placement.compose(
            pictures.repeat(len(rows), 1, 1, 1), cells.repeat_interleave(images, dim=0), params.repeated(len(rows))
        )
        scores = self._scores(turn, composite)
        targets = classes.repeat_interleave(images).to(scores.device)
        losses = F.cross_entropy(scores, targets, reduction="none").view(len(rows), images)
        (gradient,) = torch.autograd.grad(losses.mean(dim=1).sum(), cells)
        with torch.no_grad():
            scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
            momentum = _MOMENTUM * self._momentum[rows] + gradient / scale
            self._momentum[rows] = momentum
            self._cells[rows] = (cells - length * momentum.sign()).clamp(0, 1)
        return losses.detach().cpu()
