"""``physpatch bench``."""

from pathlib import Path
from typing import Any

import click

from calibration.colour.options import TRAINING_CONDITION_OPTION, chosen_prints
from calibration.common.cli_types import FOLDER, JSON_OPTION, TextType, given_options
from calibration.common.console import output_json, progress_bar, say_next
from calibration.common.errors import InputError
from calibration.common.files import require_writable
from calibration.common.lazy_group import GroupedCommand
from physpatch.commands.options import (
    DEFAULT,
    OBJECT_SETTINGS,
    TRUST_OPTION,
    config_option,
    config_options,
    declared,
    eot_config,
    extension,
    or_list,
    refuse_ignored,
)
from physpatch.records.config import NAMED_DATA, absolute
from physpatch.records.patch_file import check_grid_name
from physpatch.transforms import DEFAULT_PRESET, PRESETS

_LEADERBOARD = "leaderboard"
TABLES = ("transfer", "queries", "queries-from-patch", "defences")
_AXES = ("techniques", "models", "grids", "areas", "targets", "defences", "starts")
_GROUPS = {
    "What to compare": (*_AXES, "leave_one_out", "seeds", "full"),
    "The models": ("labels", "threshold", "cam_layer", "trust_weights"),
    "The object": OBJECT_SETTINGS,
    "Photographs and views": ("data", "columns", "limit", "cut", "preset", "conditions", "tables"),
    "Optimisation": ("steps", "queries", "marks", "batch", "restarts", "trial", "seed", "device", "ray_address"),
    "Results": ("out", "json_out"),
}


