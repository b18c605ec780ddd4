"""The settings of a training, in frozen sections; they are saved with the run.

Each setting also has a short name, that of its command-line option: ``--object-share`` sets
``config.object.share`` and is ``object_share`` in :meth:`TrainConfig.of` and :meth:`TrainConfig.changed`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.common.errors import InputError, unknown_name
from calibration.common.files import read_json, read_toml
from calibration.common.success import GOALS, SCOPES, check_threshold
from calibration.sheet.layout import CUTS
from calibration.sheet.road_signs import sign_name
from physpatch.records.data_columns import Columns
from physpatch.records.eot_config import EotConfig, newer_key
from physpatch.records.patch_file import check_grid
from physpatch.transforms import DEFAULT_PRESET, parameters

if TYPE_CHECKING:
    from pydantic import TypeAdapter

NAMED_DATA = ("samples", "imagenette")  # photographs that are known by name
PRECISIONS = ("auto", "float32", "bfloat16")
OBJECT_SOURCES = ("auto", "drawn", "labels")  # auto: drawn if it is one of the signs
FINER_GRID = (
    20  # rows and columns that reach far more than the default does (docs/results.md: success on paper by grid)
)
_FINER_SMALLEST = 0.5  # of the nominal side, at which finer cells can still be read
RANDOM_STARTS = {"random": 1.0, "dark": 0.3}  # names of random cells to begin with, and their brightest value
MOST_SEED = 2**31 - 1  # so that offsets and products of it fit into what libraries take
_FARTHEST_BESIDE = 1.5  # largest distance from an object's edge, in its sizes
_OLD_NAMES = {"also": "ensemble"}  # names in the flat records of earlier versions
_SINGLE_BEFORE = (
    "imitate",
    "start",
)  # settings of the optimisation that were a name or None before there could be several
_SETTINGS_BEFORE = {"cut": "square", "recognised": 0.0}  # what records mean that are older than these settings


def _named(option: str, default: Any) -> Any:
    """Declare a setting whose short name differs from its name in its section."""
    return field(default=default, metadata={"option": option})


@dataclass(frozen=True)
class VictimConfig:
    """The networks to attack, and the device that they run on.

    Attributes:
        model: a name from ``physpatch models``, or a file.
        ensemble: further models, to fool at the same time.
        weights: a weights file for ``model``, instead of the published weights.
        labels: the class names of ``model``: a file, imagenet or coco.
        cam_layer: name of the layer of ``model`` for Grad-CAM; None for the one that is found.
        defences: that the attacker knows; the networks are attacked behind each of them. ``none`` stands for no defence,
            to attack the bare networks as well.
        threshold: the lowest confidence, between 0 and 1, at which an answer of ``model`` counts; None for its own.
        trust_weights: let weights files run the code in them.
        precision: of :data:`PRECISIONS`; auto is bfloat16 on a GPU, and float32 on the CPU, where bfloat16 is slower.
        device: auto, cpu or cuda.
    """

    model: str = "auto"
    ensemble: tuple[str, ...] = ()
    weights: str | None = None
    labels: str | None = None
    cam_layer: str | None = None
    defences: tuple[str, ...] = ()
    threshold: float | None = None
    trust_weights: bool = False
    precision: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_name("precision", self.precision, PRECISIONS)
        check_threshold(self.threshold)

    @property
    def model_options(self) -> dict[str, Any]:
        """Return what loading ``model`` takes beside its name, as for :func:`physpatch.victims.registry.load_victim`."""
        return {name: getattr(self, name) for name in ("weights", "labels", "cam_layer", "threshold")}


@dataclass(frozen=True)
class DataConfig:
    """The photographs for training and evaluation.

    Attributes:
        source: samples, imagenette, a folder or a table.
        columns: names of a table's columns, see :class:`physpatch.records.data_columns.Columns`; None for the usual ones.
        limit: the largest number of photographs.
        held_out: the share that is held out for evaluation, between 0 and 1.
        recognised: the share of views in which a classifier must recognise a training photograph behind a grey patch, 0 to 1;
            others are left out, as they do not count. 0 keeps all.
        backgrounds: a folder of a session's scenes, about as frequent in a batch as other photographs.
    """

    source: str = _named("data", "samples")
    columns: str | None = None
    limit: int = 2000
    held_out: float = 0.5
    recognised: float = 0.5
    backgrounds: str | None = None

    def __post_init__(self) -> None:
        Columns.parse(self.columns)
        _check_at_least_1("limit", self.limit)
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out {self.held_out} out of range; expected a share between 0 and 1")
        if not 0 <= self.recognised <= 1:
            raise InputError(f"recognised {self.recognised} out of range; expected a share, 0 to 1")


@dataclass(frozen=True)
class PatchConfig:
    """The patch.

    Attributes:
        grid: rows and columns of cells.
        area: the share of the image that a patch without an object covers, 0.001 to 0.9.
        cut: how it is shown without an object: on its ``sheet``, with margin and markers, or cut out as a ``square`` or
            ``circle``.
    """

    grid: tuple[int, int] = (10, 10)
    area: float = 0.15
    cut: str = "sheet"

    def __post_init__(self) -> None:
        check_grid(self.grid)
        _check_image_share("area", self.area)
        _check_name("cut", self.cut, CUTS)


@dataclass(frozen=True)
class ObjectConfig:
    """The object that carries the patch, for a detector.

    Attributes:
        name: one of the detector's classes; None for a patch without an object.
        origin: one of :data:`OBJECT_SOURCES`: drawn as a sign, or labelled with boxes in the data.
        sign_area: the share of the image that the square around a drawn sign covers, 0.001 to 0.9.
        share: the share of a sign's area, or of a labelled box, that the patch covers, 0.01 to 0.8.
        at: the patch's centre, across and down, as shares of the object's box.
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
        _check_place(self.at)

    @property
    def drawn_sign(self) -> str | None:
        """Return the sign that is drawn to carry the patch; None for none."""
        if self.name is None or self.origin == "labels":
            return None
        return self.name if self.origin == "drawn" or sign_name(self.name) is not None else None

    @property
    def labelled(self) -> str | None:
        """Return the class whose labelled boxes carry the patch; None for a drawn sign, or without an object."""
        return None if self.drawn_sign is not None else self.name


