"""``model.toml``: a model with what its file does not say, an endpoint with its settings, or an ensemble as one model."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self, TypeVar

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from calibration.common.errors import InputError
from calibration.common.files import read_toml
from calibration.common.text import has_controls
from physpatch.victims.families import family_of
from physpatch.victims.families.base import FileFamily
from physpatch.victims.families.endpoints import Endpoint, Endpoints, load_endpoint
from physpatch.victims.families.open_clip_models import OpenClipModels
from physpatch.victims.families.python_callables import PythonCallables
from physpatch.victims.labels import NAMED
from physpatch.victims.preprocessing import (
    LARGEST_RESIZE,
    LARGEST_SIZE,
    LEAST_STD,
    PLAIN,
    Adaptation,
    Interpolation,
    Task,
)
from physpatch.victims.protocol import BareFamily, CatalogueEntry, Victim, WeightsInfo
from physpatch.victims.weights import TRUST_CURE

SUFFIX = ".toml"
_ENTERED: ContextVar[tuple[Path, ...]] = ContextVar("descriptions that are being read", default=())
_LEAST = 1e-12
T = TypeVar("T")

Three = tuple[float, float, float]


def _plain_text(text: str) -> str:
    if not text.strip() or has_controls(text):
        raise ValueError("expected a text without control characters")
    return text


_Text = Annotated[str, AfterValidator(_plain_text)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _PreprocessingTable(_Strict):
    """``[preprocessing]``: from a photograph to the network's input.

    Attributes:
        size: side of the input, in pixels.
        resize: the shorter side before the central crop, in pixels.
        mean, std: of the channels, in the order and range that the network expects.
        range: the highest value of a pixel that mean and std are for; with 255, a missing mean is 0 and a missing std 1.
        colours: the order of the channels.
        interpolation: of photographs from files.
        fit: whether the middle of a photograph is cropped, or the whole squashed to a square.
    """

    size: int | None = Field(default=None, ge=1, le=LARGEST_SIZE)
    resize: int | None = Field(default=None, ge=1, le=LARGEST_RESIZE)
    mean: tuple[_Finite, _Finite, _Finite] | None = None
    std: tuple[_Finite, _Finite, _Finite] | None = None
    range: Literal[1, 255] = 1
    colours: Literal["rgb", "bgr"] = "rgb"
    interpolation: Interpolation | None = None
    fit: Literal["crop", "squash"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.size is not None and self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize is {self.resize}, smaller than size, {self.size}; expected {self.size} or more")
        if self.std is not None and min(self.std) / self.range < LEAST_STD:
            raise ValueError(f"std is {list(self.std)}; expected three numbers above 0")
        return self


class _EndpointTable(_Strict):
    """``[endpoint]``; see :class:`physpatch.victims.families.endpoints.Endpoint`."""

    url: str
    encoding: str = Endpoint.encoding
    batch: int = Endpoint.batch
    timeout_s: float = Endpoint.timeout_s
    retries: int = Endpoint.retries
    requests_per_s: float | None = None
    token_env: str | None = None


class _Description(_Strict):
    """The content of ``model.toml``: one of ``model``, ``members`` and ``[endpoint]``, and what is said about it."""

    model: _Text | None = None
    members: tuple[_Text, ...] = ()
    endpoint: _EndpointTable | None = None
    name: _Text | None = None
    task: Task | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    weights: _Text | None = None
    labels: _Text | None = None
    cam_layer: _Text | None = None
    prompts: tuple[_Text, ...] = ()
    preprocessing: _PreprocessingTable = _PreprocessingTable()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weights is not None and self.model is None:
            raise ValueError("weights are those of a model; each member and each endpoint has its own")
        compares = self.model is not None and (
            OpenClipModels().knows(self.model) or self.model.lower().endswith(SUFFIX)
        )
        colours = sorted({"mean", "std", "range", "colours"} & self.preprocessing.model_fields_set)
        if self.members and colours:
            raise ValueError(f"each member has its own {' and '.join(colours)}; describe the member instead")
        if self.endpoint is not None and {"mean", "std", "range"} & {*colours}:
            raise ValueError("an endpoint gets pictures as they are; leave out mean, std and range")
        if self.prompts and not compares:
            raise ValueError("prompts are for a model that compares pictures with texts, clip:NAME; leave them out")
        return self


class DescribedModels(BareFamily):
    """Models described in a file; names of files in it are relative to its folder."""

    name: ClassVar[str] = "described"
    summary: ClassVar[str] = (
        "model.toml: input, colours, labels, threshold of a model; settings of an endpoint; an ensemble"
    )

    def catalogue(self) -> list[CatalogueEntry]:
        return [CatalogueEntry(f"FILE{SUFFIX}", "either", "what the file names", True)]

    def knows(self, name: str) -> bool:
        return name.lower().endswith(SUFFIX)

    def caution_for(self, name: str) -> str:
        """Return what the family says of the endpoint or model that the file names: it may be a stranger's file."""
        with _entered(Path(name)):
            description = _read(Path(name))
            if description.endpoint is not None:
                return Endpoints().caution_for(description.endpoint.url)
            named = [_beside(e, Path(name).parent) for e in (description.model, *description.members) if e]
            return "; ".join(filter(None, (family_of(e).caution_for(e) for e in named)))

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        file = Path(name)
        if weights is not None:
            raise InputError(f"{name} names the weights; leave out --weights")
        with _entered(file):
            return self._load(file, trust, said)

    def _load(self, file: Path, trust: bool, adaptation: Adaptation) -> Victim:
        description = _read(file)
        adaptation = _combined(description, file.parent, adaptation)
        if description.endpoint is not None:
            victim = load_endpoint(Endpoint(**description.endpoint.model_dump()), adaptation)
        elif description.members:
            members = [_load(_beside(member, file.parent), None, trust, Adaptation()) for member in description.members]
            victim = _ensemble(members).adapted(adaptation)
        else:
            own = None if description.weights is None else str(file.parent / description.weights)
            victim = _load(_beside(str(description.model), file.parent), own, trust, adaptation)
        if description.task not in (None, victim.task):
            raise InputError(f"{file} says task {description.task}, but {victim.name} is there to {victim.task}")
        content = hashlib.sha256(f"{victim.weights.sha256} {file.read_text(encoding='utf-8')}".encode()).hexdigest()
        info = WeightsInfo(f"{victim.weights.source}, as {file} describes it", content)
        return replace(victim, name=description.name or file.stem, weights=info)


