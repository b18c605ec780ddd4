"""``physpatch train``."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from calibration.common.cli_types import FILE, FOLDER, JSON_OPTION
from calibration.common.console import output_json, progress_bar
from calibration.common.errors import InputError
from calibration.common.files import file_sha256, read_json
from physpatch.commands.options import (
    DEFAULT,
    OBJECT_SETTINGS,
    PRESET_OPTION,
    RANGE_OPTION,
    config_options,
    eot_config,
)
from physpatch.commands.results import show_results, training_progress
from physpatch.commands.workflows import Workflows
from physpatch.records.config import TrainConfig
from physpatch.records.run_paths import find_run
from physpatch.transforms import Range

_BESIDE_RESUME = {"resume", "out", "json_out"}  # what may be given beside --resume, with --steps


@click.command()
@click.option(
    "--eot/--no-eot",
    default=True,
    help="Random view, bend, light, blur, noise, tone and JPEG; without it only the place is random. Default: --eot.",
)
@PRESET_OPTION
@RANGE_OPTION
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT.victim.model,),
    show_default=True,
    metavar="NAME|FILE",
    help="The victim; see `physpatch models`. Repeated: all are fooled at once.",
)
@config_options("weights", "trust_weights", "data", "target", "technique", "objective", "nps", "tv", "restarts")
@config_options("precision", "learning_rate", "grid", "area", *OBJECT_SETTINGS, "steps", "batch", "seed", "device")
@click.option("--out", type=FOLDER, metavar="RUN", help="The run's folder. Default: a new one under runs/.")
@click.option(
    "--config",
    "config_file",
    type=FILE,
    metavar="FILE.toml|RUN.json",
    help="Settings from a file, or those of an earlier run's run.json; options given here replace them.",
)
@click.option(
    "--profile",
    type=FILE,
    metavar="RIG.json",
    help="Train for a measured printer and camera: `physpatch calibrate`.",
)
@click.option(
    "--from-session",
    type=FOLDER,
    metavar="SESSION",
    help="Train for what a session saw: its angles, sizes, colours, light, blur and scenes. All else is as in the run that "
    "was shown there, but for what is given here.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run: RUN given by --out, or the latest.")
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
    profile: Path | None,
    from_session: Path | None,
    out: Path | None,
    resume: bool,
    json_out: str | None,
    **settings: Any,
) -> None:
    """Train a patch and measure it on held-out photographs.

    \b
    physpatch train --eot
    physpatch train --eot --model efficientnet_lite0 --target "French horn" --steps 300
    physpatch train --no-eot --technique static --target none --data photos/
    physpatch train --from-session sessions/20260101-120000
    physpatch train --config runs/latest/run.json --steps 500
    """
    from physpatch.training.run import resume_run, train_run

    with progress_bar("training") as bar:
        progress = training_progress(bar)
        if resume:
            steps = _only_steps_given(context)
            folder = resume_run(find_run(str(out) if out else None), steps=steps, progress=progress, say=bar.say)
        else:
            settings |= {"model": models[0], "ensemble": models[1:]}
            given = {name: value for name, value in settings.items() if name in _given(context)}
            if from_session is None:
                config = DEFAULT if config_file is None else TrainConfig.load(config_file)
                if not eot or preset or profile:  # a profile's ranges end with the ranges
                    config = config.changed(profile=None if profile is None else file_sha256(profile))
                config = config.changed(**given, eot=eot_config(eot, preset, ranges, profile, config.eot))
            elif not eot or profile is not None or config_file is not None:
                raise InputError(
                    "--from-session has its own settings, ranges and colours; it takes no --config, --no-eot or --profile"
                )
            else:
                config = Workflows.of(context).config_from_session(from_session, given, preset, bar.say)
                config = config.changed(eot=config.eot.with_ranges(ranges))
            _refuse_area_on_sign(config, given)
            folder = train_run(config, out, mark_latest=True, progress=progress, say=bar.say)
    if folder is not None:  # else one of several processes; the first shows
        _show_run(folder, json_out)


def _refuse_area_on_sign(config: TrainConfig, given: dict[str, Any]) -> None:
    if config.object.drawn_sign is not None and "area" in given:
        raise InputError(
            "--area is the share of the image of a patch by itself; on a drawn sign --sign-area says how large the "
            "sign's square is, and --object-share how much of the sign the patch"
        )


def _only_steps_given(context: click.Context) -> int | None:
    """Return --steps, where it is given: a resumed run keeps its other settings."""
    given = _given(context)
    for parameter in context.command.params:
        if parameter.name in given - _BESIDE_RESUME - {"steps"}:
            raise InputError(
                f"--resume keeps the run's own settings; {parameter.opts[0]} cannot be changed, only --steps"
            )
    return context.params["steps"] if "steps" in given else None


def _given(context: click.Context) -> set[str]:
    """Name the settings that were given on the command line; of models all that they are in a config."""
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return given | ({"model", "ensemble"} if "models" in given else set())


def _show_run(folder: Path, json_out: str | None) -> None:
    record = read_json(folder / "run.json")
    if json_out != "-":
        results = dict(record["results"])
        show_results({record["weights"]["model"]: results} | results.pop("others", {}))
        click.echo(f"run: {folder}")
    output_json(json_out, record["results"])
