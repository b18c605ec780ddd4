"""``run.json``: what a training was asked to do, with what, and what came of it. Torch-free."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, SerializerFunctionWrapHandler, WrapSerializer

from calibration.common.records import Record, RecordPart
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, TargetClass

RUN_FILE = "run.json"


def _none_if_empty(value: Any) -> Any:
    return None if value == {} else value


def _empty_if_none(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return {} if value is None else handler(value)


class _OrEmpty:
    """Tells the JSON schema that an empty object stands for None."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        known = handler(schema)
        return known | {"anyOf": [*known["anyOf"], {"type": "object", "maxProperties": 0}]}


class TargetChoiceRecord(RecordPart):
    """How the target was chosen.

    Attributes:
        index: of the class; None for an untargeted patch.
        how: the reason, in words.
        tried: the candidates, each with what the rule says of it.
    """

    index: int | None
    how: str
    tried: list[dict[str, Any]] = Field(default_factory=list)


class WeightsRecord(RecordPart):
    """A network and its weights.

    Attributes:
        model: its name.
        task: classify or detect; empty in the earliest runs.
        source: where the weights came from.
        sha256: of the weights.
    """

    model: str
    task: str = ""
    source: str
    sha256: str


class EnsembleWeights(RecordPart):
    """The weights of a further network that was attacked."""

    source: str
    sha256: str


class RunData(RecordPart):
    """The photographs of a run.

    Attributes:
        source: samples, imagenette, or a folder.
        train, held_out: how many.
        train_fingerprint, held_out_fingerprint: change with any photograph or label.
        held_out_names: names of the files.
        learned_from: the contents of the photographs trained on, as short hashes; None in runs of before photographs were
            split by content.
    """

    source: str
    train: int
    held_out: int
    train_fingerprint: str
    held_out_fingerprint: str
    held_out_names: list[str] = Field(default_factory=list)
    learned_from: list[str] | None = None


class RunRecord(Record):
    """What ``run.json`` holds.

    Attributes:
        physpatch_run: the number of the format of before there was ``version``.
        config: the settings, with ``auto`` answered; see :attr:`train_config`.
        target: the class aimed at; None for an untargeted patch.
        target_choice: how it was chosen.
        seed: of all that is random.
        device: in words.
        weights: of the network that was attacked.
        data: the photographs.
        also: the further networks, by name.
        versions: of physpatch and of what its numbers depend on.
        status: training or finished.
        training_seconds: of all steps together.
        results: on the held-out photographs; None before they are measured, and where none were labelled, which the file
            has as ``{}``.
    """

    what: ClassVar[str] = "record of a run"
    cure: ClassVar[str] = "restore it from a copy, or train anew"
    current: ClassVar[int] = 2

    physpatch_run: Literal[1] = 1
    config: dict[str, Any]
    target: TargetClass | None = None
    target_choice: TargetChoiceRecord | None = None
    seed: int
    device: str
    weights: WeightsRecord
    data: RunData
    also: dict[str, EnsembleWeights] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    status: str = ""
    training_seconds: float | None = None
    results: Annotated[
        EvaluationRecord | None, BeforeValidator(_none_if_empty), WrapSerializer(_empty_if_none), _OrEmpty()
    ] = None

    @property
    def train_config(self) -> TrainConfig:
        """The settings.

        Raises:
            InputError: a setting that this version, or the extensions installed here, do not know.
        """
        return TrainConfig.from_dict(self.config)

    @property
    def measured(self) -> dict[str, EvaluationRecord | None]:
        """The results by network, the run's own first."""
        return {self.weights.model: self.results, **({} if self.results is None else self.results.others)}

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the record of a run's folder; see :meth:`load`."""
        return cls.load(folder / RUN_FILE)
