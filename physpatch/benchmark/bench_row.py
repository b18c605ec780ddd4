"""A row of a bench, which ``cells/NAME.json`` holds, and a list of which ``bench --json`` writes."""

from typing import Any, ClassVar

from pydantic import Field

from calibration.common.records import Record, RecordPart
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, HeatRecord, TargetClass
from physpatch.records.run_record import TargetChoiceRecord


class BenchSeconds(RecordPart):
    """How long the training took, and all together."""

    training: float
    all: float


class BenchRow(Record):
    """One training, and what its patch does on its own network and on the others.

    Attributes:
        name: of the file: readable, and different where any setting is.
        technique, model, grid, area: what was compared; the grid is ``RxC`` or ``pixel``, the area a share of the image.
        target_asked: the target as it was asked for, such as auto.
        target: the class aimed at; None for an untargeted patch.
        target_choice: how it was chosen.
        also: further networks that were attacked at the same time.
        measured: what the patch does, by network.
        heat: where the network looks.
        patch: the cells, rows of columns of sRGB integers.
        seed: of the training.
        config: the settings; see :attr:`train_config`.
        seconds: how long it took.
        device: in words.
        versions: of physpatch and of what its numbers depend on.
    """

    what: ClassVar[str] = "row of a bench"
    cure: ClassVar[str] = "remove it, and `physpatch bench` measures it again"
    current: ClassVar[int] = 1

    name: str
    technique: str
    model: str
    grid: str
    area: float
    target_asked: str | None = None
    target: TargetClass | None = None
    target_choice: TargetChoiceRecord | None = None
    also: list[str] = Field(default_factory=list)
    measured: dict[str, EvaluationRecord]
    heat: HeatRecord
    patch: list[list[tuple[int, int, int]]]
    seed: int
    config: dict[str, Any]
    seconds: BenchSeconds
    device: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        """Rows of earlier versions have the seed among their settings only."""
        if "seed" in value or not isinstance(value.get("config"), dict):
            return value
        return value | {"seed": TrainConfig.from_dict(value["config"]).optimisation.seed}

    @property
    def train_config(self) -> TrainConfig:
        """The settings.

        Raises:
            InputError: a setting that this version, or the extensions installed here, do not know.
        """
        return TrainConfig.from_dict(self.config)

    @property
    def own(self) -> EvaluationRecord:
        """What the patch does on the network that it was trained on."""
        return self.measured[self.model]
