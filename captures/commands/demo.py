"""The command ``physpatch demo``."""

from pathlib import Path

import click

from calibration.common.cli_types import FOLDER
from calibration.common.console import progress_bar
from calibration.common.errors import InputError
from calibration.common.units import parse_length_mm
from calibration.sheet.paper_sizes import PATCH_SIZE
from captures.commands.session_output import record_session, show_session
from physpatch.commands.results import show_results, training_progress
from physpatch.commands.workflows import Workflows
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch

# The class that `--target auto` selects for this network: docs/results.md
_DEMO = TrainConfig.of(model="efficientnet_lite0", data="samples", steps=100, target="digital clock")


@click.command()
@click.option(
    "--out", type=FOLDER, default=Path("demo"), show_default=True, metavar="DIR", help="Folder for all files."
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=_DEMO.optimisation.steps, show_default=True, help="Training steps."
)
@click.option(
    "--clips", type=click.IntRange(min=2), default=10, show_default=True, help="Clips filmed by the virtual rig."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=_DEMO.optimisation.seed, show_default=True, help="Seed of the demo."
)
@click.pass_context
def demo(context: click.Context, /, out: Path, steps: int, clips: int, seed: int) -> None:
    """Train, print, film and report offline, in a few minutes.

    The demo uses embedded weights and photographs, and a simulated camera.

    \b
    physpatch demo --out demo
    """
    from captures.workflows.demo import demo_session

    run, sheet, session = out / "run", out / "sheet.pdf", out / "session"
    if run.exists() or session.exists():
        raise InputError(f"{out} already contains a demo; delete it or use another --out")
    config = _DEMO.changed(steps=steps, seed=seed)
    click.echo(
        f"1/4  training: {config.victim.model}, 10x10 cells, EOT, {steps} steps of "
        f"{config.optimisation.batch} embedded photographs"
    )
    _train(config, run)
    click.echo(f"2/4  printing: {sheet}, {PATCH_SIZE}, with a grey and a random-colour control sheet")
    print_run, size_mm = Workflows.of(context).print_run, parse_length_mm(PATCH_SIZE)
    layouts = print_run(Patch.load(run), config, size_mm, sheet, controls=("grey", "random"))
    click.echo(
        "3/4  filming: the virtual rig shows the sheets in front of held-out photographs (a simulation, not a camera)"
    )
    rig, session_config = demo_session(run, config, sheet, layouts, session, clips=clips, seed=seed)
    record_session(rig, session_config, session, len(rig))
    show_session(session)
    click.echo("4/4  reporting")
    report = _report(session, out / "report.html")
    click.echo("\nOpen:")
    for path in (report, sheet, run / "evolution.mp4", session / "video.mp4", run, session):
        click.echo(f"  {path}")


def _train(config: TrainConfig, run: Path) -> None:
    from physpatch.records.run_record import RunRecord
    from physpatch.training.run import train_run

    with progress_bar("training") as bar:
        train_run(config, run, progress=training_progress(bar), say=lambda line: bar.say(f"     {line}"))
    show_results(RunRecord.of(run).measured)


def _report(session: Path, out: Path) -> Path:
    from captures.report import ReplayOptions, write_report

    with progress_bar("replaying") as bar:
        return write_report(session, out, replay=ReplayOptions(), progress=bar.show, say=bar.say)
