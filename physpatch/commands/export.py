"""``physpatch export``."""

from pathlib import Path

import click

from calibration.common.cli_types import FILE, LENGTH_MM, given_options
from calibration.common.errors import InputError
from calibration.sheet.paper_sizes import PATCH_SIZE
from physpatch.commands.options import RUN_ARGUMENT
from physpatch.commands.results import say_print_next
from physpatch.records.patch_file import Patch
from physpatch.records.run_config import load_run_config
from physpatch.records.run_paths import find_run

_SUFFIXES = {"png": ".png", "art": ".npz", "torchattacks": ".pt"}


@click.command()
@RUN_ARGUMENT
@click.option(
    "--as",
    "kind",
    type=click.Choice(list(_SUFFIXES)),
    default="png",
    show_default=True,
    help="png: a picture with alpha, at --size and --dpi. art: patch and patch_mask (3, H, W) in [0, 1], as ART's "
    "AdversarialPatchPyTorch has them. torchattacks: a tensor (1, 3, H, W) in [0, 1].",
)
@click.option(
    "--size", "size_mm", type=LENGTH_MM, default=PATCH_SIZE, show_default=True, help="Width of the picture in print."
)
@click.option(
    "--dpi", type=click.FloatRange(1, 4800), default=300, show_default=True, help="Resolution of the picture."
)
@click.option(
    "--px", type=click.IntRange(1, 8192), default=224, show_default=True, help="Width of the array or tensor."
)
@click.option("--out", type=FILE, help="File to write. Default: export.png, .npz or .pt in the run's folder.")
def export(run: str | None, kind: str, size_mm: float, dpi: float, px: int, out: Path | None) -> None:
    """Write a patch for other tools.

    A patch that is cut out as a circle is transparent around it in the picture, and outside of ART's mask there.

    \b
    physpatch export runs/latest --size 10cm --dpi 600
    physpatch export runs/latest --as art --px 224 --out patch.npz
    """
    given_names = given_options(click.get_current_context())
    unused = {"px"} & given_names if kind == "png" else {"size_mm", "dpi"} & given_names
    if unused:
        option = unused.pop().removesuffix("_mm")
        raise InputError(f"--{option} is not for --as {kind}; give {'--size and --dpi' if kind == 'png' else '--px'}")
    from physpatch.records.patch_exchange import write_art, write_png, write_tensor

    folder = find_run(run)
    patch, config = Patch.load(folder), load_run_config(folder)
    path = out or (folder if folder.is_dir() else folder.parent) / f"export{_SUFFIXES[kind]}"
    circle = config is not None and config.patch.cut == "circle"
    if kind == "png":
        width, height = write_png(patch, path, size_mm, dpi, circle=circle)
        click.echo(f"{path}: {width} x {height} pixels, {dpi:g} dpi")
    else:
        shape = write_art(patch, path, px, circle=circle) if kind == "art" else write_tensor(patch, path, px)
        click.echo(f"{path}: {'patch and patch_mask' if kind == 'art' else 'a tensor'} {tuple(shape)}")
    say_print_next(folder, config)