@dataclass(frozen=True)
class ObjectiveConfig:
    """The intended effect of the patch.

    Attributes:
        target: a class by name or index, or the name of a rule that chooses one, such as auto or none.
        goal: the effect on a detector; see :data:`calibration.common.success.GOALS`.
        scope: where it counts; see :data:`calibration.common.success.SCOPES`.
        loss: name of the loss to minimise.
        worst: the share of each batch, with the highest losses, whose mean is minimised, above 0; 1 is the whole batch.
        group_dro: the step size by which printing conditions with higher losses gain weight (group distributionally robust
            optimisation); 0 weighs all alike.
        nps: weight of the penalty on non-printable colours.
        tv: weight of the penalty on total variation over the cells.
    """

    target: str = "auto"
    goal: str = "auto"
    scope: str = "patch"
    loss: str = _named("objective", "cross-entropy")
    worst: float = 1.0
    group_dro: float = 0.0
    nps: float = 0.0
    tv: float = 0.0

    def __post_init__(self) -> None:
        _check_name("goal", self.goal, GOALS)
        _check_name("scope", self.scope, SCOPES)
        if not 0 < self.worst <= 1:
            raise InputError(f"worst {self.worst} out of range; expected a share of the batch, above 0 and up to 1")
        if not 0 <= self.group_dro <= 1:
            raise InputError(f"group_dro {self.group_dro} out of range; expected a step size from 0 to 1, such as 0.01")
        if self.worst < 1 and self.group_dro:
            raise InputError("worst and group_dro both say which views count most; use one of them")
        for name in ("nps", "tv"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"the weight {name} must be 0 or above, got {getattr(self, name)}")


