"""``run.json``: the settings, inputs and results of a training. The module does not import torch."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)

from calibration.common.errors import InputError
from calibration.common.records import Record, RecordPart
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, TargetClass

RUN_FILE = "run.json"


def _none_if_empty(value: Any) -> Any:
    return None if value == {} else value


def _empty_if_none(value: Any, handler: SerializerFunctionWrapHandler) -> Any:
    return {} if value is None else handler(value)


class _OrEmpty:
    """Adds an empty object, which stands for None, to the JSON schema."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        json_schema = handler(schema)
        return json_schema | {"anyOf": [*json_schema["anyOf"], {"type": "object", "maxProperties": 0}]}


class TargetChoiceRecord(RecordPart):
    """How the target was chosen.

    Attributes:
        index: of the target class; None for an untargeted patch.
        how: the reason, in words.
        tried: the candidates, each with the rule's values for it.
    """

    index: int | None
    how: str
    tried: list[dict[str, Any]] = Field(default_factory=list)


class WeightsRecord(RecordPart):
    """A network and its weights.

    Attributes:
        model: name of the network.
        task: ``classify`` or ``detect``; empty in the earliest runs.
        source: of the weights.
        sha256: of the weights.
    """

    model: str
    task: str = ""
    source: str
    sha256: str


class EnsembleWeights(RecordPart):
    """The weights of another attacked network."""

    source: str
    sha256: str


class RunData(RecordPart):
    """The photographs of a run.

    Attributes:
        source: samples, imagenette, or a folder.
        train, held_out: number of photographs for training and for evaluation.
        train_fingerprint, held_out_fingerprint: hashes of photographs and labels.
        held_out_names: file names of the held-out photographs.
        learned_from: short hashes of the content of each training photograph; None in runs from before photographs were
            split by content.
    """

    source: str
    train: int
    held_out: int
    train_fingerprint: str
    held_out_fingerprint: str
    held_out_names: list[str] = Field(default_factory=list)
    learned_from: list[str] | None = None


class ImportRecord(RecordPart):
    """Where an imported patch came from. Who trained it, and how, is not known here.

    Attributes:
        file: name of the picture, array or tensor.
        sha256: of that file.
        read: how its values became cells, in words.
        note: of the user, such as where it was published.
    """

    file: str
    sha256: str
    read: str
    note: str = ""


class QueriesRecord(RecordPart):
    """What was sent to an endpoint: requests, and pictures in them, repeated attempts included."""

    requests: int
    images: int


class RunRecord(Record):
    """The content of ``run.json``.

    Attributes:
        physpatch_run: the format's number from before ``version`` existed.
        config: the settings, with ``auto`` replaced by the choice made; see :attr:`train_config`.
        target: the target class; None for an untargeted patch.
        target_choice: how the target was chosen.
        seed: of all random numbers.
        device: description of the device.
        weights: of the attacked network; of an imported patch, those that it was first measured on, None before.
        data: the photographs; None for an imported patch.
        imported: where an imported patch came from; None for one that was trained here.
        also: the weights of the other attacked networks, by name.
        imitators: of the networks that learned to answer like the attacked ones, before they did.
        versions: of physpatch and of the packages that affect its results.
        status: ``training``, ``finished`` or ``imported``.
        training_seconds: duration of all steps.
        start_losses: by which several starts were compared, in their order; the one with the lowest is the patch's.
        queries: what was sent to an endpoint, from loading it to the end of the evaluation; None for a network on this
            machine.
        results: on the held-out photographs; None before the evaluation, and without labelled photographs, for which the
            file has ``{}``.
    """

    what: ClassVar[str] = "record of a run"
    cure: ClassVar[str] = (
        "restore it from a backup, or train again with `physpatch train --config`, which takes the run's patch.json too"
    )
    current: ClassVar[int] = 2

    physpatch_run: Literal[1] = 1
    config: dict[str, Any]
    target: TargetClass | None = None
    target_choice: TargetChoiceRecord | None = None
    seed: int
    device: str
    weights: WeightsRecord | None
    data: RunData | None
    imported: ImportRecord | None = None
    also: dict[str, EnsembleWeights] = Field(default_factory=dict)
    imitators: list[WeightsRecord] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    status: str = ""
    training_seconds: float | None = None
    start_losses: list[float] = Field(default_factory=list)
    queries: QueriesRecord | None = None
    results: Annotated[
        EvaluationRecord | None, BeforeValidator(_none_if_empty), WrapSerializer(_empty_if_none), _OrEmpty()
    ] = None

    @model_validator(mode="after")
    def _only_imports_lack_a_training(self) -> Self:
        for name in ("weights", "data"):
            if self.imported is None and getattr(self, name) is None:
                raise InputError(f"{name} should be an object, got None, unless the patch was imported; {self.cure}")
        return self

    @property
    def train_config(self) -> TrainConfig:
        """Return the settings.

        Raises:
            InputError: a setting unknown to this version and the installed extensions.
        """
        return TrainConfig.from_dict(self.config)

    @property
    def measured(self) -> dict[str, EvaluationRecord | None]:
        """Return the results by network, starting with the run's own."""
        if self.weights is None:
            return {}
        return {self.weights.model: self.results, **({} if self.results is None else self.results.others)}

    @property
    def strongest_drawn_sign(self) -> str | None:
        """Return the sign whose harmless drawing does most in the patch's place, for the first network with such; else None."""
        drawn_signs = (result.drawn_sign for result in self.measured.values() if result is not None)
        return next((drawn.by_effect[0][0] for drawn in drawn_signs if drawn is not None), None)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the record in a run's folder; see :meth:`load`."""
        return cls.load(folder / RUN_FILE)
