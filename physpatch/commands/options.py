"""Options shared by several commands. An option for a setting of ``TrainConfig`` has its default from there."""

from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from calibration.colour.colour_map import Print
from calibration.common.cli_types import TextType, run_argument
from calibration.common.errors import InputError, unknown_name
from calibration.common.success import GOALS, SCOPES
from calibration.sheet.layout import CUTS
from calibration.sheet.road_signs import SIGNS
from physpatch.records.config import FINER_GRID, OBJECT_SOURCES, PRECISIONS, TrainConfig, parse_place
from physpatch.records.data_columns import Columns
from physpatch.records.eot_config import EotConfig, parse_range
from physpatch.records.patch_file import parse_grid
from physpatch.records.run_paths import RUNS_FOLDER
from physpatch.transforms import DEFAULT_PRESET, PRESETS, Range, parameters

DEFAULT = TrainConfig()

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]


def declared(kind: str) -> tuple[str, ...]:
    """List the names of extensions without importing them: their registry would load torch, which takes seconds."""
    from calibration.common.registry import declared_names

    return declared_names(f"physpatch.{kind}", f"physpatch.{kind.rpartition('.')[2]}")


def extension(words: str, kind: str, *special: str) -> TextType:
    """Make the type of an option that names an extension, checked before its registry is imported.

    Args:
        words: the kind, for error messages: ``technique``.
        kind: the package of the extensions, within physpatch.
        special: further values.
    """

    def names() -> tuple[str, ...]:
        return (*declared(kind), *special)

    def known(name: str) -> str:
        known_names = names()
        if name not in known_names:
            raise unknown_name(words, name, known_names)
        return name

    return TextType(words, known, names)


def or_list(module: str, registry: str, more: Callable[[Any], str] = lambda _: "") -> Callable[..., Any]:
    """Make an option's callback that prints a registry's classes for ``list``, with what ``more`` says, and ends the command.

    The registry is named because importing it would load torch, which takes seconds.
    """

    def callback(context: click.Context, _: click.Parameter, given: Any) -> Any:
        if given == "list" or (isinstance(given, tuple) and "list" in given):
            for name, kind in getattr(import_module(module), registry).items():
                click.echo(f"{name:15} {kind.summary}{more(kind)}")
            context.exit()
        return given

    return callback


def _learning_rate(technique: Any) -> str:
    return f" (learning rate {technique.default_learning_rate:g})"


def _known_logs(_context: click.Context, _: click.Parameter, logs: tuple[str, ...]) -> tuple[str, ...]:
    if logs:
        from physpatch.records.run_logs import require_logs

        require_logs(logs)
    return logs


def _checked_columns(text: str) -> str:
    Columns.parse(text)
    return text


DATA = TextType("data", suggest=lambda: ("samples", "imagenette"), files=True)
TARGET = TextType("target", suggest=lambda: declared("training.targets"))