@dataclass(frozen=True)
class OptimisationConfig:
    """The optimisation of the patch.

    Attributes:
        technique: name of the technique that updates the cells.
        transfer: names of the methods that disturb scenes and networks, so that the patch fools other networks as well.
        imitate: networks that learn to answer like the victims and whose gradients are taken in turns, so that these are asked
            for predictions alone; empty for the victims' own gradients.
        start: what the first of the starts begin with: names of :data:`RANDOM_STARTS`, or runs' folders or patch files; all
            others begin with random cells of all colours.
        learning_rate: the step size; None for the technique's default.
        steps, batch: number of steps, and of photographs per step.
        queries: where victims are asked for predictions alone, the number of images that each may be shown; it replaces
            ``steps``.
        restarts: least number of starts to try before the best one continues.
        trial: share of the steps for which each of several starts is tried; 1 trains each to its end.
        seed: of all random numbers.
    """

    technique: str = "pgd"
    transfer: tuple[str, ...] = ()
    imitate: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    learning_rate: float | None = None
    steps: int = 1000
    batch: int = 16
    queries: int | None = None
    restarts: int = 1
    trial: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _SINGLE_BEFORE:
            object.__setattr__(self, name, _several(getattr(self, name)))
        for name in ("steps", "batch", "restarts"):
            _check_at_least_1(name, getattr(self, name))
        if self.queries is not None:
            _check_at_least_1("queries", self.queries)
        if not 0 <= self.seed <= MOST_SEED:
            raise InputError(f"seed {self.seed} out of range; expected 0 to {MOST_SEED}")
        if not 0 < self.trial <= 1:
            raise InputError(f"the share of the steps of a trial must be above 0 and at most 1, got {self.trial}")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning rate must be positive, got {self.learning_rate}")

    @property
    def starts(self) -> int:
        """Return the number of starts to try."""
        return max(self.restarts, len(self.start))

    @property
    def start_patches(self) -> tuple[str, ...]:
        """Return the runs' folders and patch files among what the starts begin with."""
        return tuple(name for name in self.start if name not in RANDOM_STARTS)

    def check_starts(self) -> None:
        """Check that there are several starts to try, if a trial is set, and that they do not share a budget of queries.

        What imitates the victims goes on learning from trial to trial, so that its starts may share one.

        Raises:
            InputError: they share one, or there is only one start.
        """
        if self.starts == 1 and self.trial != OptimisationConfig.trial:
            raise InputError(
                "--trial is for several starts; give --restarts, or --start more than once, or leave it out"
            )
        if self.queries is not None and self.starts > 1 and not self.imitate:
            raise InputError(
                "where no network imitates the victim, queries are a budget for one start; leave out the others, or --restarts"
            )


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run. The command line has the same defaults.

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
    eot: EotConfig = field(default_factory=lambda: EotConfig.preset(DEFAULT_PRESET))
    profile: str | None = None

    @classmethod
    def of(cls, **settings: Any) -> "TrainConfig":
        """Create a config from settings by their short names, such as ``TrainConfig.of(steps=300, area=0.2)``.

        Without ``eot``, the ranges are :attr:`default_eot`.

        Raises:
            InputError: an unknown setting, or a value out of range.
        """
        config = cls().changed(**settings)
        return config if "eot" in settings else config.changed(eot=config.default_eot)

    @property
    def default_eot(self) -> EotConfig:
        """Return the ranges to train with where none are chosen: the default preset's, and smaller sizes for finer cells.

        A patch of :data:`FINER_GRID` rows or columns gains where it is small and loses nothing where it is large; one of ten
        loses (docs/results.md: success on paper by sizes). On an object, the preset's sizes stay.
        """
        eot = EotConfig.preset(DEFAULT_PRESET)
        finer = max(self.patch.grid) >= FINER_GRID and self.object.name is None
        return eot.changed(scale=(_FINER_SMALLEST, eot.scale[1])) if finer else eot

    def changed(self, **settings: Any) -> "TrainConfig":
        """Replace settings by their short names; ``eot`` and ``profile`` are replaced as a whole.

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

    def anchored(self) -> "TrainConfig":
        """Name files by their absolute paths, so that they are found from other folders; other names stay as they are."""
        victim, data = self.victim, self.data
        return self.changed(
            model=model_file(victim.model),
            ensemble=tuple(map(model_file, victim.ensemble)),
            imitate=tuple(map(model_file, self.optimisation.imitate)),
            weights=victim.weights and absolute(victim.weights),
            labels=victim.labels and labels_file(victim.labels),
            data=data.source if data.source in NAMED_DATA else absolute(data.source),
            columns=Columns.absolute(data.columns),
        )

    def setting(self, name: str) -> Any:
        """Return a setting by its short name."""
        section, key = SETTINGS[name]
        return getattr(getattr(self, section), key)

    def to_dict(self) -> dict[str, Any]:
        """Convert the config to JSON values, section by section."""
        sections = {name: asdict(getattr(self, name)) for name in SECTIONS}
        return sections | {"eot": self.eot.to_dict(), "profile": self.profile}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TrainConfig":
        """Restore a config from :meth:`to_dict`, or from the flat settings by short names of earlier versions.

        Raises:
            InputError: an unknown key, or a value of the wrong type.
        """
        if not isinstance(value, Mapping):
            raise _unreadable(f"expected a table of settings, got {value!r:.60}")
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
        for name in _SINGLE_BEFORE:
            by_section["optimisation"][name] = _several(by_section["optimisation"].get(name))
        if "area" in value and "sign_area" not in by_section["object"]:
            _give_area_to_sign(by_section)
        for name, setting in _SETTINGS_BEFORE.items():
            section, section_key = SETTINGS[name]
            by_section[section].setdefault(section_key, setting)
        sections: dict[str, Any] = {name: _section(name, content) for name, content in by_section.items()}
        try:
            eot = EotConfig.from_dict(own.get("eot", {}))
        except KeyError as error:
            raise _unreadable(f"[eot]: {error} is missing in a print") from error
        except (TypeError, AttributeError, ValueError, ArithmeticError) as error:
            raise _unreadable(f"[eot]: {error}") from error
        profile = own.get("profile")
        if profile is not None and not isinstance(profile, str):
            raise _unreadable(f"profile: expected the SHA-256 of a rig profile, got {profile!r:.60}")
        return cls(**sections, eot=eot, profile=profile)

    @classmethod
    def load(cls, path: Path, **changes: Any) -> "TrainConfig":
        """Read settings from a TOML file, or those in a ``run.json`` or a run's ``patch.json``, and change some of them.

        A TOML file may leave out settings that keep their defaults. Its table ``[eot]`` may have ``preset``, the name of a
        preset or none, besides ranges; missing ranges are the preset's, or without one :attr:`default_eot`'s.

        Raises:
            InputError: no such file, invalid TOML or JSON, an unknown key, or an unusable value.
        """
        if path.suffix.lower() == ".toml":
            return cls._from_toml(path, changes)
        value = read_json(path, cure="give a file of settings that ends in .toml, or a run.json or patch.json")
        if isinstance(value, dict) and isinstance(value.get("provenance"), dict):
            value = value["provenance"]
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            value = value["config"]
        return _of_file(path, value).changed(**changes)

    @classmethod
    def _from_toml(cls, path: Path, changes: Mapping[str, Any]) -> "TrainConfig":
        value = _read_settings(path)
        named = _names_in(path, value)
        ranges = value.pop("eot", {})
        preset = ranges.pop("preset", None)
        for name in (*_SETTINGS_BEFORE, "sign_area"):  # a file that someone wrote has today's defaults
            if name not in named:
                value[name] = TrainConfig().setting(name)
        if preset is None:
            base = _of_file(path, value).changed(**changes).default_eot
        else:
            base = EotConfig.none() if preset == "none" else EotConfig.preset(str(preset))
        return _of_file(path, value | {"eot": base.to_dict() | ranges}).changed(**changes)


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
"""The section of each setting and its name there, by its short name, that of the command line."""


def settings_named(path: Path) -> set[str]:
    """List the settings in a TOML file by their short names; none in other files, which name all that there were.

    Raises:
        InputError: no such file, invalid TOML, or a key that is no setting and no range.
    """
    return _names_in(path, _read_settings(path)) if path.suffix.lower() == ".toml" else set()


def _read_settings(path: Path) -> dict[str, Any]:
    return read_toml(path, "see “Settings in a file” in the documentation")


def _names_in(path: Path, value: Mapping[str, Any]) -> set[str]:
    """Check the keys of a TOML file's content, and list the settings by their short names."""
    ranges = value.get("eot", {})
    if not isinstance(ranges, dict):
        raise InputError(f"{path}: eot must be a table, [eot], with a preset and ranges")
    named: set[str] = set()
    try:
        for key, content in value.items():
            if key in SECTIONS and isinstance(content, dict):
                short = {key_there: name for name, (section, key_there) in SETTINGS.items() if section == key}
                for key_there in content:
                    _check_name(f"setting in [{key}]", key_there, short)
                named |= {short[key_there] for key_there in content}
            elif key not in ("eot", "profile"):
                name = _OLD_NAMES.get(key, key)
                _check_name("setting", name, (*SETTINGS, *SECTIONS, "eot"))
                named.add(name)
        for name in ranges.keys() - {"preset", "prints"}:
            _check_name("EOT range", name, parameters())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return named


