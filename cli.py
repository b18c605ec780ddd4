"""The door: gather the rooms' commands, hand them what other rooms do for them, and turn errors into one line.

A command is imported when it runs: torch alone takes seconds, and ``--help`` and ``print`` need none of it.
"""

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import physpatch
from calibration.common.errors import PhyspatchError
from calibration.common.lazy_group import LazyCommand, LazyGroup

if TYPE_CHECKING:
    from calibration.sheet.layout import SheetLayout
    from physpatch.records.config import TrainConfig
    from physpatch.records.patch_file import Patch

CALIBRATE_COMMANDS = {
    "sheet": LazyCommand(
        "printouts.commands:calibrate_sheet",
        "Write the sheets to film: a ChArUco board for the lens, a chart of 100 colours for printer and camera.",
    ),
    "camera": LazyCommand(
        "captures.commands.calibrate:calibrate_camera",
        "Measure the lens: film the ChArUco page from all sides, near and far, into the corners of the picture.",
    ),
    "colour": LazyCommand(
        "captures.commands.calibrate:calibrate_colour",
        "Measure what printer and camera make of colours: film the chart under the light that you will use.",
    ),
    "show": LazyCommand(
        "captures.commands.calibrate:calibrate_show",
        "Show what a rig profile holds, and write pictures of its colours beside it.",
    ),
}
COMMANDS = {
    "train": LazyCommand("physpatch.commands.train:train", "Train a patch and measure it on held-out photographs."),
    "bench": LazyCommand(
        "physpatch.commands.bench:bench",
        "Compare techniques, networks, grids, areas and targets in one table; interrupted, it goes on where it stopped.",
    ),
    "evaluate": LazyCommand(
        "physpatch.commands.evaluate:evaluate",
        "Measure a patch beside a plain grey and a random-colour one at the same poses.",
    ),
    "models": LazyCommand(
        "physpatch.commands.models:models", "Show what can be loaded here, and where its weights come from."
    ),
    "print": LazyCommand(
        "printouts.commands:print_", "Write the patch as a PDF to scale. RUN is a run folder or a patch.json."
    ),
    "live": LazyCommand(
        "captures.commands.live:live",
        "Put frames of a camera through the models; q or Ctrl-C ends it, and what was captured is kept.",
    ),
    "report": LazyCommand(
        "captures.commands.report:report",
        "Write one self-contained HTML file with numbers, intervals and pictures; of several folders, a comparison.",
    ),
    "demo": LazyCommand(
        "captures.commands.demo:demo",
        "Train, print, film and report, offline, on embedded weights and photographs: a few minutes on two cores.",
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(physpatch.__version__, prog_name="physpatch")
@click.pass_context
def cli(context: click.Context) -> None:
    """Does an adversarial patch still work when it is printed and a camera looks at it? Measure it on your own models.

    \b
    physpatch demo                      the whole loop, offline
    physpatch train --eot               train a 10x10 patch
    physpatch print --size 10cm         a PDF to scale
    physpatch live --source 0           before a camera
    """
    from physpatch.commands.workflows import Workflows

    context.obj = Workflows(config_from_session=_config_from_session, print_run=_print_run)


@cli.group(cls=LazyGroup, lazy=CALIBRATE_COMMANDS)
def calibrate() -> None:
    """Measure your printer and camera."""


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


def main() -> None:
    """Run the command line; every foreseeable error is one line on standard error and exit code 2."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again at exit
        sys.exit(0)
    except PhyspatchError as error:
        _fail(str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            reason += "; what was written before is kept"
        _fail(f"{error.filename}: {reason}" if error.filename else reason)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        _fail(f"not enough memory ({str(error).splitlines()[0] if str(error) else 'none left'}); lower --batch")


def _fail(message: str) -> None:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
