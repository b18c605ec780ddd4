"""What a training is asked to do: frozen sections, one for each thing they configure, saved with the run.

Each setting has a short name besides, which is its option's on the command line: ``--object-share`` sets
``config.object.share`` and is ``object_share`` in :meth:`TrainConfig.of` and :meth:`TrainConfig.changed`.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError, unknown_name
from calibration.common.files import read_json
from calibration.common.success import GOALS, SCOPES
from calibration.sheet.road_signs import sign_name
from physpatch.records.eot_config import EotConfig, newer_key
from physpatch.records.patch_file import check_grid
from physpatch.transforms import DEFAULT_PRESET

PRECISIONS = ("auto", "float32", "bfloat16")
OBJECT_SOURCES = ("auto", "drawn", "labels")  # auto: drawn where it is one of the signs
_FARTHEST_BESIDE = 1.5  # sizes of an object from its own edge
_OLD_NAMES = {"also": "ensemble"}  # of the flat records of before there were sections


def _named(option: str, default: Any) -> Any:
    """Declare a setting whose short name differs from its name in its section."""
    return field(default=default, metadata={"option": option})


@dataclass(frozen=True)
class VictimConfig:
    """The networks that are attacked, and what they run on.

    Attributes:
        model: a name of ``physpatch models``, or a file.
        ensemble: further models, fooled at the same time.
        weights: a file of weights for ``model``, instead of the published ones.
        trust_weights: let files of weights run the code that they carry.
        precision: of :data:`PRECISIONS`; auto is bfloat16 on a GPU, and float32 on the CPU, where bfloat16 is slower.
        device: auto, cpu or cuda.
    """

    model: str = "auto"
    ensemble: tuple[str, ...] = ()
    weights: str | None = None
    trust_weights: bool = False
    precision: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_name("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class DataConfig:
    """The photographs to train and to measure on.

    Attributes:
        source: samples, imagenette, or a folder.
        limit: photographs at most.
        held_out: the share that is kept for measuring, between 0 and 1.
        backgrounds: a folder of scenes of a session, as many in a batch as other photographs.
    """

    source: str = _named("data", "samples")
    limit: int = 2000
    held_out: float = 0.5
    backgrounds: str | None = None

    def __post_init__(self) -> None:
        _check_at_least_1("limit", self.limit)
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out {self.held_out} out of range; expected a share between 0 and 1")


@dataclass(frozen=True)
class PatchConfig:
    """The patch.

    Attributes:
        grid: rows and columns of cells.
        area: the share of the image that a patch by itself covers, 0.001 to 0.9.
    """

    grid: tuple[int, int] = (10, 10)
    area: float = 0.15

    def __post_init__(self) -> None:
        check_grid(self.grid)
        _check_image_share("area", self.area)


@dataclass(frozen=True)
class ObjectConfig:
    """The object that the patch is put on, where a detector is to look at one.

    Attributes:
        name: one of the detector's classes; None: a patch by itself.
        origin: of :data:`OBJECT_SOURCES`: drawn as a sign, or labelled with boxes in the data.
        sign_area: the share of the image that the square around a drawn sign covers, 0.001 to 0.9.
        share: the share of a sign's area, or of a labelled box, that the patch covers, 0.01 to 0.8.
        at: the patch's middle, across and down, as shares of the object's box.
    """

    name: str | None = _named("object", None)
    origin: str = _named("object_from", "auto")
    sign_area: float = 0.15
    share: float = _named("object_share", 0.2)
    at: tuple[float, float] = _named("object_at", (0.5, 0.5))

    def __post_init__(self) -> None:
        _check_name("object from", self.origin, OBJECT_SOURCES)
        _check_image_share("sign_area", self.sign_area)
        if not 0.01 <= self.share <= 0.8:
            raise InputError(f"object_share {self.share} out of range; expected a share of the object, 0.01 to 0.8")

    @property
    def drawn_sign(self) -> str | None:
        """The sign that is drawn for the patch to lie on; None where there is none."""
        if self.name is None or self.origin == "labels":
            return None
        return self.name if self.origin == "drawn" or sign_name(self.name) is not None else None

    @property
    def labelled(self) -> str | None:
        """The class on whose labelled boxes the patch is put; None where a sign is drawn, or there is no object."""
        return None if self.drawn_sign is not None else self.name


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the patch is to bring about.

    Attributes:
        target: a class by name or index, auto, none, or another rule that picks one.
        goal: of a detector; see :data:`calibration.common.success.GOALS`.
        scope: where that counts; see :data:`calibration.common.success.SCOPES`.
        loss: what is minimised.
        nps: the weight of non-printable colours.
        tv: the weight of total variation over the cells.
    """

    target: str = "auto"
    goal: str = "auto"
    scope: str = "patch"
    loss: str = _named("objective", "cross-entropy")
    nps: float = 0.0
    tv: float = 0.0

    def __post_init__(self) -> None:
        _check_name("goal", self.goal, GOALS)
        _check_name("scope", self.scope, SCOPES)
        for name in ("nps", "tv"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"the weight {name} must be 0 or above, got {getattr(self, name)}")