def _of_file(path: Path, value: Any) -> TrainConfig:
    try:
        return TrainConfig.from_dict(value)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _section(name: str, values: Mapping[str, Any]) -> Any:
    """Create a section from a file's values, after checking keys and types."""
    kind = SECTIONS[name]
    unknown = sorted(values.keys() - {setting.name for setting in fields(kind)})
    if unknown:
        raise newer_key(unknown[0], kind)
    from pydantic import ValidationError  # here, because it would slow down the start of every command

    try:
        return _validator(name).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (name, *first["loc"])))
        raise _unreadable(f"{key}: {first['msg'].lower()}, got {first['input']!r:.60}") from error


@cache
def _validator(section: str) -> "TypeAdapter[Any]":
    """Build the check of a section's values, once: it takes far longer than to use it."""
    from pydantic import TypeAdapter

    return TypeAdapter(SECTIONS[section])


def _several(content: Any) -> Any:
    """Read a single name, or None, as the tuple that it stands for; anything else stays as it is."""
    if content is None or isinstance(content, str):
        return (content,) if content else ()
    return content


def _unreadable(why: str) -> InputError:
    return InputError(f"the settings of this run cannot be read ({why})")


def _give_area_to_sign(by_section: dict[str, dict[str, Any]]) -> None:
    """Treat ``area`` as that of a drawn sign, as in records from before ``sign_area`` existed."""
    carrier: dict[str, Any] = {
        key: by_section["object"][key] for key in ("name", "origin") if key in by_section["object"]
    }
    if _section("object", carrier).drawn_sign is not None:
        by_section["object"]["sign_area"] = by_section["patch"].pop("area")