# click's arguments for each setting, except for its name and default.
_SETTINGS: dict[str, dict[str, Any]] = {
    "model": {},
    "weights": {
        "type": click.Path(dir_okay=False),
        "help": "Weights file for that model, instead of the published weights.",
    },
    "labels": {
        "type": TextType("labels", suggest=lambda: ("imagenet", "coco"), files=True),
        "metavar": "FILE|imagenet|coco",
        "help": "Names of the model's classes, in order: text, JSON or YAML.",
    },
    "cam_layer": {
        "metavar": "NAME",
        "help": "Layer for Grad-CAM; `physpatch models --check` measures several, and names the most faithful one.",
    },
    "threshold": {
        "type": click.FloatRange(0, 1, min_open=True, max_open=True),
        "metavar": "CONFIDENCE",
        "help": "Lowest confidence at which an answer counts: a detector's boxes (default 0.25), or a classifier's top class "
        "(default: always).",
    },
    "trust_weights": {
        "is_flag": True,
        "show_default": False,
        "help": "Let weights files run the code in them. Use it only for your own files.",
    },
    "data": {
        "type": DATA,
        "metavar": "samples|imagenette|DIR|FILE",
        "help": "Photographs for training and evaluation: folders and tables in many formats, see the documentation.",
    },
    "columns": {
        "type": TextType("columns", _checked_columns, lambda: ("file=", "label=", "clip=", "objects=", "folder=")),
        "metavar": "file=NAME,label=NAME",
        "help": "Columns of --data, if it is a table; also clip=NAME, objects=NAME, and folder=DIR that its paths start "
        "from.",
    },
    "recognised": {
        "help": "Share of views in which the victim must recognise a training photograph behind a grey patch; others are left "
        "out, because success is not counted on them. 0 keeps all.",
    },
    "target": {
        "type": TARGET,
        "metavar": "NAME|INDEX|auto|none",
        "help": "Class that the victim should answer; none is untargeted.",
    },
    "technique": {
        "type": extension("technique", "techniques", "list"),
        "metavar": "NAME|list",
        "help": "How the cells are optimised; list shows all techniques.",
        "callback": or_list("physpatch.techniques", "TECHNIQUES", _learning_rate),
    },
    "transfer": {
        "type": extension("transfer method", "attack.transfer", "list"),
        "multiple": True,
        "metavar": "NAME|list",
        "show_default": False,
        "help": "Disturb scenes or networks while training, so that the patch fools other networks too; list shows all "
        "methods. Can be repeated.",
        "callback": or_list("physpatch.attack.transfer", "TRANSFERS"),
    },
    "imitate": {
        "multiple": True,
        "metavar": "NAME|FILE",
        "show_default": False,
        "help": "Ask the victim for predictions alone, and take the gradients of this network, which learns to answer like it. "
        "For models without gradients, and to see what an attacker with similar networks can do. Can be repeated: several "
        "networks take turns.",
    },
    "start": {
        "multiple": True,
        "metavar": "RUN|PATCH|random|dark",
        "show_default": False,
        "help": "Begin with the cells of a run or patch file, such as one for a similar network, or with random cells that are "
        "dark, instead of random ones of all colours. Can be repeated: each is tried for a share of the steps (--trial), and "
        "the best one continues.",
    },
    "queries": {
        "type": int,
        "metavar": "N",
        "help": "For techniques without gradients, and with --imitate: the number of images to show to the victim, instead of "
        "--steps.",
    },
    "objective": {
        "type": extension("objective", "attack.objectives"),
        "metavar": "cross-entropy|margin|logit|answer|vanish|dpatch|t-sea",
        "help": "Loss to minimise; margin is Carlini and Wagner's, answer is for models that say nothing but their answer, "
        "vanish leaves a hidden object no box of any class, dpatch and t-sea are published ones for detectors.",
    },
    "worst": {
        "help": "Share of each batch, with the highest losses, whose mean is minimised instead of that of all views (CVaR); 1 "
        "is all.",
    },
    "group_dro": {
        "type": float,
        "metavar": "RATE",
        "help": "Step size by which printing conditions with higher losses gain weight, such as 0.01 (group DRO); 0 weighs all "
        "alike.",
    },
    "nps": {"help": "Weight of the penalty on non-printable colours."},
    "tv": {"help": "Weight of the penalty on total variation over the cells."},
    "restarts": {
        "help": "Number of starts to try, each for a share of the steps (--trial); the one of lowest loss in new views "
        "continues, or in its own steps where the victim is asked for predictions alone.",
    },
    "trial": {
        "help": "Share of the steps for which each of several starts is tried; 1 trains each to its end and keeps the best.",
    },
    "precision": {"type": click.Choice(PRECISIONS), "help": "Number format of the victim; auto is bfloat16 on a GPU."},
    "learning_rate": {"type": float, "help": "Step size; each technique has its own default."},
    "grid": {
        "type": TextType("grid", parse_grid),
        "default": "x".join(map(str, DEFAULT.patch.grid)),
        "metavar": "RxC",
        "help": "Rows and columns of cells.",
    },
    "area": {
        "help": "Share of the image that a patch without an object covers. For a drawn sign: --sign-area, --object-share.",
    },
    "cut": {
        "type": click.Choice(CUTS),
        "help": "How a patch without an object is shown: on its sheet, with margin and markers, or cut out of it.",
    },
    "object": {
        "type": TextType("object", suggest=lambda: (name.replace(" ", "-") for name in SIGNS)),
        "metavar": "SIGN|CLASS",
        "help": "Object that carries the patch, for a detector: a sign such as stop, yield or no-entry (--model signs), or a "
        "class labelled with boxes in the data, such as person or car.",
    },
    "object_from": {
        "type": click.Choice(OBJECT_SOURCES),
        "help": "Whether the object is drawn into the photographs or labelled in them; auto draws signs.",
    },
    "sign_area": {"help": "Share of the image that the square around a drawn sign covers."},
    "object_share": {"help": "Share of the sign's area, or of the object's box, that the patch covers."},
    "object_at": {
        "type": TextType("place", parse_place),
        "default": ",".join(map(str, DEFAULT.object.at)),
        "metavar": "X,Y",
        "help": "Centre of the patch, as shares of the object's width and height; below 0 or above 1 lies beside it.",
    },
    "goal": {
        "type": click.Choice(GOALS),
        "help": "Effect on a detector. hide: not detect the object; relabel: detect it as --target; appear: detect --target at "
        "the patch. auto is hide without a target, relabel with one, appear without an object.",
    },
    "scope": {
        "type": click.Choice(SCOPES),
        "help": "Where the effect counts: at the patch and its object, or anywhere in the image.",
    },
    "steps": {"metavar": "N", "help": "Number of steps of the training."},
    "batch": {"help": "Number of photographs per step."},
    "limit": {"help": "Largest number of photographs."},
    "seed": {"metavar": "N", "help": "Of everything random: the same seed gives the same result."},
    "device": {"type": click.Choice(["auto", "cpu", "cuda"]), "help": "Where the networks run; auto prefers a GPU."},
}

