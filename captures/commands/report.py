"""The command ``physpatch report``."""

import shlex
from pathlib import Path

import click

from calibration.common.cli_types import FILE, HTML_FILE
from calibration.common.console import progress_bar, say_next
from calibration.common.errors import InputError
from physpatch.commands.options import DEVICE_OPTION, TRUST_OPTION
from physpatch.commands.results import say_print_next
from physpatch.records.patch_file import Patch
from physpatch.records.run_record import RunRecord

_REPAIRED = "what is not whole is restored"


@click.command()
@click.argument(
    "folders", type=click.Path(path_type=Path), metavar="RUN|SESSION [RUN|SESSION]...", nargs=-1, required=True
)
@click.option(
    "--replay/--no-replay",
    "replayed",
    default=True,
    help="Replay a session's frames through the model to find where the effect is lost. Default: --replay.",
)
@click.option(
    "--profile",
    type=FILE,
    metavar="RIG.json",
    help="Rig profile with the colours for the replay. Default: measured on the session's sheets.",
)
@click.option("--card", is_flag=True, help="Also write card.md, a section for a model card in Markdown.")
@click.option("--pdf", is_flag=True, help="Also write the report as a PDF beside the HTML file.")
@DEVICE_OPTION
@TRUST_OPTION
@click.option(
    "--out",
    type=HTML_FILE,
    metavar="FILE.html",
    help="The HTML file to write. Default: report.html in the folder; for a comparison, comparison.html in the current "
    "folder.",
)
def report(
    folders: tuple[Path, ...],
    replayed: bool,
    profile: Path | None,
    card: bool,
    pdf: bool,
    device: str,
    trust_weights: bool,
    out: Path | None,
) -> None:
    """Write an HTML report of a run or session, or compare several.

    A report is one self-contained HTML file with numbers, intervals and pictures. Beside it, result.json has the rates of each
    model for other tools.

    \b
    physpatch report sessions/20260101-120000 --pdf
    physpatch report sessions/before sessions/after
    """
    from captures.report import ReplayOptions, write_comparison, write_report
    from captures.report.answer import answer_of, next_steps
    from captures.results.recorded_session import RecordedSession, kind_of

    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("comparison.html"))
    paper = path.with_suffix(".pdf") if pdf else None
    if card and len(folders) > 1:
        raise InputError("--card is for one run or session")
    if profile and (not replayed or len(folders) > 1 or kind_of(folders[0]) == "run"):
        raise InputError("--profile is for the replay of one session; omit it, or give one session without --no-replay")
    if len(folders) > 1:
        write_comparison(folders, path, pdf=paper)
    else:
        options = ReplayOptions(profile, device, trust_weights) if replayed else None
        with progress_bar("replaying") as bar:
            write_report(folders[0], path, pdf=paper, card=card, replay=options, progress=bar.show, say=bar.say)
    beside = [paper, path.with_name("card.md") if card else None]
    click.echo(", ".join([f"report: {path}", *(str(file) for file in beside if file is not None)]))
    if len(folders) > 1:
        say_next("gallery")
    elif kind_of(folders[0]) == "session":
        session, damaged = RecordedSession.salvaged(folders[0])
        if damaged:
            say_next("report", folders[0], once=_REPAIRED)
        elif answer_of(session) is None:
            say_next(*shlex.split(next_steps(session, None, [])[0].command)[1:])
        else:
            say_next("train", "--from-session", folders[0])
    else:
        _say_next_of_run(folders[0])


def _say_next_of_run(run: Path) -> None:
    """Say how to print a run's patch, or to report again where what printing reads is not whole."""
    try:
        record, _ = RunRecord.of(run), Patch.load(run)
        config = record.train_config
    except InputError:
        say_next("report", run, once=_REPAIRED)
        return
    if record.status == "training":
        say_next("train", "--resume", "--out", run)
    else:
        say_print_next(run, config)
