"""``physpatch import``."""

from pathlib import Path
from typing import Any

import click

from calibration.common.cli_types import FOLDER, TextType, given_options
from calibration.common.console import say, say_next
from calibration.common.errors import InputError
from calibration.common.lazy_group import GroupedCommand
from physpatch.commands.options import (
    DEFAULT,
    OBJECT_SETTINGS,
    PRESET_OPTION,
    TRUST_OPTION,
    config_option,
    config_options,
    eot_config,
    refuse_ignored,
)
from physpatch.records.config import require_data
from physpatch.records.patch_file import PIXEL, check_grid_name, parse_grid
from physpatch.records.run_paths import RUNS_FOLDER

_GROUPS = {
    "The patch": ("grid", "target", "labels", "note", "out"),
    "What it is measured on": ("model", "trust_weights", "data", "columns", "area", "cut", "preset"),
    "The object": OBJECT_SETTINGS,
}


@click.command("import", cls=GroupedCommand, groups=_GROUPS)
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--grid",
    type=TextType("grid", check_grid_name, lambda: (PIXEL,)),
    default=PIXEL,
    show_default=True,
    metavar="RxC|pixel",
    help="Rows and columns of cells, each the mean of its pixels; pixel makes a cell of each pixel.",
)
@click.option("--target", default="none", show_default=True, metavar="NAME|INDEX|none", help="Class that it aims at.")
@config_option("labels", help="Names of the classes that --target is one of. Default: those of --model, or ImageNet's.")
@config_option("model", default=DEFAULT.victim.model, metavar="NAME|FILE", help="Victim to measure it on.")
@config_options("data", "columns", "area", "cut", *OBJECT_SETTINGS)
@PRESET_OPTION
@TRUST_OPTION
@click.option("--note", default="", help="Where it comes from, for the record and the report.")
@click.option("--out", type=FOLDER, metavar="RUN", help="Folder of the run. Default: runs/ and the picture's name.")
@click.pass_context
def import_(
    context: click.Context,
    /,
    picture: Path,
    grid: str,
    target: str,
    labels: str | None,
    preset: str | None,
    trust_weights: bool,
    note: str,
    out: Path | None,
    **settings: Any,
) -> None:
    """Make a run of a patch that was made elsewhere.

    PICTURE is a PNG, JPEG or other picture, a NumPy array (.npy, or ART's patch and patch_mask in an .npz), or a file with one
    tensor (.pt, .safetensors). The run can be evaluated, printed, filmed and reported like one of your own; it claims nothing
    about a training.

    \b
    physpatch import their-patch.png --target "soap dispenser"
    physpatch import patch.npy --grid 20x20 --target 859 --note "by the authors"
    physpatch import sticker.png --model signs --object stop
    physpatch evaluate --save && physpatch report runs/latest
    """
    from physpatch.records.imported_run import import_run

    require_data(settings["data"])
    named = settings["model"] != DEFAULT.victim.model
    if labels is not None and not named and target == "none":
        raise InputError("--labels names the classes of --target or --model; give one of them, or leave it out")
    if named:
        from physpatch.victims.registry import require_known

        require_known([settings["model"]])
    config = DEFAULT.changed(eot=eot_config(True, preset), labels=labels if named else None, **settings)
    refuse_ignored(config, given_options(context))
    cells = None if grid == PIXEL else parse_grid(grid)
    folder = out or RUNS_FOLDER / picture.stem
    aim = _target(target, labels, settings["model"] if named else None, trust_weights)
    patch = import_run(picture, folder, config, grid=cells, target=aim, note=note, say=say)
    rows, columns = patch.grid
    words = "untargeted" if patch.target is None else f"target {patch.target['name']}"
    click.echo(f"{rows}x{columns} cells, {words}, id {patch.id}; from {patch.provenance['imported']['read']}")
    click.echo(f"run: {folder}")
    say_next("evaluate", folder, "--save")


def _target(text: str, labels: str | None, model: str | None, trust: bool) -> dict[str, Any] | None:
    """Find the target's index and name among the class names: those given, the model's, or ImageNet's."""
    if text == "none":
        return None
    from physpatch.victims.labels import find_category, read_labels
    from physpatch.victims.registry import load_victim

    if labels is None and model is not None:
        owner, names = model, load_victim(model, device="cpu", trust=trust, say=say).categories
    else:
        owner = labels or "imagenet"
        names = read_labels(owner)
    index = find_category(text, names, owner)
    return {"index": index, "name": names[index]}