@dataclass(frozen=True)
class OptimisationConfig:
    """How the patch is trained.

    Attributes:
        technique: how the cells are moved.
        learning_rate: the step size; None takes the technique's own.
        steps, batch: how many steps, each of how many photographs.
        restarts: starts that are tried for a share of the steps each, before the best goes on.
        seed: of all that is random.
    """

    technique: str = "pgd"
    learning_rate: float | None = None
    steps: int = 200
    batch: int = 16
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "restarts"):
            _check_at_least_1(name, getattr(self, name))
        if self.seed < 0:
            raise InputError(f"seed must not be negative, got {self.seed}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate must be positive, got {self.learning_rate}")


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The command line's defaults are these.

    Attributes:
        eot: the ranges of the transformations.
        profile: SHA-256 of the rig profile from which ``eot`` was made.
    """

    victim: VictimConfig = field(default_factory=VictimConfig)
    data: DataConfig = field(default_factory=DataConfig)
    patch: PatchConfig = field(default_factory=PatchConfig)
    object: ObjectConfig = field(default_factory=ObjectConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    eot: EotConfig = field(default_factory=EotConfig)
    profile: str | None = None

    @classmethod
    def of(cls, **settings: Any) -> "TrainConfig":
        """Build a config from settings by their short names, such as ``TrainConfig.of(steps=300, area=0.2)``.

        Raises:
            InputError: an unknown setting, or a value out of range.
        """
        return cls().changed(**settings)

    def changed(self, **settings: Any) -> "TrainConfig":
        """Replace settings by their short names; ``eot`` and ``profile`` are replaced whole.

        Raises:
            InputError: an unknown setting, or a value out of range.
        """
        own: dict[str, Any] = {}
        by_section: dict[str, dict[str, Any]] = {}
        for name, value in settings.items():
            if name in ("eot", "profile"):
                own[name] = value
            elif name in SETTINGS:
                section, key = SETTINGS[name]
                by_section.setdefault(section, {})[key] = value
            else:
                raise unknown_name("setting", name, SETTINGS)
        sections = {section: replace(getattr(self, section), **values) for section, values in by_section.items()}
        return replace(self, **sections, **own)

    def setting(self, name: str) -> Any:
        """Return a setting by its short name."""
        section, key = SETTINGS[name]
        return getattr(getattr(self, section), key)

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain JSON values, section by section."""
        sections = {name: asdict(getattr(self, name)) for name in SECTIONS}
        return sections | {"eot": self.eot.to_dict(), "profile": self.profile}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainConfig":
        """Read the output of :meth:`to_dict`, or the flat settings by their short names that earlier versions wrote.

        Raises:
            InputError: a key that this version does not know, or a value of the wrong kind.
        """
        if not isinstance(value, Mapping):
            raise _unreadable(f"a table of settings is expected, got {value!r:.60}")
        own: dict[str, Any] = {}
        by_section: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for key, content in value.items():
            name = _OLD_NAMES.get(key, key)
            if key in SECTIONS and isinstance(content, Mapping):
                by_section[key] |= content
            elif name in SETTINGS:
                section, section_key = SETTINGS[name]
                by_section[section][section_key] = content
            elif key in ("eot", "profile"):
                own[key] = content
            else:
                raise newer_key(key, cls)
        if "area" in value and "sign_area" not in value:
            _give_area_to_sign(by_section)
        sections: dict[str, Any] = {name: _section(name, content) for name, content in by_section.items()}
        try:
            eot = EotConfig.from_dict(own.get("eot", {}))
        except (TypeError, AttributeError) as error:
            raise _unreadable(f"[eot]: {error}") from error
        profile = own.get("profile")
        if profile is not None and not isinstance(profile, str):
            raise _unreadable(f"profile: the SHA-256 of a rig profile is expected, got {profile!r:.60}")
        return cls(**sections, eot=eot, profile=profile)

    @classmethod
    def load(cls, path: Path) -> "TrainConfig":
        """Read settings from a TOML file, or the config that a ``run.json`` was made with.

        A TOML file may leave out what is to stay at its default. Its table ``[eot]`` takes ``preset`` besides ranges: a
        preset's name, or none; the ranges that are not given are the preset's.

        Raises:
            InputError: no such file, no TOML or JSON, an unknown key, or a value that cannot be used.
        """
        if path.suffix.lower() == ".toml":
            return cls._from_toml(path)
        value = read_json(path)
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            value = value["config"]
        return _of_file(path, value)

    @classmethod
    def _from_toml(cls, path: Path) -> "TrainConfig":
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"no file {path}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} is not TOML ({error}); see “Settings in a file” in the documentation") from error
        ranges = value.pop("eot", {})
        if not isinstance(ranges, dict):
            raise InputError(f"{path}: eot must be a table, [eot], of a preset and of ranges")
        preset = ranges.pop("preset", DEFAULT_PRESET)
        base = EotConfig.none() if preset == "none" else EotConfig.preset(str(preset))
        return _of_file(path, value | {"eot": base.to_dict() | ranges})


