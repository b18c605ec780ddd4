"""``physpatch evaluate``."""

from pathlib import Path

import click

from calibration.colour.options import ICC_OPTION, MEASURING_CONDITION_OPTION, chosen_prints
from calibration.common.cli_types import JSON_OPTION
from calibration.common.console import output_json, progress_bar, say_next
from calibration.common.errors import InputError
from calibration.common.lazy_group import GroupedCommand
from physpatch.commands.options import (
    DEFAULT,
    DEFENCE_OPTION,
    DEVICE_OPTION,
    LOG_OPTION,
    MEASURING_PRESET_OPTION,
    RANGE_OPTION,
    RUN_ARGUMENT,
    TRUST_OPTION,
    config_option,
    eot_config,
    own_colours,
)
from physpatch.commands.results import say_print_next, show_defences, show_results
from physpatch.records.config import MOST_SEED, require_data
from physpatch.records.run_config import load_run_config
from physpatch.records.run_paths import find_run, sheet_of
from physpatch.transforms import Range

_GROUPS = {
    "What to measure on": (
        "data",
        "columns",
        "models",
        "weights",
        "labels",
        "threshold",
        "cam_layer",
        "trust_weights",
        "defences",
    ),
    "Views, print and camera": ("eot", "preset", "ranges", "conditions", "icc", "seed", "device"),
    "Results": ("save", "logs", "json_out"),
}


@click.command(cls=GroupedCommand, groups=_GROUPS)
@RUN_ARGUMENT
@config_option(
    "data",
    default=None,
    help="Photographs, of which up to 2000 are used (a run's `limit`). Default: the held-out part of the run's own data.",
)
@config_option("columns")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FILE",
    help="Victim to measure on. Can be repeated. Default: the run's own.",
)
@config_option("weights", help="Weights file for the one model given.")
@config_option("labels", help="Class names of the one model given, or of the run's own: text, JSON or YAML.")
@config_option("threshold")
@config_option(
    "cam_layer", help="Layer for Grad-CAM of the one model given, or of the run's own; see `physpatch models --check`."
)
@TRUST_OPTION
@click.option(
    "--eot/--no-eot",
    default=None,
    help="Vary all transformations, or only the place. Default: as in training.",
)
@MEASURING_PRESET_OPTION
@RANGE_OPTION
@MEASURING_CONDITION_OPTION
@ICC_OPTION
@DEFENCE_OPTION
@DEVICE_OPTION
@click.option("--seed", type=click.IntRange(0, MOST_SEED), default=1, show_default=True, help="Seed of the poses.")
@click.option("--save", is_flag=True, help="Keep the results in an imported patch's run, for its report and `gate`.")
@LOG_OPTION
@JSON_OPTION
def evaluate(
    run: str | None,
    data: str | None,
    columns: str | None,
    models: tuple[str, ...],
    weights: str | None,
    labels: str | None,
    threshold: float | None,
    cam_layer: str | None,
    trust_weights: bool,
    eot: bool | None,
    preset: str | None,
    ranges: tuple[tuple[str, Range], ...],
    conditions: tuple[str, ...],
    icc: tuple[Path, ...],
    defences: tuple[str, ...],
    device: str,
    seed: int,
    save: bool,
    logs: tuple[str, ...],
    json_out: str | None,
) -> None:
    """Measure a patch against grey and random-colour controls.

    The controls are shown at the same poses as the patch.

    \b
    physpatch evaluate runs/latest --json -
    physpatch evaluate --model efficientnet_lite1 --model efficientnet_lite2
    physpatch evaluate --condition newspaper
    physpatch evaluate --range scale=0.1:0.4
    physpatch evaluate --defence all
    """
    if weights and len(models) != 1:
        raise InputError("--weights needs exactly one --model")
    for option, value in (("--labels", labels), ("--cam-layer", cam_layer)):
        if value and len(models) > 1:
            raise InputError(f"{option} needs exactly one --model")
    folder = find_run(run)
    if data is not None:
        require_data(data)
    elif columns is not None:
        raise InputError("--columns are those of other photographs; give these with --data")
    views = None
    if eot is not None or preset is not None or ranges:
        trained = load_run_config(folder) if eot is None else None
        base = (trained or DEFAULT).eot
        views = eot_config(eot is not False, preset, ranges, base=base, printing=own_colours(base) if preset else None)
    printing = chosen_prints(conditions, icc)

    from physpatch.records.evaluation_record import measured_by_model  # after the options are checked: it imports torch
    from physpatch.training.run_evaluation import evaluate_run
    from physpatch.victims.registry import require_known

    require_known(models)
    with progress_bar("measuring") as bar:
        results = evaluate_run(
            folder,
            data=data,
            columns=columns,
            models=models,
            weights=weights,
            labels=labels,
            threshold=threshold,
            cam_layer=cam_layer,
            trust=trust_weights,
            eot=views,
            printing=printing,
            defences=defences,
            device=device,
            seed=seed,
            save=save,
            progress=lambda name, done, total: bar.show(done, total, name),
            say=bar.say,
        )
    if logs:
        from physpatch.training.run_evaluation import log_evaluation

        settings = {"data": data or "the run's own", "seed": seed, "defences": list(defences)}
        if views is not None:
            names = [getattr(colours, "name", "measured colours") for colours in views.prints]
            settings["eot"] = views.to_dict() | {"prints": names}
        if printing is not None:
            settings["conditions"] = [condition.name for condition in printing] or ["screen"]
        log_evaluation(folder, results, logs, settings)
    if json_out != "-":
        show_results(results)
        show_defences(results)
        say_next("live", folder) if sheet_of(folder).is_file() else say_print_next(folder, load_run_config(folder))
    output_json(json_out, measured_by_model(results))