OBJECT_SETTINGS = ("object", "object_from", "sign_area", "object_share", "object_at", "goal", "scope")


def config_option(name: str, *parameter: str, **changes: Any) -> Decorator:
    """Declare the option of one setting of ``TrainConfig``.

    Args:
        name: the setting's short name, from which the option's name is made.
        parameter: the parameter's name, if it differs, as for an option that can be repeated.
        changes: click's arguments that differ from :data:`_SETTINGS`.
    """
    settings = {"default": DEFAULT.setting(name), "show_default": True} | _SETTINGS[name] | changes
    return click.option(f"--{name.replace('_', '-')}", *parameter, **settings)


def config_options(*names: str) -> Decorator:
    """Declare the options of several settings, in the order of the help."""

    def declare(command: Command) -> Command:
        for name in reversed(names):
            command = config_option(name)(command)
        return command

    return declare


def _defence_option(special: str, description: str) -> Decorator:
    """Declare --defence; ``special`` is a value besides the names."""
    return click.option(
        "--defence",
        "defences",
        multiple=True,
        type=extension("defence", "defences", special, "list"),
        metavar=f"NAME|{special}|list",
        help=description,
        callback=or_list("physpatch.defences", "DEFENCES"),
    )


RUN_ARGUMENT = run_argument(RUNS_FOLDER)
DEVICE_OPTION = config_option("device")
TRUST_OPTION = config_option("trust_weights")
LOG_OPTION = click.option(
    "--log",
    "logs",
    multiple=True,
    type=TextType("log", suggest=lambda: declared("records.run_logs")),
    metavar="mlflow|wandb|tensorboard[=DIR]",
    help="Also log for this tool, in files here (nothing is uploaded): in the run's or session's folder, or in DIR. Can be "
    "repeated.",
    callback=_known_logs,
)
DEFENCE_OPTION = _defence_option("all", "Also measure the victim behind a defence; list shows all. Can be repeated.")
KNOWN_DEFENCE_OPTION = _defence_option(
    "none", "Attack the victim behind a defence; list shows all. Repeated, behind each; none stands for no defence."
)