def _check_name(setting: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise unknown_name(setting, name, names)


def _check_at_least_1(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}")


def _check_image_share(name: str, value: float) -> None:
    if not 0.001 <= value <= 0.9:
        raise InputError(f"{name} {value} out of range; expected a share of the image, 0.001 to 0.9")


def absolute(path: str) -> str:
    """Make a path absolute, so that it is found from other folders.

    Links are kept, because the file behind one may have another suffix, as in the cache of the Hugging Face Hub.
    """
    return str(Path(path).absolute())


def model_file(name: str) -> str:
    """Make the path of a model's file :func:`absolute`; other names of models stay as they are."""
    return absolute(name) if Path(name).suffix and Path(name).is_file() else name


def labels_file(name: str) -> str:
    """Make the path of a file of labels :func:`absolute`; the name of known ones stays as it is."""
    return absolute(name) if Path(name).is_file() else name


def require_data(source: str) -> None:
    """Check that a source of photographs is ``samples``, ``imagenette`` or an existing folder or file.

    Raises:
        InputError: it is not.
    """
    if source not in NAMED_DATA and not Path(source).exists():
        raise InputError(
            f"no data folder {source!r}; expected samples, imagenette, a folder of images or a table of them"
        )


def parse_place(text: str) -> tuple[float, float]:
    """Parse ``0.5,0.6`` into shares of an object's width and height; below 0 or above 1 lies beside the object.

    Raises:
        InputError: not two shares, or too far from the object.
    """
    try:
        across, down = (float(share) for share in text.split(","))
    except ValueError:
        raise InputError(
            f"the place {text!r} is not understood; give two shares of the object's box, such as 0.5,0.5"
        ) from None
    _check_place((across, down))
    return across, down


def _check_place(at: tuple[float, float]) -> None:
    if len(at) != 2 or not all(-_FARTHEST_BESIDE <= share <= 1 + _FARTHEST_BESIDE for share in at):
        raise InputError(
            f"the place {','.join(map(str, at))!r} is too far from the object; expected two shares of its box, "
            f"{-_FARTHEST_BESIDE} to {1 + _FARTHEST_BESIDE}, where 0 to 1 lies on it"
        )
