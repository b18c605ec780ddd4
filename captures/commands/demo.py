"""The command ``physpatch demo``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from calibration.common.cli_types import FOLDER
from calibration.common.console import ProgressBar, print_table, progress_bar, say_next
from calibration.common.errors import InputError
from calibration.common.units import parse_length_mm
from calibration.sheet.paper_sizes import PATCH_SIZE
from captures.commands.session_output import record_session, show_session
from physpatch.commands.results import describe_rate, show_results, training_progress
from physpatch.commands.workflows import Workflows
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import sheet_of

# The class that `--target auto` selects for this network: docs/results.md
_DEMO = TrainConfig.of(
    model="efficientnet_lite0",
    data="samples",
    grid=(20, 20),  # on paper, 10x10 cells are short of capacity
    steps=100,
    target="digital clock",
    cut="square",
    eot=EotConfig.none(),
)
_CONTROLS = ("grey", "random")


@dataclass(frozen=True)
class _Round:
    """The files of one round of training, printing and filming."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def sheet(self) -> Path:
        return sheet_of(self.folder)

    @property
    def session(self) -> Path:
        return self.folder / "session"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


@click.command()
@click.option(
    "--out", type=FOLDER, default=Path("demo"), show_default=True, metavar="DIR", help="Folder for all files."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=_DEMO.optimisation.steps,
    show_default=True,
    help="Steps of each training.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=2),
    default=24,
    show_default=True,
    help="Clips that the virtual rig films in each session; the held-out photographs take turns as backgrounds.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=_DEMO.optimisation.seed, show_default=True, help="Seed of the demo."
)
@click.pass_context
def demo(context: click.Context, /, out: Path, steps: int, clips: int, seed: int) -> None:
    """Train, print, film, learn from it and film again, offline.

    The patch is first trained without EOT, for photographs on a screen, and filmed as a print; then it is trained again from
    what was filmed. The demo uses embedded weights and photographs, and a simulated printer and camera.

    \b
    physpatch demo --out demo
    """
    workflows = Workflows.of(context)
    before, after = _Round(out), _Round(out / "learned")
    if before.run.exists() or before.session.exists():
        raise InputError(f"{out} already contains a demo; delete it or use another --out")
    config = _DEMO.changed(steps=steps, seed=seed)
    rows, columns = config.patch.grid
    click.echo(
        f"1/6  training for a screen: {config.victim.model}, {rows}x{columns} cells, no EOT, {steps} steps of "
        f"{config.optimisation.batch} embedded photographs"
    )
    _train(config, before)
    click.echo(f"2/6  printing: {before.sheet}, {PATCH_SIZE}, with a grey and a random-colour control sheet")
    click.echo(
        "3/6  filming: the virtual rig shows the sheets in front of held-out photographs (a simulation, not a camera)"
    )
    _film(workflows, config, before, clips, seed)
    click.echo("4/6  what was lost, and where")
    _report(before)
    click.echo(f"5/6  training again, for what that session saw: {steps} steps")
    with progress_bar("training") as bar:
        learned = workflows.config_from_session(before.session, {"steps": steps}, None, _indented(bar))
    _train(learned, after)
    click.echo(f"6/6  printing {after.sheet}, and filming it with the same printer, camera and poses")
    _film(workflows, learned, after, clips, seed)
    _report(after)
    comparison = out / "comparison.html"
    _compare(before, after, comparison)
    click.echo("\nOpen:")
    paths = (comparison, before.report, after.report, before.sheet, after.sheet, before.run / "evolution.mp4")
    for path in (*paths, before.session / "video.mp4", before.run, before.session):
        click.echo(f"  {path}")
    say_next("train", "--eot")


def _indented(bar: ProgressBar) -> Callable[[str], None]:
    """Return how a stage's lines are said: below its heading."""
    return lambda line: bar.say(f"     {line}")


def _train(config: TrainConfig, files: _Round) -> None:
    from physpatch.records.run_record import RunRecord
    from physpatch.training.run import train_run

    with progress_bar("training") as bar:
        train_run(config, files.run, progress=training_progress(bar), say=_indented(bar))
    show_results(RunRecord.of(files.run).measured)


def _film(workflows: Workflows, config: TrainConfig, files: _Round, clips: int, seed: int) -> None:
    from captures.session.live_session import require_uninterrupted
    from captures.workflows.demo import demo_session

    patch, size_mm = Patch.load(files.run), parse_length_mm(PATCH_SIZE)
    layouts = workflows.print_run(patch, config, size_mm, files.sheet, controls=_CONTROLS)
    rig, session_config = demo_session(files.run, config, files.sheet, layouts, files.session, clips=clips, seed=seed)
    record_session(rig, session_config, files.session)
    require_uninterrupted(files.session)
    show_session(files.session)


def _report(files: _Round) -> None:
    from captures.report import ReplayOptions, write_report

    with progress_bar("replaying") as bar:
        write_report(files.session, files.report, replay=ReplayOptions(), progress=bar.show, say=_indented(bar))


def _compare(before: _Round, after: _Round, out: Path) -> None:
    """Write both sessions side by side, and say what changed for the patch."""
    from captures.report import write_comparison
    from captures.results.recorded_session import RecordedSession

    write_comparison([before.session, after.session], out)
    first, second = (
        {(s.model, s.condition): s.target for s in RecordedSession.open(files.session).tally.summaries()}
        for files in (before, after)
    )
    rows = [
        (condition, describe_rate(first[model, condition]), describe_rate(second[model, condition]))
        for model, condition in first
        if (model, condition) in second
    ]
    print_table(("target first", "trained for a screen", "trained from the session"), rows)