@contextmanager
def _entered(file: Path) -> Iterator[None]:
    """Read a description, and what it names, in the block.

    Raises:
        InputError: it is being read already.
    """
    outer = _ENTERED.get()
    if file.resolve() in outer:
        raise InputError(f"{file} names itself, directly or through other files")
    token = _ENTERED.set((*outer, file.resolve()))
    try:
        yield
    finally:
        _ENTERED.reset(token)


class _Members(nn.Module):
    """The mean of the members' probabilities, as logits; images are RGB in [0, 1] at the first member's size."""

    def __init__(self, members: list[Victim]) -> None:
        super().__init__()
        self.victims = members
        self.networks = nn.ModuleList(member.module for member in members)

    def forward(self, images: Tensor) -> Tensor:
        total = torch.zeros((), device=images.device)
        for member in self.victims:
            total = total + member.confidences(member.scores(member.fitted(images)))
        return (total / len(self.victims)).clamp(min=_LEAST).log()


def _ensemble(members: list[Victim]) -> Victim:
    """Make one victim of several; its heat is that of the first member's layer.

    Raises:
        InputError: members with other classes, or detectors.
    """
    first, *other_members = members
    if any(member.task == "detect" for member in members):
        raise InputError("the members of an ensemble must be classifiers")
    for member in other_members:
        if member.categories != first.categories:
            raise InputError(f"{member.name} and {first.name} do not have the same classes, so they are no ensemble")
    digest = hashlib.sha256(" ".join(member.weights.sha256 for member in members).encode()).hexdigest()
    mean, std = PLAIN  # each member normalises by itself
    preprocessing = replace(first.preprocessing, mean=mean, std=std, bgr=False)
    source = "ensemble of " + ", ".join(member.weights.source for member in members)
    return replace(
        first,
        preprocessing=preprocessing,
        module=_Members(members),
        weights=WeightsInfo(source, digest),
        differentiable=all(member.differentiable for member in members),
        published_accuracy=None,
        threshold=0.0,
        remark="; ".join(f"{member.name}: {member.remark}" for member in members if member.remark),
        learned_from=frozenset().union(*(member.learned_from for member in members)),
    )


