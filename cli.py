"""The command line: collect the commands of all packages, connect them, and turn errors into one line.

Commands are imported when they run, because importing torch takes seconds and ``--help`` and ``print`` do not need it.
"""

import errno
import io
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import physpatch
from calibration.common.console import Verbosity, set_verbosity, verbosity
from calibration.common.errors import PhyspatchError, lacks_memory
from calibration.common.lazy_group import LazyCommand, LazyGroup, verbosity_options
from calibration.common.signals import ended_in_order, exit_code
from physpatch.victims.networks.memory import keep_freed_memory

if TYPE_CHECKING:
    from calibration.sheet.layout import SheetLayout
    from physpatch.records.config import TrainConfig
    from physpatch.records.patch_file import Patch

CALIBRATE_COMMANDS = {
    "sheet": LazyCommand(
        "printouts.commands:calibrate_sheet",
        "Print the calibration sheets as a PDF.",
    ),
    "camera": LazyCommand(
        "captures.commands.calibrate:calibrate_camera",
        "Measure the lens from views of the ChArUco board.",
    ),
    "colour": LazyCommand(
        "captures.commands.calibrate:calibrate_colour",
        "Measure the colours of printer and camera under one light.",
    ),
    "show": LazyCommand(
        "captures.commands.calibrate:calibrate_show",
        "Show a rig profile and save pictures of its colours.",
    ),
}
COMMANDS = {
    "train": LazyCommand("physpatch.commands.train:train", "Train a patch and measure it on held-out photographs."),
    "bench": LazyCommand(
        "physpatch.commands.bench:bench", "Compare techniques, networks, grids, targets and defences."
    ),
    "evaluate": LazyCommand(
        "physpatch.commands.evaluate:evaluate",
        "Measure a patch against grey and random-colour controls.",
    ),
    "import": LazyCommand(
        "physpatch.commands.import_:import_",
        "Make a run of a patch that was made elsewhere.",
    ),
    "export": LazyCommand("physpatch.commands.export:export", "Write a patch for other tools."),
    "models": LazyCommand(
        "physpatch.commands.models:models",
        "List the models that can be loaded, or check one.",
    ),
    "print": LazyCommand("printouts.commands:print_", "Print a patch to scale as a PDF."),
    "live": LazyCommand(
        "captures.commands.live:live",
        "Run the models on camera frames and record a session.",
    ),
    "replay": LazyCommand(
        "captures.commands.replay:replay",
        "Analyse a session's kept frames again, with other models.",
    ),
    "report": LazyCommand(
        "captures.commands.report:report",
        "Write an HTML report of a run or session, or compare several.",
    ),
    "runs": LazyCommand("captures.commands.archive:runs", "List, tag, pack and remove runs and sessions."),
    "gallery": LazyCommand("captures.commands.archive:gallery", "Write a page of all runs and sessions."),
    "gate": LazyCommand("captures.commands.gate:gate", "Fail a build in which a patch works too well."),
    "demo": LazyCommand(
        "captures.commands.demo:demo",
        "Train, print, film, learn from it and film again, offline.",
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    params=list[click.Parameter](verbosity_options()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(physpatch.__version__, prog_name="physpatch")
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure whether adversarial patches still fool your models when they are printed and filmed by a real camera.

    \b
    physpatch demo                      run all steps, offline
    physpatch train --eot               train a 10x10 patch
    physpatch print --size 10cm         print it to scale
    physpatch live --source 0           film it with a camera
    """
    from physpatch.commands.workflows import Workflows

    context.obj = Workflows(config_from_session=_config_from_session, print_run=_print_run)


@cli.group(cls=LazyGroup, lazy=CALIBRATE_COMMANDS, params=list[click.Parameter](verbosity_options()))
def calibrate() -> None:
    """Measure your printer and your camera.

    \b
    physpatch calibrate sheet
    physpatch calibrate camera --source 0
    physpatch calibrate colour --source 0
    physpatch calibrate show
    """


def _config_from_session(
    folder: Path, given: Mapping[str, Any], preset: str | None, say: Callable[[str], None]
) -> "TrainConfig":
    from captures.workflows.session_training import config_from_session

    return config_from_session(folder, given, preset, say)


def _print_run(
    patch: "Patch",
    config: "TrainConfig",
    size_mm: float,
    out: Path,
    *,
    paper: str = "a4",
    controls: Sequence[str] = (),
) -> "tuple[SheetLayout, ...]":
    from printouts.run_sheets import print_run

    return print_run(patch, config, size_mm, out, paper=paper, controls=controls)


_OTHERS = r"(?!(calibration|captures|cli|physpatch|printouts)\b)"  # modules, by regular expression
_CURES = {
    (errno.ENOSPC, errno.EDQUOT): "free some space, or write elsewhere (--out); files written before are kept",
    (errno.EACCES, errno.EPERM, errno.EROFS): "choose a place where you can write (--out), or can read",
}


def main() -> None:
    """Run the command line; print each expected error as one line on standard error and exit with code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may not be UTF-8
    set_verbosity(Verbosity.NORMAL)
    keep_freed_memory()
    try:
        with ended_in_order(), warnings.catch_warnings():
            if not sys.warnoptions:  # advice of other packages to their own users
                warnings.filterwarnings("ignore", module=_OTHERS)
            sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("interrupted", err=True)
        sys.exit(exit_code(error))
    except PhyspatchError as error:
        _fail(str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        cure = next((f"; {cure}" for numbers, cure in _CURES.items() if error.errno in numbers), "")
        _fail(f"{error.filename}: {reason}{cure}" if error.filename else f"{reason}{cure}")
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        _fail("not enough memory; lower --batch, or use a smaller model or fewer photographs")


def _fail(message: str) -> None:
    if verbosity() is Verbosity.VERBOSE:
        traceback.print_exc()
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
