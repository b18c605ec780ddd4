"""What a bench compares: its axes, and the cells that they make."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from calibration.common.errors import InputError
from physpatch.attack.objectives import OBJECTIVES
from physpatch.attack.placement import Placement
from physpatch.attack.transfer import TRANSFERS
from physpatch.defences import UNDEFENDED, require_defences
from physpatch.records.config import ObjectiveConfig, OptimisationConfig, PatchConfig, TrainConfig
from physpatch.records.patch_file import Patch, check_grid_name
from physpatch.techniques import TECHNIQUES, GradientFree

RANDOM_START = "none"  # of where a training begins: random cells
_AXES = ("techniques", "models", "grids", "areas", "targets", "defences", "starts")


@dataclass(frozen=True)
class Way:
    """A way of training, ``TECHNIQUE[:OBJECTIVE[:TRANSFER+…]][@MODEL[+MODEL…]][=RATE]``, such as ``pgd:logit:ghost``.

    Attributes:
        technique: its name.
        objective: the name of the loss; empty for that of the bench.
        transfer: names of the transfer methods.
        imitate: the networks that learn to answer like the one attacked.
        learning_rate: the step size; None for that of the bench.
    """

    technique: str
    objective: str = ""
    transfer: tuple[str, ...] = ()
    imitate: tuple[str, ...] = ()
    learning_rate: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Way":
        """Read a way of training.

        Raises:
            InputError: an unknown technique, objective or transfer method, too many parts, or a rate that is no number.
        """
        named, _, rate = text.partition("=")
        trained, _, imitate = named.partition("@")
        technique, objective, transfer, *more = *trained.split(":"), "", ""
        if any(more):
            raise InputError(
                f"{text!r} is no way of training; expected "
                "TECHNIQUE[:OBJECTIVE[:TRANSFER+TRANSFER…]][@MODEL[+MODEL…]][=RATE]"
            )
        try:
            learning_rate = float(rate) if "=" in text else None
        except ValueError:
            raise InputError(
                f"the learning rate of {text!r} is no number; expected one, such as {named}=0.03"
            ) from None
        way = cls(technique, objective, _names(transfer), _names(imitate), learning_rate)
        TECHNIQUES.find(way.technique)
        if objective:
            OBJECTIVES.find(objective)
        for name in way.transfer:
            TRANSFERS.find(name)
        return way

    def applied(self, config: TrainConfig) -> TrainConfig:
        """Change settings to train in this way; a budget of queries is for ways that ask for predictions alone."""
        changes: dict[str, Any] = {"technique": self.technique}
        if self.objective:
            changes["objective"] = self.objective
        if self.transfer:
            changes["transfer"] = self.transfer
        if self.learning_rate is not None:
            changes["learning_rate"] = self.learning_rate
        if self.imitate:
            changes["imitate"] = self.imitate
        elif not self.gradient_free:
            changes["queries"] = None
        return config.changed(**changes)

    @property
    def gradient_free(self) -> bool:
        return issubclass(TECHNIQUES[self.technique], GradientFree)

    @property
    def needs_several_victims(self) -> bool:
        return TECHNIQUES[self.technique].needs_several_victims


def _names(joined: str) -> tuple[str, ...]:
    return tuple(joined.split("+")) if joined else ()


@dataclass(frozen=True)
class BenchPlan:
    """The axes of a table. The first value of each axis is the base.

    Attributes:
        techniques: ways of training, as :class:`Way` reads them.
        models: the networks: each is trained on alone, or with ``leave_one_out`` left out once.
        grids, areas, targets: grids are ``RxC`` or ``pixel``; targets as for ``--target``.
        full: train every combination; otherwise the base, and each axis varied alone.
        seeds: number of trainings of each, with the base's seed and the following ones: a single one may differ by chance.
        base: all other settings of the trainings.
        defences: that the attacker knows, one in each training. A patch of an attacker who knows ``none`` is measured behind
            all of them, any other behind the one that was known.
        starts: what a training begins with: ``none`` for random cells, or a network on which a patch is trained first.
        start_way: the way of training that patch.
        start_settings: of that training, where they differ from the base's, by their short names.
        leave_one_out: train on all models but one, and measure on that one, too.
        marks: how often a patch is measured on the way, on the network that it is trained on.
        heat: measure Grad-CAM as well, which takes as long as the rest of a measurement.
    """

    techniques: tuple[str, ...] = (OptimisationConfig.technique,)
    models: tuple[str, ...] = ("efficientnet_lite0",)
    grids: tuple[str, ...] = ("10x10",)
    areas: tuple[float, ...] = (PatchConfig.area,)
    targets: tuple[str, ...] = (ObjectiveConfig.target,)
    full: bool = False
    seeds: int = 1
    base: TrainConfig = field(default_factory=TrainConfig)
    defences: tuple[str, ...] = (UNDEFENDED,)
    starts: tuple[str, ...] = (RANDOM_START,)
    start_way: str = OptimisationConfig.technique
    start_settings: Mapping[str, Any] = field(default_factory=dict)
    leave_one_out: bool = False
    marks: int = 0
    heat: bool = True

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"a bench needs at least one training seed, got {self.seeds}")
        if self.marks < 0:
            raise InputError(f"the number of marks on the way must be 0 or above, got {self.marks}")
        for name in _AXES:
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(
                    f"a bench needs one or more distinct {name}, got {', '.join(map(str, values)) or 'none'}"
                )
        ways = [Way.parse(technique) for technique in self.techniques]
        for grid in self.grids:
            check_grid_name(grid)
        require_defences(self.defences, UNDEFENDED)
        if Way.parse(self.start_way).gradient_free and self.starts != (RANDOM_START,):
            raise InputError(f"a start is trained with gradients, which {self.start_way} does not use; try pgd")
        for way in ways:
            way.applied(self.base).optimisation.check_starts()
            if not TECHNIQUES.find(way.technique).keeps_start and self.starts != (RANDOM_START,):
                raise InputError(f"technique {way.technique} would lose a start; leave it out, or leave out --start")
        for option in ("labels", "cam_layer"):
            if len(set(self.networks)) > 1 and self.base.setting(option) is not None:
                raise InputError(f"--{option.replace('_', '-')} needs exactly one --model")
        if self.base.object.name is not None and self.areas != (PatchConfig.area,):
            raise InputError(
                "--area is for a patch without an object; on one, --object-share sets its size, and --sign-area that of a "
                "drawn sign"
            )
        if self.leave_one_out and len(self.models) < 2:
            raise InputError("leaving one network out needs several models; give --model more than once")
        trained_on = len(self.models) - self.leave_one_out
        for way in ways:
            if way.needs_several_victims and trained_on < 2:
                raise InputError(
                    f"technique {way.technique} needs several models to train on, and there "
                    f"{'is one' if trained_on == 1 else 'are none'}; give --model more often"
                )

    @property
    def networks(self) -> tuple[str, ...]:
        """List all networks that the bench loads: to attack, to begin with, and to imitate others."""
        imitators = (name for technique in self.techniques for name in Way.parse(technique).imitate)
        return (*self.models, *(name for name in self.starts if name != RANDOM_START), *imitators)

    def cells(self) -> list["BenchCell"]:
        """List the cells of the table, the base first, each with all of its seeds."""
        axes = tuple(getattr(self, name) for name in _AXES)
        base = tuple(axis[0] for axis in axes)
        cells = [self._cell(*choice) for choice in (product(*axes) if self.full else _star(base, axes))]
        return [cell.seeded(number) for cell in cells for number in range(self.seeds)]

    def _cell(self, way: str, model: str, grid: str, area: float, target: str, defence: str, start: str) -> "BenchCell":
        other_models = tuple(name for name in self.models if name != model)
        together = Way.parse(way).needs_several_victims
        if self.leave_one_out:
            model, *remaining_models = (*other_models, model)
            other_models, ensemble = tuple(remaining_models), tuple(remaining_models[:-1])
        else:
            ensemble = other_models if together else ()
        config = Way.parse(way).applied(
            self.base.changed(model=model, ensemble=ensemble, area=area, target=target, defences=_known(defence))
        )
        behind = tuple(name for name in self.defences if name != UNDEFENDED)
        return BenchCell(
            config,
            grid,
            (model, *other_models),
            behind if defence == UNDEFENDED else (defence,),
            way,
            self._start(start, grid, area, target),
            self.marks,
            self.heat,
        )

    def _start(self, model: str, grid: str, area: float, target: str) -> "BenchCell | None":
        if model == RANDOM_START:
            return None
        config = self.base.changed(
            model=model, ensemble=(), area=area, target=target, defences=(), **self.start_settings
        )
        return BenchCell(
            Way.parse(self.start_way).applied(config), grid, (model,), technique=self.start_way, heat=False
        )


@dataclass(frozen=True)
class BenchCell:
    """One training, and the networks on which its patch is measured, its own first.

    Attributes:
        config: the settings of the training.
        grid: ``RxC`` or ``pixel``.
        measured_on: names of networks.
        behind: names of defences behind which each of them is measured as well.
        technique: the way of training as it was asked for; empty for the technique's name.
        start: the cell whose patch the training begins with; None for random cells.
        marks, heat: as in :class:`BenchPlan`.
        start_patch: the patch of ``start``, once it is trained.
    """

    config: TrainConfig
    grid: str
    measured_on: tuple[str, ...]
    behind: tuple[str, ...] = ()
    technique: str = ""
    start: "BenchCell | None" = None
    marks: int = 0
    heat: bool = True
    start_patch: Patch | None = field(default=None, compare=False)

    def seeded(self, number: int) -> "BenchCell":
        """Return this cell with a seed that is higher by ``number``, and so its start."""
        start = None if self.start is None else self.start.seeded(number)
        return replace(self, config=self.config.changed(seed=self.config.optimisation.seed + number), start=start)

    @property
    def way(self) -> str:
        """Return the way of training, in words for tables."""
        return self.technique or self.config.optimisation.technique

    @property
    def defence(self) -> str:
        """Return the defence that the attacker knows, or ``none``."""
        return next(iter(self.config.victim.defences), UNDEFENDED)

    @property
    def name(self) -> str:
        """Return a readable name that is unique to these settings, for the cell's file."""
        config = self.config.to_dict()
        config["optimisation"]["start"] = config["optimisation"]["start"] or None
        settings: list[Any] = [config, self.grid, self.measured_on]
        further = [self.behind, None if self.start is None else self.start.name, self.marks, self.heat]
        if further != [(), None, 0, True]:  # so that cells from before these existed keep their names
            settings += further
        settings_json = json.dumps(settings, sort_keys=True, default=str)
        model, target = (self.config.setting(name) for name in ("model", "target"))
        words = f"{self.way}-{model}-{self.grid}-{100 * Placement.of(self.config).area:.3g}pc-{target}"
        words += "".join(f"-knows_{name}" for name in self.config.victim.defences)
        readable = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in words)
        return f"{readable}-{hashlib.sha256(settings_json.encode()).hexdigest()[:8]}"


def _known(defence: str) -> tuple[str, ...]:
    return () if defence == UNDEFENDED else (defence,)


def _star(base: tuple[Any, ...], axes: tuple[tuple[Any, ...], ...]) -> Iterator[tuple[Any, ...]]:
    yield base
    for number, axis in enumerate(axes):
        for value in axis[1:]:
            yield (*base[:number], value, *base[number + 1 :])