def _load(name: str, weights: str | None, trust: bool, adaptation: Adaptation) -> Victim:
    file = None if weights is None else Path(weights)
    if file is not None and not file.is_file():
        raise InputError(f"no weights file {file}")
    family = family_of(name)
    if isinstance(family, PythonCallables) and not trust:
        raise InputError(f"a description names {name}, whose code would run; {TRUST_CURE}")
    return family.load_adapted(name, file, trust, adaptation)


def _read(file: Path) -> _Description:
    try:
        description = _Description.model_validate(read_toml(file))
    except ValidationError as error:
        raise InputError(f"{file}: {_in_words(error)}") from error
    if sum(entry not in (None, ()) for entry in (description.model, description.members, description.endpoint)) != 1:
        raise InputError(f"{file} must have one of model, members and [endpoint]")
    return description


def _in_words(error: ValidationError) -> str:
    """Say what is wrong with the first entry that is: where it is, and what was expected there."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        *tables, key = map(str, first["loc"])
        table_types: dict[str, type[BaseModel]] = {"preprocessing": _PreprocessingTable, "endpoint": _EndpointTable}
        table = table_types.get(".".join(tables), _Description)
        where = f"[{tables[0]}]" if tables else "the file"
        return f"there is no key {key} in {where}; expected some of {', '.join(table.model_fields)}"
    if first["type"] == "missing":
        return f"{place} is missing"
    words = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{place}: {words}" if place else words


def _combined(description: _Description, folder: Path, adaptation: Adaptation) -> Adaptation:
    """Combine what the file says with what the user says beside it, which wins."""
    table = description.preprocessing
    labels = description.labels
    if labels is not None and labels not in NAMED:
        labels = str(folder / labels)
    mean, std = (
        _in_rgb(_in_range(values, table, usual), table) for values, usual in ((table.mean, 0.0), (table.std, 1.0))
    )
    return Adaptation(
        labels=adaptation.labels or labels,
        size=_first(adaptation.size, table.size),
        resize=_first(adaptation.resize, table.resize),
        mean=_first(adaptation.mean, mean),
        std=_first(adaptation.std, std),
        bgr=_first(adaptation.bgr, table.colours == "bgr" if "colours" in table.model_fields_set else None),
        interpolation=_first(adaptation.interpolation, table.interpolation),
        squash=_first(adaptation.squash, None if table.fit is None else table.fit == "squash"),
        cam_layer=adaptation.cam_layer or description.cam_layer,
        prompts=adaptation.prompts or description.prompts,
        threshold=_first(adaptation.threshold, description.threshold),
        task=_first(adaptation.task, description.task),
    )


def _first(value: T | None, default: T | None) -> T | None:
    return default if value is None else value


def _in_range(values: Three | None, table: _PreprocessingTable, usual: float) -> Three | None:
    """Return the numbers that were said, or the usual ones of a network that takes pixels up to 255 as they are."""
    return (usual, usual, usual) if values is None and table.range == 255 else values


def _in_rgb(values: Three | None, table: _PreprocessingTable) -> Three | None:
    """Turn numbers for the network's order and range into those for RGB in [0, 1]."""
    if values is None:
        return None
    first, second, third = (value / table.range for value in values)
    return (third, second, first) if table.colours == "bgr" else (first, second, third)


def _beside(name: str, folder: Path) -> str:
    """Find a model's file relative to the description; other names stay as they are."""
    is_file = isinstance(family_of(name), (FileFamily, DescribedModels)) or (folder / name).is_file()
    return str(folder / name) if is_file else name
