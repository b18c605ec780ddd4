"""``physpatch train``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.colour.options import ICC_OPTION, TRAINING_CONDITION_OPTION, chosen_prints
from calibration.common.cli_types import FILE, FOLDER, JSON_OPTION, given_options
from calibration.common.console import output_json, progress_bar, say
from calibration.common.errors import InputError
from calibration.common.files import file_sha256, require_writable
from calibration.common.lazy_group import GroupedCommand
from physpatch.commands.options import (
    DEFAULT,
    KNOWN_DEFENCE_OPTION,
    LOG_OPTION,
    OBJECT_SETTINGS,
    RANGE_OPTION,
    TRAIN_PRESET_OPTION,
    config_options,
    eot_config,
    own_colours,
    refuse_ignored,
)
from physpatch.commands.results import say_print_next, show_results, training_progress
from physpatch.commands.workflows import Workflows
from physpatch.records.config import FINER_GRID, TrainConfig, require_data, settings_named
from physpatch.records.eot_config import EotConfig
from physpatch.records.run_paths import RUNS_FOLDER, find_run
from physpatch.transforms import Range

if TYPE_CHECKING:
    from physpatch.records.run_record import RunRecord

_ENOUGH_ON_PAPER = 0.5
_BESIDE_RESUME = {"resume", "out", "logs", "json_out"}  # options that --resume allows, besides --steps
_GROUPS = {
    "What to fool": (
        "models",
        "weights",
        "labels",
        "threshold",
        "trust_weights",
        "defences",
        "target",
        "data",
        "columns",
        "recognised",
    ),
    "The patch and its object": ("grid", "area", "cut", *OBJECT_SETTINGS),
    "Views, print and camera": ("eot", "preset", "ranges", "conditions", "icc", "profile", "from_session"),
    "Optimisation": (
        "technique",
        "transfer",
        "imitate",
        "start",
        "steps",
        "queries",
        "batch",
        "learning_rate",
        "objective",
        "worst",
        "group_dro",
        "nps",
        "tv",
        "restarts",
        "trial",
        "precision",
        "seed",
        "device",
    ),
    "The run and its files": ("out", "resume", "config_file", "logs", "json_out", "cam_layer"),
}


@click.command(cls=GroupedCommand, groups=_GROUPS)
@click.option(
    "--eot/--no-eot",
    default=True,
    help="Train with random view, bend, light, blur, noise, tone and JPEG; --no-eot varies only the place. Default: --eot.",
)
@TRAIN_PRESET_OPTION
@RANGE_OPTION
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT.victim.model,),
    show_default=True,
    metavar="NAME|FILE",
    help="Victim to fool, see `physpatch models`. Repeat it to fool several at once.",
)
@config_options(
    "weights",
    "labels",
    "cam_layer",
    "threshold",
    "trust_weights",
    "data",
    "columns",
    "recognised",
    "target",
    "technique",
    "transfer",
    "objective",
    "worst",
    "group_dro",
    "nps",
    "tv",
    "restarts",
    "trial",
)
@config_options(
    "precision",
    "learning_rate",
    "grid",
    "area",
    "cut",
    *OBJECT_SETTINGS,
    "imitate",
    "start",
    "steps",
    "batch",
    "queries",
    "seed",
    "device",
)
@KNOWN_DEFENCE_OPTION
@click.option("--out", type=FOLDER, metavar="RUN", help="Folder of the run. Default: a new one under runs/.")
@click.option(
    "--config",
    "config_file",
    type=FILE,
    metavar="FILE.toml|RUN.json",
    help="Take settings from a file, or from an earlier run's run.json; options given here override them.",
)
@TRAINING_CONDITION_OPTION
@ICC_OPTION
@click.option(
    "--profile",
    type=FILE,
    metavar="RIG.json",
    help="Train for a printer and camera measured with `physpatch calibrate`.",
)
@click.option(
    "--from-session",
    type=FOLDER,
    metavar="SESSION",
    help="Train for the conditions of a session: its angles, sizes, colours, light, blur and scenes. Other settings are those "
    "of the run shown there, unless given here.",
)
@click.option("--resume", is_flag=True, help="Resume an interrupted run: the one given by --out, or the latest.")
@LOG_OPTION
@JSON_OPTION
@click.pass_context
def train(
    context: click.Context,
    /,
    eot: bool,
    preset: str | None,
    ranges: tuple[tuple[str, Range], ...],
    models: tuple[str, ...],
    config_file: Path | None,
    conditions: tuple[str, ...],
    icc: tuple[Path, ...],
    profile: Path | None,
    from_session: Path | None,
    out: Path | None,
    resume: bool,
    logs: tuple[str, ...],
    json_out: str | None,
    **settings: Any,
) -> None:
    """Train a patch and measure it on held-out photographs.

    \b
    physpatch train --eot
    physpatch train --eot --target "French horn" --steps 300
    physpatch train --no-eot --technique static --target none --data photos/
    physpatch train --from-session sessions/20260101-120000
    physpatch train --config runs/latest/run.json --steps 500
    """
    with progress_bar("training") as bar:
        progress = training_progress(bar)
        if resume:
            steps, resumed = _only_steps_given(context), find_run(str(out) if out else None)
            from physpatch.training.run import resume_run  # after the options are checked: it imports torch

            folder = resume_run(resumed, steps=steps, logs=logs, progress=progress, say=bar.say)
        else:
            printing = chosen_prints(conditions, icc)
            settings |= {"model": models[0], "ensemble": models[1:]}
            given_settings = {name: value for name, value in settings.items() if name in _given(context)}
            # No file can allow what runs code.
            given_settings = _one_length(given_settings) | {"trust_weights": settings["trust_weights"]}
            if from_session is None:
                config = (
                    TrainConfig.of(**given_settings)
                    if config_file is None
                    else TrainConfig.load(config_file, **given_settings)
                )
                # --eot asks for transformations, and a file that --no-eot made has none.
                base = config.default_eot if "eot" in _given(context) and config.eot == EotConfig.none() else config.eot
                # A preset replaces a file's ranges, and its colours only if they were measured together with these.
                kept = own_colours(base) if preset and profile is None and config.profile is None else None
                colours = kept if printing is None else printing
                config = config.changed(eot=eot_config(eot, preset, ranges, profile, base, colours))
                # New ranges or colours replace those of a profile.
                if not eot or preset or profile or printing is not None:
                    config = config.changed(profile=None if profile is None else file_sha256(profile))
            elif not eot or profile is not None or config_file is not None or printing is not None:
                raise InputError(
                    "--from-session sets its own settings, ranges and colours; leave out --config, --no-eot, --profile, "
                    "--condition and --icc"
                )
            else:
                config = Workflows.of(context).config_from_session(from_session, given_settings, preset, bar.say)
                config = config.changed(eot=config.eot.with_ranges(ranges))
            refuse_ignored(config, given_settings.keys() | (settings_named(config_file) if config_file else set()))
            config.optimisation.check_starts()
            require_data(config.data.source)
            require_writable(out or RUNS_FOLDER)  # before torch is imported, which takes seconds
            from physpatch.training.run import train_run
            from physpatch.victims.registry import require_known

            require_known((config.victim.model, *config.victim.ensemble, *config.optimisation.imitate))
            folder = train_run(
                config, out, mark_latest=True, logs=logs, progress=progress, choosing=bar.show, say=bar.say
            )
    if folder is not None:  # otherwise this is one of several processes, of which the first shows the results
        _show_run(folder, json_out)


def _one_length(given_settings: dict[str, Any]) -> dict[str, Any]:
    """Let the given steps or queries, of which either sets the length of a training, replace what a file says of the other."""
    if {"steps", "queries"} <= given_settings.keys():
        raise InputError("--steps and --queries each set the length of the training; give one of them")
    return given_settings | ({"queries": None} if "steps" in given_settings else {})


def _only_steps_given(context: click.Context) -> int | None:
    """Return --steps if given; a resumed run keeps its other settings.

    Raises:
        InputError: another setting is given.
    """
    given_names = _given(context)
    for parameter in context.command.params:
        if parameter.name in given_names - _BESIDE_RESUME - {"steps"}:
            raise InputError(
                f"--resume keeps the settings of the run; {parameter.opts[0]} cannot be changed, only --steps"
            )
    return context.params["steps"] if "steps" in given_names else None


def _given(context: click.Context) -> set[str]:
    """Name the settings given on the command line; --model stands for two settings."""
    given_names = given_options(context)
    return given_names | ({"model", "ensemble"} if "models" in given_names else set())


def _finer_grid_advice(record: "RunRecord") -> str | None:
    """Say which grid to print where a coarse one does not carry the target on paper; None where nothing is to be said."""
    config, results = record.train_config, record.results
    if results is None or not config.eot.prints or config.object.name is not None:
        return None
    reached = results.targeted_success.rate
    if reached is None or reached >= _ENOUGH_ON_PAPER or max(config.patch.grid) >= FINER_GRID:
        return None
    rows, columns = config.patch.grid
    return (
        f"on paper this patch reaches its target in {100 * reached:.0f} % of the views that count; {rows}x{columns} cells hold "
        f"little: --grid {FINER_GRID}x{FINER_GRID} reaches far more, at the same size and cost"
    )


def _show_run(folder: Path, json_out: str | None) -> None:
    from physpatch.records.run_record import RunRecord

    record = RunRecord.of(folder)
    if json_out != "-":
        show_results(record.measured)
        click.echo(f"run: {folder}")
        advice = _finer_grid_advice(record)
        if advice:
            say(advice)
        say_print_next(folder, record.train_config)
    output_json(json_out, record.results.to_dict() if record.results else {})