@click.command(cls=GroupedCommand, groups=_GROUPS)
@config_option(
    "technique",
    "techniques",
    multiple=True,
    type=TextType("technique", suggest=lambda: (*declared("techniques"), "list")),
    default=(DEFAULT.optimisation.technique,),
    metavar="NAME[:OBJECTIVE[:TRANSFER+…]][@MODEL][=RATE]|list",
    help="How the cells are optimised, with an objective and methods of transfer if any, such as pgd:logit:ghost, with a "
    "network that imitates the one attacked, such as pgd@efficientnet_lite1, or several, and with a learning rate of its own, "
    "such as pgd=0.03; list shows all techniques.",
)
@click.option("--model", "models", multiple=True, default=("efficientnet_lite0",), show_default=True, metavar="NAME")
@config_option(
    "grid",
    "grids",
    multiple=True,
    type=TextType("grid", check_grid_name, lambda: ("pixel",)),
    default=("10x10",),
    metavar="RxC|pixel",
)
@config_option("area", "areas", multiple=True, type=float, default=(DEFAULT.patch.area,))
@config_option("target", "targets", multiple=True, default=(DEFAULT.objective.target,))
@config_option("labels", help="Class names of the one model given: text, JSON or YAML.")
@config_option("threshold")
@config_option("cam_layer", help="Layer for Grad-CAM of the one model given; see `physpatch models --check`.")
@TRUST_OPTION
@config_options(*OBJECT_SETTINGS)
@click.option(
    "--defence",
    "defences",
    multiple=True,
    default=("none",),
    show_default=True,
    type=extension("defence", "defences", "none", "list"),
    metavar="NAME|none|list",
    help="What the attacker knows: each defence is met by a patch trained behind it, and with none by one trained without.",
    callback=or_list("physpatch.defences", "DEFENCES"),
)
@click.option(
    "--start",
    "starts",
    multiple=True,
    default=("none",),
    show_default=True,
    metavar="none|MODEL",
    help="Begin with random cells, or with a patch that is trained on this network first.",
)
@click.option(
    "--leave-one-out",
    is_flag=True,
    help="Train on all --model but one, and measure on the one left out, each in turn. Default: train on each alone.",
)
@click.option(
    "--seeds",
    type=int,
    default=1,
    show_default=True,
    help="Number of trainings of each, from --seed on; five or more can show which one leads.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Train every combination. Default: the first value of each axis, and each axis varied alone.",
)
@config_options("data", "columns", "limit", "cut")
@click.option(
    "--preset",
    type=TextType("preset", suggest=lambda: (*PRESETS, _LEADERBOARD)),
    metavar="|".join((*PRESETS, _LEADERBOARD)),
    help=f"Ranges of the transformations. Default: {DEFAULT_PRESET}. With these, {_LEADERBOARD} makes the project's tables of "
    "networks never seen, of attacks without gradients and of attackers who know the defence, in the colours of a screen; "
    "options that are given replace those of every table.",
)
@TRAINING_CONDITION_OPTION
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(TABLES),
    help=f"With --preset {_LEADERBOARD}: make only this table. Can be repeated.",
)
@config_options("steps", "queries")
@click.option(
    "--marks",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How often each patch is measured on the way, for a curve of success.",
)
@config_options("batch", "restarts", "trial", "seed", "device")
@click.option(
    "--ray",
    "ray_address",
    is_flag=False,
    flag_value="auto",
    metavar="[ADDRESS]",
    help="Distribute the cells over a Ray cluster: its address, auto or local.",
)
@click.option(
    "--out",
    type=FOLDER,
    default=Path("runs/bench"),
    show_default=True,
    help="Folder for cells and tables. Cells found there are not measured again.",
)
@JSON_OPTION
@click.pass_context
def bench(
    context: click.Context,
    /,
    full: bool,
    seeds: int,
    leave_one_out: bool,
    marks: int,
    preset: str | None,
    conditions: tuple[str, ...],
    tables: tuple[str, ...],
    ray_address: str | None,
    out: Path,
    json_out: str | None,
    **fields: Any,
) -> None:
    """Compare techniques, networks, grids, targets and defences.

    The result is one table. An interrupted bench continues where it stopped.

    \b
    physpatch bench --technique adam --technique pgd --grid 10x10 --grid 32x32
    physpatch bench --model efficientnet_lite0 --model resnet50 --full --ray
    physpatch bench --model signs --object stop --target none --grid 5x5
    physpatch bench --preset leaderboard --data DATA
    """
    if tables and preset != _LEADERBOARD:
        raise InputError(f"--table is one of the tables of --preset {_LEADERBOARD}; give this too")
    require_writable(out)
    if fields["data"] not in NAMED_DATA:
        fields["data"] = absolute(fields["data"])
    plan = {name: fields.pop(name) for name in _AXES}
    plan |= {"full": full, "seeds": seeds, "leave_one_out": leave_one_out, "marks": marks}
    shared: dict[str, Any] = {"ray_address": ray_address}
    printing = chosen_prints(conditions, ())
    if preset == _LEADERBOARD:
        given_names = given_options(context)
        refuse_ignored(DEFAULT.changed(**fields), given_names)
        changes = {name: value for name, value in (plan | fields).items() if name in given_names}
        if printing is not None:
            changes["eot"] = eot_config(True, None, printing=printing)
        _leaderboard(changes, tables, out, json_out, shared)
        return
    from physpatch.benchmark.plan import RANDOM_START, BenchPlan
    from physpatch.benchmark.report import markdown, save_bench_report
    from physpatch.benchmark.runner import run_bench
    from physpatch.victims.registry import require_known

    planned = BenchPlan(**plan, base=DEFAULT.changed(eot=eot_config(True, preset, printing=printing), **fields))
    refuse_ignored(planned.base, given_options(context))
    require_known(planned.networks)
    with progress_bar("bench") as bar:
        rows = run_bench(planned, out, **shared, progress=bar.show, say=bar.say)
    save_bench_report(out, rows)
    if json_out != "-":
        click.echo(markdown(rows))
        click.echo(f"table: {out / 'table.md'}")
        # The settings of a row make it again, unless it began with another network's patch.
        from_nothing = [row for row in rows if row.start == RANDOM_START]
        best = max(from_nothing, key=lambda row: row.success.rate or 0.0, default=None)
        if best is not None:
            say_next("train", "--config", out / "cells" / f"{best.name}.json")
    output_json(json_out, [row.to_dict() for row in rows])


def _leaderboard(
    changes: dict[str, Any], tables: tuple[str, ...], out: Path, json_out: str | None, shared: dict[str, Any]
) -> None:
    from physpatch.benchmark.leaderboard import chosen_tables, run_leaderboard
    from physpatch.victims.registry import require_known

    chosen = chosen_tables(tables, changes)
    for table in chosen:
        require_known(table.plan.networks)
    with progress_bar("bench") as bar:
        measured = run_leaderboard(chosen, out, **shared, progress=bar.show, say=bar.say)
    if json_out != "-":
        click.echo((out / "leaderboard.md").read_text(encoding="utf-8"))
        click.echo(f"tables: {out / 'leaderboard.md'}")
    output_json(json_out, {name: [row.to_dict() for row in rows] for name, rows in measured.items()})
