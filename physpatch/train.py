"""Training as an iterator of step records."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calibration.errors import PhyspatchError, unknown_name
from physpatch.artifact import Patch
from physpatch.batches import BatchSource
from physpatch.compose import place_patch
from physpatch.config import TrainConfig
from physpatch.data import Photographs
from physpatch.eot import sample
from physpatch.objectives import choose_objective
from physpatch.patch import printable_cells
from physpatch.techniques import TECHNIQUES
from physpatch.victims.base import Victim, untouched

_MOST_SNAPSHOTS = 150  # frames of the evolution video
_AUTO_DRAWS = 6  # batches of random patches that choose a target


@dataclass(frozen=True)
class StepRecord:
    """One training step. ``success`` is the share of the batch that was fooled, on training photographs."""

    step: int
    loss: float
    terms: dict[str, float]
    success: float
    seconds: float


class Trainer:
    """Iterate it to train; each step yields a :class:`StepRecord`, and :attr:`patch` is the patch so far.

    The same arguments give the same patch, bit for bit on the CPU, also through :meth:`state` and :meth:`restore`.
    """

    def __init__(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, target: int | None = None
    ) -> None:
        """Prepare a run of ``config.steps`` steps on squares at least as large as the victim's input.

        Raises:
            InputError: unknown technique, or photographs smaller than the network's input.
        """
        if config.technique not in TECHNIQUES:
            raise unknown_name("technique", config.technique, TECHNIQUES)
        self.victim, self.config, self.target = victim, config, target
        self._source = BatchSource(victim, photographs, config.batch)
        self.step = 0
        self._objective = choose_objective(victim.task, target)
        self._generator = torch.Generator().manual_seed(config.seed)
        start = torch.rand(3, *config.grid, generator=self._generator).to(victim.device)
        self._technique = TECHNIQUES[config.technique](start, config.learning_rate)
        self._labels = photographs.labels if target is not None else self._own_labels()
        self._every = math.ceil(config.steps / _MOST_SNAPSHOTS)
        self._history = [printable_cells(start)]

    def __iter__(self) -> Iterator[StepRecord]:
        with untouched(self.victim):
            while self.step < self.config.steps:
                drawn, moved = self._generator.get_state(), self._technique.state()
                try:
                    record = self._advance()
                except BaseException:  # a step cut short, by Ctrl-C say, is made again whole when the run goes on
                    self._generator.set_state(drawn)
                    self._technique.restore(moved)
                    raise
                self.step = record.step
                if self.step % self._every == 0:
                    self._history.append(printable_cells(self._technique.cells()))
                yield record

    def _own_labels(self) -> Tensor:
        with untouched(self.victim):
            return self._source.labels()

    @property
    def patch(self) -> Patch:
        """The patch as it would be printed now."""
        return Patch(
            printable_cells(self._technique.cells()), describe_target(self.victim, self.target), {"step": self.step}
        )

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the loss terms, the keys of :attr:`StepRecord.terms`."""
        return self._objective.term_names

    @property
    def history(self) -> list[Any]:
        """Snapshots of the cells over the steps, (rows, columns, 3) uint8 each."""
        return list(self._history)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, as tensors."""
        snapshots = torch.stack([torch.from_numpy(cells) for cells in self._history])
        technique = {f"technique.{k}": v for k, v in self._technique.state().items()}
        return technique | {
            "step": torch.tensor(self.step),
            "generator": self._generator.get_state(),
            "history": snapshots,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        self.step = int(state["step"])
        self._generator.set_state(state["generator"])
        self._history = [cells.numpy() for cells in state["history"]]
        self._technique.restore(
            {k.removeprefix("technique."): v for k, v in state.items() if k.startswith("technique.")}
        )

    def _advance(self) -> StepRecord:
        """Draw a batch and move the cells; the step is counted by the caller, once all of it has happened."""
        started = time.perf_counter()
        images, chosen = self._source.draw(self._generator)
        labels = self._labels[chosen].to(self.victim.device)
        params = sample(self.config.eot, len(images), self._generator).to(self.victim.device)
        composite, _ = place_patch(images, self._technique.cells(), params, self.config.area)
        scores = self.victim.scores(composite)
        terms = self._objective.terms(scores, labels)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise PhyspatchError(f"the loss is {loss.item()} at step {self.step + 1}; lower --learning-rate")
        loss.backward()
        self._technique.step()
        success = float(self._objective.success(scores.detach(), labels).float().mean())
        values = {name: float(value.detach()) for name, value in terms.items()}
        return StepRecord(self.step + 1, float(loss.detach()), values, success, time.perf_counter() - started)


def describe_target(victim: Victim, target: int | None) -> dict[str, Any] | None:
    """A target as the patch file records it."""
    return None if target is None else {"index": target, "name": victim.categories[target]}


def resolve_target(text: str, victim: Victim, photographs: Photographs, config: TrainConfig) -> int | None:
    """Turn ``--target`` into a class index, or None for untargeted.

    ``auto`` takes the class that random patches of this grid and size already favour: a coarse patch cannot reach every
    class, and those are the nearest. Photographs of a class say nothing about reaching it, so they do not count for it. For
    a detector it means hiding, which needs no class.
    """
    if text == "none" or (text == "auto" and victim.task == "detect"):
        return None
    if text != "auto":
        return victim.category_index(text)
    generator = torch.Generator().manual_seed(config.seed)
    source = BatchSource(victim, photographs, config.batch)
    total, count = torch.zeros(2, len(victim.categories))
    with untouched(victim), torch.no_grad():
        labels = source.labels()
        for _ in range(_AUTO_DRAWS):
            images, chosen = source.draw(generator)
            cells = torch.rand(3, *config.grid, generator=generator).to(victim.device)
            params = sample(config.eot, len(images), generator).to(victim.device)
            composite, _ = place_patch(images, cells, params, config.area)
            shown = torch.nn.functional.one_hot(labels[chosen], len(victim.categories)).bool()
            total += victim.scores(composite).log_softmax(dim=1).cpu().masked_fill(shown, 0).sum(dim=0)
            count += (~shown).sum(dim=0)
    return int((total / count.clamp(min=1)).masked_fill(count == 0, -torch.inf).argmax())
