"""``physpatch report``."""

from pathlib import Path

import click

from calibration.common.cli_types import FILE
from calibration.common.console import progress_bar
from physpatch.commands.options import DEVICE_OPTION, TRUST_OPTION


@click.command()
@click.argument(
    "folders", type=click.Path(path_type=Path), metavar="RUN|SESSION [RUN|SESSION]...", nargs=-1, required=True
)
@click.option(
    "--replay/--no-replay",
    "replayed",
    default=True,
    help="Replay a session's frames through the model, to say where the effect is lost. Default: --replay.",
)
@click.option(
    "--profile",
    type=FILE,
    metavar="RIG.json",
    help="Colours of the printer and camera for the replay. Default: as the session's own sheets show them.",
)
@click.option("--pdf", is_flag=True, help="Write the same as a PDF beside the HTML file.")
@DEVICE_OPTION
@TRUST_OPTION
@click.option(
    "--out",
    type=FILE,
    metavar="FILE.html",
    help="Default: report.html in the folder; of several, comparison.html here.",
)
def report(
    folders: tuple[Path, ...],
    replayed: bool,
    profile: Path | None,
    pdf: bool,
    device: str,
    trust_weights: bool,
    out: Path | None,
) -> None:
    """Write an HTML report of a run or session, or compare several.

    A report is one self-contained HTML file with numbers, intervals and pictures.

    \b
    physpatch report sessions/20260101-120000 --pdf
    physpatch report sessions/before sessions/after
    """
    from captures.report import ReplayOptions, write_comparison, write_report

    path = out or (folders[0] / "report.html" if len(folders) == 1 else Path("comparison.html"))
    paper = path.with_suffix(".pdf") if pdf else None
    if len(folders) > 1:
        write_comparison(folders, path, pdf=paper)
    else:
        options = ReplayOptions(profile, device, trust_weights) if replayed else None
        with progress_bar("replaying") as bar:
            write_report(folders[0], path, pdf=paper, replay=options, progress=bar.show, say=bar.say)
    click.echo(f"report: {path}" + (f", {paper}" if paper else ""))
