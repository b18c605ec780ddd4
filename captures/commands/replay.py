"""The command ``physpatch replay``."""

from pathlib import Path
from typing import Any

import click

from calibration.common.cli_types import FILE, FOLDER, JSON_OPTION, TextType, given_options
from calibration.common.console import say
from captures.commands.live import region_rule
from captures.commands.session_output import record_session, show_session
from physpatch.commands.options import DEFENCE_OPTION, DEVICE_OPTION, TRUST_OPTION, config_option
from physpatch.commands.workflows import Workflows


@click.command()
@click.argument("session", type=FOLDER)
@click.option("--classifier", metavar="NAME|FILE|URL", help="Another classifier. Default: the session's.")
@click.option("--weights", type=click.Path(dir_okay=False), help="A file of weights for the classifier.")
@config_option("labels", help="Class names of the classifier: text, JSON or YAML.")
@config_option("cam_layer", help="The classifier's layer for Grad-CAM; see `physpatch models --check`.")
@click.option("--detector", metavar="NAME|FILE", help="Another detector. Default: the session's, if it has one.")
@DEFENCE_OPTION
@TRUST_OPTION
@click.option(
    "--roi",
    "region",
    type=TextType("region", region_rule, lambda: ("center", "frame", "sheet")),
    metavar="center|frame|sheet[:AREA]|LEFT,TOP,SIDE",
    help="Another region for the classifier, see `physpatch live`. Default: what it saw in each frame.",
)
@click.option("--label", metavar="NAME|INDEX", help="The true class of the object in front of the camera.")
@click.option(
    "--profile", type=FILE, metavar="RIG.json", help="Rig profile with the lens, as for the session or measured since."
)
@click.option("--cam/--no-cam", "grad_cam", default=True, help="Compute Grad-CAM heat. Default: --cam.")
@DEVICE_OPTION
@JSON_OPTION
@click.option(
    "--out", type=FOLDER, metavar="SESSION", help="Folder of the new session. Default: a new one under sessions/."
)
@click.pass_context
def replay(context: click.Context, /, session: Path, json_out: str | None, out: Path | None, **asked: Any) -> None:
    """Analyse a session's kept frames again, with other models.

    The result is a new session with the sheets, clips, steps and times of the one that was filmed. It is exact where frames
    were kept without loss (`physpatch live --keep whole`); frames kept as JPEG differ slightly, and those not kept are left
    out.

    \b
    physpatch replay sessions/20260101-120000 --classifier resnet50
    physpatch replay sessions/20260101-120000 --defence all
    """
    from captures.results.recorded_session import RecordedSession
    from captures.session.live_session import new_session_folder
    from captures.session.recorded_frames import RecordedFrames
    from captures.workflows.session_again import reanalysis_config, reanalysis_request
    from captures.workflows.session_start import prepare_session

    filmed, target = RecordedSession.open(session), out or new_session_folder()
    given_settings = {name: asked[name] for name in asked.keys() & given_options(context)}
    frames = RecordedFrames(filmed, same_regions="region" not in given_settings)
    source, config = prepare_session(
        reanalysis_request(filmed, given_settings),
        target,
        frames,
        attended=False,
        print_run=Workflows.of(context).print_run,
        say=say,
    )
    config = reanalysis_config(config, filmed, frames, target, given_settings)
    record_session(source, config, target)
    if json_out != "-":
        click.echo(f"analysed again: {frames.reanalysis(str(session)).in_words}")
    show_session(target, json_out)