def _preset_option(default: str) -> Decorator:
    return click.option(
        "--preset",
        type=TextType("preset", suggest=lambda: PRESETS),
        metavar="|".join(PRESETS),
        help=f"Ranges of the transformations. Default: {default}.",
    )


PRESET_OPTION = _preset_option(DEFAULT_PRESET)
MEASURING_PRESET_OPTION = _preset_option(f"as in training; {DEFAULT_PRESET} with --eot")
TRAIN_PRESET_OPTION = _preset_option(
    f"{DEFAULT_PRESET}, with smaller sizes for {FINER_GRID}x{FINER_GRID} cells and more"
)
RANGE_OPTION = click.option(
    "--range",
    "ranges",
    multiple=True,
    type=TextType("range", parse_range, lambda: (f"{name}=" for name in parameters())),
    metavar="NAME=LOW:HIGH",
    help="Replace a range of the preset, such as blur_px=0:2. Can be repeated.",
)


def eot_config(
    eot: bool,
    preset: str | None,
    ranges: Iterable[tuple[str, Range]] = (),
    profile: Path | None = None,
    base: EotConfig = DEFAULT.eot,
    printing: tuple[Print, ...] | None = None,
) -> EotConfig:
    """Create the ranges for --eot, --preset, --range and --profile, starting from the preset or else from ``base``.

    ``printing`` are the conditions of --condition and --icc, which replace the colours of ``base``; empty for a screen's.

    Raises:
        InputError: one of them with --no-eot, no such preset, a profile without colours, or one with printing conditions.
    """
    colours = ("--condition or --icc", printing)
    for name, value in (("--preset", preset), ("--range", ranges), ("--profile", profile), colours):
        if value not in (None, (), "") and not eot:
            raise InputError(f"--no-eot cannot be combined with {name}")
    if not eot:
        return EotConfig.none()
    if preset:
        base = EotConfig.preset(preset)
    if printing is not None:
        if profile is not None:
            raise InputError(
                "--profile has the colours of one printer; leave out --condition and --icc, or train without it"
            )
        base = base.changed(prints=printing)
    if profile is not None:
        from calibration.colour.rig_profile import RigProfile
        from physpatch.rendering.rig_ranges import eot_for_rig

        base = eot_for_rig(base, RigProfile.load(profile))
    return base.with_ranges(ranges)


def own_colours(eot: EotConfig) -> tuple[Print, ...] | None:
    """Return the colours that a preset, which has ranges alone, leaves as they are; None without any transformation."""
    return None if eot == EotConfig.none() else eot.prints


def refuse_ignored(config: TrainConfig, given: Collection[str]) -> None:
    """Refuse the ``given`` settings of the patch and its object that would have no effect.

    Raises:
        InputError: there is one; the message says what it is for.
    """
    carried = config.object
    if carried.drawn_sign is not None and "area" in given:
        raise InputError(
            "--area is for a patch without an object; on a drawn sign, --sign-area sets the size of the sign's square, and "
            "--object-share the patch's share of the sign"
        )
    for name in ("area", "cut") if carried.name is not None else ():
        if name in given:
            raise InputError(f"--{name} is for a patch without an object; leave it out, or leave out --object")
    for name in ("object_from", "object_share", "object_at", "sign_area") if carried.name is None else ():
        if name in given:
            raise InputError(f"--{name.replace('_', '-')} is for a patch on an object; give --object, too")
    if carried.labelled is not None and "sign_area" in given:
        raise InputError(
            "--sign-area is for a drawn sign; a labelled object has the size that it has in its photograph"
        )
