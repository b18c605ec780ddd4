"""The training loop, as an iterator of step records."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.common.errors import InputError, PhyspatchError
from physpatch.attack.loss import AttackLoss, Penalties
from physpatch.attack.objectives import choose_objective
from physpatch.attack.placement import AttackRegion, object_class
from physpatch.attack.worst_case import PrintWeights, WorstViews
from physpatch.data.batch_sampler import BatchSource, completed_labels
from physpatch.data.photographs import Photographs
from physpatch.defences import known_defences
from physpatch.records.config import MOST_SEED, TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import printable_cells
from physpatch.rendering.eot import EotParams, sample
from physpatch.techniques import TECHNIQUES, GradientFree, Technique
from physpatch.training.distributed import Processes
from physpatch.training.starts import cells_of, starting_cells
from physpatch.training.trials import trial_length
from physpatch.training.victim_access import (
    gradient_free,
    imitated,
    looks,
    require_kept_start,
    require_training,
    transfer_methods,
    within_queries,
)
from physpatch.transforms.kernels.print_colour import printed_palette
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_MOST_SNAPSHOTS = 150  # frames of the evolution video
_ON_SCREEN_EVERY = 20  # steps: showing a batch once more costs about a third of a step
_COMPARISON_BATCH = 64  # photographs, at most
_COMPARISON_VIEWS = 512  # at most
_COMPARISON_SHARE = 1 / 16  # of the views that a start was trained on, so that a short trial costs little to judge
_COMPARISON_SEED_OFFSET = 2
_WEIGHTS = "print_weights"  # in the state of a start, before a judge's number
_STEPS_UNREACHED = 10  # steps in which a detector may have found nothing yet


@dataclass(frozen=True)
class StepRecord:
    """One training step.

    Attributes:
        success: the share of the batch, of training photographs, that fooled every victim.
        printed: whether the patch was shown as a print, not in the colours of a screen.
        queries: the images that each victim was shown so far, where it gives predictions alone.
        on_screen: the same share with the patch in the colours of a screen, measured every few steps; None at others.
        trial: the number of the start that this step tries, from 0; None once the training goes on with the best, or has one.
        cells: the latest snapshot, (rows, columns, 3) uint8.
    """

    step: int
    loss: float
    terms: dict[str, float]
    success: float
    seconds: float
    printed: bool = False
    queries: int | None = None
    on_screen: float | None = None
    trial: int | None = None
    cells: NDArray[np.uint8] | None = None


class _Leader(NamedTuple):
    """The best of the starts that were tried: its trial's loss, its number and its technique's state."""

    loss: float
    number: int
    state: dict[str, Tensor]


class Trainer:
    """Training of a patch: iterate over it to train. Each step yields a :class:`StepRecord`; :attr:`patch` is the patch so far.

    With ``config.optimisation.starts`` above 1, that many starts are each tried for a share of the steps, and the one that
    is best continues: on separate photographs, or by its own steps where victims are asked for predictions alone.

    Equal arguments give the same patch, bit for bit on the CPU, also if training is interrupted and resumed with
    :meth:`state` and :meth:`restore`.
    """

    def __init__(
        self,
        victim: Victim,
        photographs: Photographs,
        config: TrainConfig,
        target: int | None = None,
        *,
        others: Sequence[Victim] = (),
        processes: Processes | None = None,
        start: Patch | None = None,
        imitators: Sequence[Victim] = (),
    ) -> None:
        """Prepare to train on photographs that are at least as large as the victim's input.

        Args:
            victim: the network whose input size the composites have.
            photographs: the training photographs.
            config: the settings of the run.
            target: class index on ``victim``, or None for untargeted.
            others: further victims, to fool at the same time.
            processes: the processes that share the batch; None for this one alone.
            start: the patch to begin with; None for what ``config.optimisation.start`` names, or else random cells.
            imitators: networks that learn to answer like the victims, and whose gradients are taken in turns; empty for the
                victims' own.

        Raises:
            InputError: unknown technique or objective, photographs smaller than the network's input, a victim without the
                target class, a batch that cannot be divided evenly among the processes, imitators that cannot learn, or a start
                for a technique that would not begin there.
        """
        require_training([victim, *others], imitators, config, processes)
        technique = TECHNIQUES.find(config.optimisation.technique)
        self._victims, self._imitations = imitated([victim, *others], imitators)
        self._transfers = transfer_methods(config, self._victims)
        config = within_queries(config, imitated=bool(self._imitations))
        self.victim, self.config, self.target = victim, config, target
        self._known_defences = known_defences(config.victim.defences, self._victims)
        self._processes = processes or Processes.alone()
        self._region = AttackRegion.of(config, victim.task, target)
        self._rows = self._processes.rows(config.optimisation.batch)
        self._objectives = [
            choose_objective(
                v.task,
                target_on(v, victim, target),
                config.objective.loss,
                goal=config.objective.goal,
                on_object=config.object.name is not None,
            )
            for v in self._victims
        ]
        counts_queries = bool(self._imitations) or issubclass(technique, GradientFree)
        self._compares_in_views = config.optimisation.starts > 1 and not counts_queries
        self._source = BatchSource(victim, photographs, config.optimisation.batch)
        self._object = None if config.object.name is None else object_class(victim, config.object.name)
        if self._object is not None:
            self._labels = torch.full_like(photographs.labels, self._object)
        else:
            self._labels = photographs.labels if target is not None else self._own_labels()
        self.step = 0
        self._queries = 0
        self._reached = False
        self._generator = torch.Generator().manual_seed(config.optimisation.seed)
        self._starts = starting_cells(config, self._generator)
        if start is not None:
            require_kept_start(config.optimisation.technique)
            self._starts[0] = cells_of(start, config.patch.grid)
        self._leader: _Leader | None = None
        self._trial_steps = trial_length(config.optimisation.steps, config.optimisation.trial)
        self._trial_losses: list[float] = []
        self._start_losses: list[float] = []
        self._begin(0)
        self._every = math.ceil(self.total_steps / _MOST_SNAPSHOTS)
        self._history = [printable_cells(self._starts[0])]

    def __iter__(self) -> Iterator[StepRecord]:
        with self._all_untouched():
            while self.step < self.total_steps:
                drawn, moved, sent = self._generator.get_state(), self._start_state(), self._queries
                learnt = [imitation.state() for imitation in self._imitations]
                try:
                    record = self._advance()
                    trial_loss = self._trial_loss(record) if self._ends_trial(record.step) else None
                except BaseException:  # a step that is cut short, such as by Ctrl-C, is repeated when the run resumes
                    self._generator.set_state(drawn)
                    self._restore_start(moved)
                    self._queries = sent
                    for imitation, state in zip(self._imitations, learnt, strict=True):
                        imitation.restore(state)
                    self._technique.zero_grad(set_to_none=True)  # otherwise the next step would add to its gradient
                    raise
                self.step = record.step
                if self._in_trial(self.step):
                    self._trial_losses.append(record.loss)
                if trial_loss is not None:
                    self._end_trial(trial_loss)
                if self.step % self._every == 0:
                    self._history.append(self._printable())
                yield replace(record, cells=self._history[-1])

    @property
    def total_steps(self) -> int:
        """Return the number of all steps: those requested, and the trials of the starts that do not continue."""
        return self.config.optimisation.steps + self._trial_steps * (self.config.optimisation.starts - 1)

    @property
    def patch(self) -> Patch:
        """Return the patch in its current state, rounded for printing."""
        return Patch(self._printable(), describe_target(self.victim, self.target), {"step": self.step})

    @property
    def start_losses(self) -> tuple[float, ...]:
        """Return the losses by which the starts were compared that were tried so far; the lowest one's is what continues."""
        return tuple(self._start_losses)

    @property
    def trial_ends(self) -> list[int]:
        """Return the last steps of the starts that were tried so far."""
        return [self._trial_steps * number for number in range(1, len(self._start_losses) + 1)]

    @property
    def counts_queries(self) -> bool:
        """Tell whether the victims are asked for predictions alone, whose number counts."""
        return bool(self._imitations) or isinstance(self._technique, GradientFree)

    @property
    def queries(self) -> int | None:
        """Return how many images each victim was shown so far; None where its gradients are used."""
        return self._queries if self.counts_queries else None

    @property
    def term_names(self) -> tuple[str, ...]:
        """List the names of the loss terms, the keys of :attr:`StepRecord.terms`."""
        return self._attack_loss.term_names

    @property
    def history(self) -> list[Any]:
        """Return snapshots of the cells over the steps, (rows, columns, 3) uint8 each."""
        return list(self._history)

    def state(self) -> dict[str, Tensor]:
        """Return everything needed to resume, as tensors."""
        tensors = {f"technique.{k}": v for k, v in self._start_state().items()}
        if self._leader:
            tensors |= {f"leader.{k}": v for k, v in self._leader.state.items()}
            tensors["leader_loss"] = torch.tensor(self._leader.loss, dtype=torch.float64)
            tensors["leader_number"] = torch.tensor(self._leader.number)
        for number, imitation in enumerate(self._imitations):
            tensors |= {f"imitation{number}.{k}": v for k, v in imitation.state().items()}
        return tensors | {
            "step": torch.tensor(self.step),
            "trial_steps": torch.tensor(self._trial_steps),
            "trial_losses": torch.tensor(self._trial_losses, dtype=torch.float64),
            "start_losses": torch.tensor(self._start_losses, dtype=torch.float64),
            "queries": torch.tensor(self._queries),
            "reached": torch.tensor(self._reached),
            "generator": self._generator.get_state(),
            "history": torch.stack([torch.from_numpy(cells) for cells in self._history]),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from the result of :meth:`state`."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

        self.step = int(state["step"])
        self._queries = int(state["queries"]) if "queries" in state else 0
        self._reached = bool(state["reached"]) if "reached" in state else False
        if "trial_steps" in state:  # with more steps than the run began with, trials that are over keep their length
            self._trial_steps = int(state["trial_steps"])
        if "trial_losses" not in state and not self._compares_in_views and self._in_trial(self.step + 1):
            raise InputError("this training compared its starts in another way, which it cannot go on with; train anew")
        self._trial_losses = state["trial_losses"].tolist() if "trial_losses" in state else []
        self._start_losses = state["start_losses"].tolist() if "start_losses" in state else []
        self._generator.set_state(state["generator"])
        self._history = [cells.numpy() for cells in state["history"]]
        self._leader = None
        if "leader_loss" in state:
            number = int(state["leader_number"]) if "leader_number" in state else 0
            self._leader = _Leader(float(state["leader_loss"]), number, part("leader."))
        trial, best = self.step // self._trial_steps, self._leader.number if self._leader else 0
        self._begin(trial if trial < self.config.optimisation.starts else best)
        self._restore_start(part("technique."))
        for number, imitation in enumerate(self._imitations):
            imitation.restore(part(f"imitation{number}."))

    @torch.no_grad()
    def _printable(self) -> NDArray[np.uint8]:
        """Round the technique's cells; without gradients, these are the patch and not where its gradient is taken."""
        return printable_cells(self._technique.cells())

    def _start_state(self) -> dict[str, Tensor]:
        """Return everything that the steps of a start change: the technique, and the weights of printing conditions."""
        weights = {f"{_WEIGHTS}{n}": weights.weights for n, weights in enumerate(self._print_weights)}
        return self._technique.state() | weights

    def _restore_start(self, state: dict[str, Tensor]) -> None:
        for number, weights in enumerate(self._print_weights):
            weights.weights = state[f"{_WEIGHTS}{number}"]
        self._technique.restore({name: value for name, value in state.items() if not name.startswith(_WEIGHTS)})

    def _begin(self, number: int) -> None:
        """Create the technique for one of the starts, and its loss."""
        config = self.config
        self._technique: Technique = TECHNIQUES[config.optimisation.technique](
            self._starts[number].to(self.victim.device),
            config.optimisation.learning_rate,
            steps=config.optimisation.steps,
            seed=_seed_of_start(config.optimisation.seed, number),
        )
        half = config.victim.precision == "bfloat16" or (
            config.victim.precision == "auto" and self.victim.device.type == "cuda"
        )
        judges = [
            (victim, objective, defence)
            for victim, objective, victim_defences in zip(
                self._victims, self._objectives, self._known_defences, strict=True
            )
            for defence in victim_defences
        ]
        victims, objectives, defences = zip(*judges, strict=True)
        aims, prints = config.objective, len(config.eot.prints)
        self._print_weights = [PrintWeights(prints, aims.group_dro) for _ in judges] if aims.group_dro else []
        worst = [WorstViews(aims.worst)] * len(judges) if aims.worst < 1 else []
        self._attack_loss = AttackLoss(
            self._technique,
            victims,
            objectives,
            self._region,
            Penalties(config.objective.nps, config.objective.tv),
            half,
            printed_palette(config.eot.prints) if config.eot.prints else None,
            self._print_weights or worst,
            defences,
            self._transfers,
            self._processes.gather,
        )
        self._shared = self._processes.wrap(self._attack_loss)

    def _in_trial(self, step: int) -> bool:
        """Tell whether this step tries one of several starts."""
        starts = self.config.optimisation.starts
        return starts > 1 and step <= self._trial_steps * starts

    def _ends_trial(self, step: int) -> bool:
        """Tell whether a trial of one of several starts is over after this step."""
        return self._in_trial(step) and step % self._trial_steps == 0

    def _end_trial(self, loss: float) -> None:
        """Note the start that was just tried if it is the best so far; after the last trial, continue with the best."""
        number = self.step // self._trial_steps
        self._trial_losses = []
        self._start_losses.append(loss)
        if self._leader is None or loss < self._leader.loss:
            self._leader = _Leader(loss, number - 1, self._start_state())
        if number < self.config.optimisation.starts:
            self._begin(number)
            return
        self._begin(self._leader.number)
        self._restore_start(self._leader.state)

    def _trial_loss(self, last: StepRecord) -> float:
        """Return the loss by which a start is judged after its trial.

        That is the loss in new views of the training photographs, the same for all starts, or, where victims are asked for
        predictions alone, the mean over the second half of the trial, which costs no further ones. What imitates them goes on
        learning from trial to trial.
        """
        if not self._compares_in_views:
            return fmean([*self._trial_losses, last.loss][-math.ceil(self._trial_steps / 2) :])
        loss = self._comparison_loss()
        _require_finite(loss, last.step)
        return loss

    @torch.no_grad()
    def _comparison_loss(self) -> float:
        photographs = self._source.photographs
        generator = torch.Generator().manual_seed(self.config.optimisation.seed + _COMPARISON_SEED_OFFSET)
        trained_on = self._trial_steps * self.config.optimisation.batch
        views = min(_COMPARISON_VIEWS, math.ceil(_COMPARISON_SHARE * trained_on))
        source = BatchSource(self.victim, photographs, min(len(photographs), _COMPARISON_BATCH, views))
        losses = []
        for _ in range(max(1, round(views / source.batch))):
            images, chosen, objects = source.draw(generator)
            params = sample(self.config.eot, len(images), generator)
            terms, _ = self._attack_loss(images, self._labels[chosen].to(images.device), params, objects=objects)
            losses.append(float(self._processes.mean(terms).sum()))
        return fmean(losses)

    def _own_labels(self) -> Tensor:
        with untouched(self.victim):
            return completed_labels(self.victim, self._source.photographs)

    def _advance(self) -> StepRecord:
        """Draw a batch and update the cells; the caller counts the step once it is complete."""
        started = time.perf_counter()
        images, chosen, objects = self._source.draw(self._generator, self._rows)
        labels = self._labels[chosen].to(images.device)
        params = sample(self._technique.ranges(self.config.eot), self.config.optimisation.batch, self._generator).part(
            self._rows
        )
        if isinstance(self._technique, GradientFree):
            terms, fooled = self._judge_candidates(self._technique, images, labels, params, objects)
        else:
            terms, fooled = self._shared(images, labels, params, objects=objects)
            self._require_gradient()
            self._processes.backward(terms.sum())
        numbers = self._processes.mean(torch.cat([terms.detach(), fooled.mean()[None]])).tolist()
        on_screen = self._success_on_screen(images, labels, params, objects)
        values, success = dict(zip(self.term_names, numbers, strict=False)), numbers[-1]
        loss = sum(values.values())
        _require_finite(loss, self.step + 1)
        if not isinstance(self._technique, GradientFree):
            self._technique.step()
        if self._imitations:
            self._queries += max(imitation.learn() for imitation in self._imitations)
        self._technique.observe(success)
        return StepRecord(
            self.step + 1,
            loss,
            values,
            success,
            time.perf_counter() - started,
            bool(self.config.eot.prints),
            self.queries,
            on_screen,
            self.step // self._trial_steps if self._in_trial(self.step + 1) else None,
        )

    def _require_gradient(self) -> None:
        """Give a detector, which has no gradient where it finds nothing, some steps until a gradient reaches the patch.

        Raises:
            InputError: none did.
        """
        if not self._reached:
            # All processes agree, because one that stopped alone would leave the others waiting for it.
            own = torch.tensor(float(self._attack_loss.reached), device=self.victim.device)
            self._reached = bool(self._processes.mean(own) > 0)
        allowed = _STEPS_UNREACHED if any(isinstance(victim, Detector) for victim in self._victims) else 1
        steps = self.step + 1
        if self._reached or steps < min(allowed, self.total_steps):
            return
        names = ", ".join(victim.name for victim in self._victims)
        raise InputError(
            f"no gradient reached the patch from {names} in {steps} steps: it found no box, or cuts the gradient; export a "
            f"detector without suppression (nms=False), or use --technique {gradient_free()}"
        )

    @torch.no_grad()
    def _success_on_screen(
        self, images: Tensor, labels: Tensor, params: EotParams, objects: Tensor | None
    ) -> float | None:
        """Measure what share of the batch the patch fools in a screen's colours; None at most steps, and without prints."""
        counted = self.counts_queries or any(victim.queries for victim in self._victims)
        if self.step % _ON_SCREEN_EVERY or not self.config.eot.prints or counted:
            return None
        _, fooled = self._attack_loss(images, labels, params.changed(prints=()), objects=objects)
        return float(self._processes.mean(fooled.mean()[None]))

    @torch.no_grad()
    def _judge_candidates(
        self, technique: GradientFree, images: Tensor, labels: Tensor, params: Any, objects: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Evaluate each candidate on its images of the batch, and return the means over all."""
        candidates = technique.candidates()
        rows = technique.judged_on(self.config.optimisation.batch)
        number = torch.arange(len(rows)).repeat_interleave(rows.shape[1])  # of the candidate, for each image
        own = rows.flatten() - (self._rows.start or 0)
        mine = (own >= 0) & (own < len(images))  # the others are evaluated by other processes
        terms = torch.zeros(len(own), len(self.term_names), device=images.device)
        fooled = torch.zeros(len(own), device=images.device)
        parts = mine.nonzero()[:, 0].split(self.config.optimisation.batch) if mine.any() else ()
        for part in parts:
            at = own[part].to(images.device)
            terms[part], fooled[part] = self._attack_loss.each(
                images[at],
                labels[at],
                params.part(own[part]),
                candidates[number[part].to(candidates.device)],
                None if objects is None else objects[at],
            )
        terms, fooled = (self._processes.mean(values) * self._processes.count for values in (terms, fooled))
        losses = terms.sum(dim=1).view(rows.shape)
        counted = math.ceil(self.config.objective.worst * rows.shape[1])
        losses = losses.topk(counted, dim=1).values.mean(dim=1)
        if torch.isfinite(losses).all():
            technique.tell(losses)
        self._queries += len(own) * looks(self.config)
        return terms.mean(dim=0), fooled

    def _all_untouched(self) -> ExitStack:
        stack = ExitStack()
        for victim in self._victims:
            stack.enter_context(untouched(victim))
        return stack


def _seed_of_start(seed: int, number: int) -> int:
    """Derive the seed of one of the starts: the training's own for the first, and for others one that no neighbour has."""
    if number == 0:
        return seed
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0]) % (MOST_SEED + 1)


def target_on(victim: Victim, first: Victim, target: int | None) -> int | None:
    """Find the class of ``victim`` that corresponds to ``target`` of the first victim.

    Raises:
        InputError: ``victim`` has no such class.
    """
    if target is None or victim is first:
        return target
    index = victim.target_index(describe_target(first, target) or {})
    if index is None:
        raise InputError(
            f"{victim.name} has no class {first.categories[target]!r}; choose a target that all models have"
        )
    return index


def _require_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise PhyspatchError(f"the loss is {loss} at step {step}; lower --learning-rate")


def describe_target(victim: Victim, target: int | None) -> dict[str, Any] | None:
    """Describe a target in the form of the patch file."""
    return None if target is None else {"index": target, "name": victim.categories[target]}
