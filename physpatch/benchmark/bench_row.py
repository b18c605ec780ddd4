"""A row of a bench: the content of ``cells/NAME.json``, and of the list from ``bench --json``."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from calibration.common.records import Record, RecordPart
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, HeatRecord, ShownName, TargetClass
from physpatch.records.run_record import TargetChoiceRecord
from physpatch.stats.rates import Rate


class BenchSeconds(RecordPart):
    """The duration of the training, and of training and evaluation."""

    training: float
    all: float


class BenchMark(RecordPart):
    """The patch on its own network on the way of a training.

    Attributes:
        step: of the training.
        queries: images shown to each network so far, for techniques without gradients; None for others.
        gradient_evaluations: images times networks whose gradient was taken so far; 0 for techniques without gradients.
        seconds: of training so far.
        measured: the results.
    """

    step: int
    queries: int | None = None
    gradient_evaluations: int = 0
    seconds: float
    measured: EvaluationRecord


class BenchRow(Record):
    """One training, and the results of its patch on its own network and on the others.

    Attributes:
        name: of the file; readable, and unique for the settings.
        technique, model, grid, area: the settings compared; the grid is ``RxC`` or ``pixel``, the area a share of the image, or
            of the object that carries the patch.
        target_asked: the target setting, such as ``auto``.
        target: the target class; None for an untargeted patch.
        target_choice: how the target was chosen.
        also: the other networks that the patch was trained on.
        defence: that the attacker knows, or none.
        start: the network on which the patch was trained that the training began with, or none for random cells.
        measured: the results by network, and by network and defence, ``network+defence``.
        marks: the results on the patch's own network on the way.
        heat: Grad-CAM statistics.
        patch: the cells as rows of columns of sRGB integers.
        seed: of the training.
        config: the settings; see :attr:`train_config`.
        seconds: durations.
        device: description of the device.
        versions: of physpatch and of the packages that affect its results.
    """

    what: ClassVar[str] = "row of a bench"
    cure: ClassVar[str] = "delete it, and `physpatch bench` will measure it again"
    current: ClassVar[int] = 2

    name: ShownName
    technique: ShownName
    model: ShownName
    grid: ShownName
    area: float
    target_asked: ShownName | None = None
    target: TargetClass | None = None
    target_choice: TargetChoiceRecord | None = None
    also: list[ShownName] = Field(default_factory=list)
    defence: ShownName = "none"
    start: ShownName = "none"
    measured: dict[ShownName, EvaluationRecord]
    marks: list[BenchMark] = Field(default_factory=list)
    heat: HeatRecord
    patch: list[list[tuple[int, int, int]]]
    seed: int
    config: dict[str, Any]
    seconds: BenchSeconds
    device: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Copy from the settings what earlier versions have only there: the seed, and the patch's share of its object."""
        config = value.get("config")
        if not isinstance(config, dict):
            return value
        carried = config.get("object")
        if isinstance(carried, dict) and carried.get("name") is not None and "share" in carried:
            value = value | {"area": carried["share"]}  # before, it was of the image, with what texels round
        return value if "seed" in value else value | {"seed": TrainConfig.from_dict(config).optimisation.seed}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.model not in self.measured:
            raise ValueError(f"measured has no results on the row's own network {self.model!r}")
        return self

    @property
    def train_config(self) -> TrainConfig:
        """Return the settings.

        Raises:
            InputError: a setting unknown to this version and the installed extensions.
        """
        return TrainConfig.from_dict(self.config)

    @property
    def own(self) -> EvaluationRecord:
        """Return the results on the network that the patch was trained on."""
        return self.measured[self.model]

    @property
    def success(self) -> Rate:
        """Return the rate by which rows are compared: of reaching the target, or without one, of a wrong answer."""
        return self.own.untargeted_success if self.target is None else self.own.targeted_success

    @property
    def bare(self) -> dict[str, EvaluationRecord]:
        """Return the results by network, without those behind defences."""
        return {name: result for name, result in self.measured.items() if result.defence is None}

    @property
    def unseen(self) -> dict[str, EvaluationRecord]:
        """Return the results on the networks that the patch was not trained on."""
        return {name: result for name, result in self.bare.items() if name not in (self.model, *self.also)}

    @property
    def behind(self) -> dict[str, EvaluationRecord]:
        """Return the results on the patch's own network behind each defence, by its name."""
        prefix = f"{self.model}+"
        return {
            name.removeprefix(prefix): result
            for name, result in self.measured.items()
            if result.defence is not None and name.startswith(prefix)
        }
