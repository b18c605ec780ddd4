"""``physpatch bench``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.common.cli_types import FOLDER, JSON_OPTION, TextType
from calibration.common.console import output_json, progress_bar, say_next
from calibration.common.lazy_group import GroupedCommand
from physpatch.commands.options import (
    DEFAULT,
    OBJECT_SETTINGS,
    PRESET_OPTION,
    TRUST_OPTION,
    config_option,
    config_options,
    eot_config,
)
from physpatch.records.patch_file import check_grid_name

if TYPE_CHECKING:
    from physpatch.benchmark.bench_row import BenchRow

_GROUPS = {
    "What to compare": ("techniques", "models", "grids", "areas", "targets", "seeds", "full"),
    "The models": ("labels", "threshold", "cam_layer", "trust_weights"),
    "The object": OBJECT_SETTINGS,
    "Photographs and views": ("data", "columns", "limit", "preset"),
    "Optimisation": ("steps", "batch", "restarts", "seed", "device", "ray_address"),
    "Results": ("out", "json_out"),
}


@click.command(cls=GroupedCommand, groups=_GROUPS)
@config_option("technique", "techniques", multiple=True, default=(DEFAULT.optimisation.technique,))
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
@config_options("data", "columns", "limit")
@PRESET_OPTION
@config_options("steps", "batch", "restarts", "seed", "device")
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
def bench(
    techniques: tuple[str, ...],
    models: tuple[str, ...],
    grids: tuple[str, ...],
    areas: tuple[float, ...],
    targets: tuple[str, ...],
    full: bool,
    seeds: int,
    preset: str | None,
    ray_address: str | None,
    out: Path,
    json_out: str | None,
    **fields: Any,
) -> None:
    """Compare techniques, networks, grids, areas and targets.

    The result is one table. An interrupted bench continues where it stopped.

    \b
    physpatch bench --technique adam --technique pgd --grid 10x10 --grid 32x32
    physpatch bench --model efficientnet_lite0 --model efficientnet_lite1 --full --ray
    physpatch bench --model signs --object stop --target none --grid 10x10 --grid 5x5
    """
    from physpatch.benchmark.report import markdown, save_bench_report
    from physpatch.benchmark.runner import BenchPlan, run_bench
    from physpatch.victims.registry import require_known

    require_known(models)
    if Path(fields["data"]).exists():
        fields["data"] = str(Path(fields["data"]).resolve())
    base = DEFAULT.changed(eot=eot_config(True, preset), **fields)
    plan = BenchPlan(techniques, models, grids, areas, targets, full, seeds, base)
    with progress_bar("bench") as bar:
        rows = run_bench(plan, out, ray_address=ray_address, progress=bar.show, say=bar.say)
    save_bench_report(out, rows)
    if json_out != "-":
        click.echo(markdown(rows))
        click.echo(f"table: {out / 'table.md'}")
        best = max(rows, key=_success, default=None)
        if best is not None:
            fields = {"technique": best.technique, "model": best.model, "grid": best.grid, "area": best.area}
            say_next("train", *(word for name, value in fields.items() for word in (f"--{name}", value)))
    output_json(json_out, [row.to_dict() for row in rows])


def _success(row: "BenchRow") -> float:
    """The rate by which rows are compared: of reaching the target, or without one, of a wrong answer."""
    result = next(iter(row.measured.values()))
    return (result.targeted_success if row.target else result.untargeted_success).rate or 0.0