SECTIONS: dict[str, type] = {
    "victim": VictimConfig,
    "data": DataConfig,
    "patch": PatchConfig,
    "object": ObjectConfig,
    "objective": ObjectiveConfig,
    "optimisation": OptimisationConfig,
}
SETTINGS: dict[str, tuple[str, str]] = {
    setting.metadata.get("option", setting.name): (section, setting.name)
    for section, kind in SECTIONS.items()
    for setting in fields(kind)
}
"""Where each setting stands: its section and its name there, by its short name, which is the command line's."""


def _of_file(path: Path, value: Any) -> TrainConfig:
    try:
        return TrainConfig.from_dict(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _section(name: str, values: Mapping[str, Any]) -> Any:
    """Check a section's keys and kinds of values, as a file has them, and build it."""
    kind = SECTIONS[name]
    unknown = sorted(values.keys() - {setting.name for setting in fields(kind)})
    if unknown:
        raise newer_key(unknown[0], kind)
    from pydantic import TypeAdapter, ValidationError  # here, for it would slow the start of every command

    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise _unreadable(f"{where}: {first['msg'].lower()}, got {first['input']!r:.60}") from error


def _unreadable(why: str) -> InputError:
    return InputError(f"the settings of this run cannot be read ({why})")


def _give_area_to_sign(by_section: dict[str, dict[str, Any]]) -> None:
    """Read ``area`` as the sign's: before the two had names of their own, a run on a drawn sign had only the one."""
    carrier: dict[str, Any] = {
        key: by_section["object"][key] for key in ("name", "origin") if key in by_section["object"]
    }
    if _section("object", carrier).drawn_sign is not None:
        by_section["object"]["sign_area"] = by_section["patch"].pop("area")


def _check_name(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise unknown_name(what, name, known)


def _check_at_least_1(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}")


def _check_image_share(name: str, value: float) -> None:
    if not 0.001 <= value <= 0.9:
        raise InputError(f"{name} {value} out of range; expected the share of the image, 0.001 to 0.9")


def parse_place(text: str) -> tuple[float, float]:
    """Turn ``0.5,0.6`` into shares across and down; below 0 and above 1 is beside.

    Raises:
        InputError: not two shares, or too far away.
    """
    try:
        across, down = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"the place {text!r} is not understood; write two shares of the object's box, such as 0.5,0.5"
        ) from None
    if not all(-_FARTHEST_BESIDE <= share <= 1 + _FARTHEST_BESIDE for share in (across, down)):
        raise InputError(
            f"the place {text!r} is far from the object; expected shares of its box, {-_FARTHEST_BESIDE} to "
            f"{1 + _FARTHEST_BESIDE}, where 0 to 1 is on it"
        )
    return across, down
