"""The command ``physpatch live``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.common.cli_types import FILE, FOLDER, JSON_OPTION, FiniteFloat, TextType, given_options
from calibration.common.console import say, tell
from calibration.common.errors import InputError
from calibration.common.lazy_group import GroupedCommand
from calibration.common.text import lacks_password, without_password
from captures.commands.session_output import record_session, show_session
from captures.sources.rendered import DEFAULT_SCENE, scene_names
from physpatch.commands.options import (
    DEFENCE_OPTION,
    DEVICE_OPTION,
    LOG_OPTION,
    RUN_ARGUMENT,
    TRUST_OPTION,
    config_option,
)
from physpatch.commands.workflows import Workflows
from physpatch.records.run_paths import LATEST, find_run

_NOT_TO_RESUME = {"out": "--out", "scene": "--scene", "clips": "--clips", "frames_per_clip": "--frames-per-clip"}

if TYPE_CHECKING:
    from captures.inference.region import RegionRule
    from captures.session.resumption import Earlier
    from captures.sources.camera_settings import CameraSettings


def region_rule(text: str) -> "RegionRule":
    """Parse the region that a classifier sees; see :meth:`RegionRule.parse`."""
    from captures.inference.region import RegionRule

    return RegionRule.parse(text)


def _camera_settings(_context: click.Context, _: click.Parameter, pairs: tuple[str, ...]) -> "CameraSettings":
    from captures.sources.camera_settings import CameraSettings

    return CameraSettings.parse(pairs)


_GROUPS = {
    "What is filmed": ("source", "camera", "sheet", "condition", "label", "light", "protocol", "resume"),
    "Models": (
        "classifier",
        "weights",
        "labels",
        "cam_layer",
        "threshold",
        "detector",
        "defences",
        "trust_weights",
        "region",
        "grad_cam",
        "device",
    ),
    "Lens": ("profile", "hfov_deg"),
    "Frames": ("every", "max_fps", "max_frames", "keep"),
    "Rigs": ("scene", "clips", "frames_per_clip", "seed"),
    "Windows and files": ("headless", "web", "lan", "port", "out", "logs", "json_out"),
}


def _to_resume(session: Path, given_names: set[str]) -> "Earlier":
    """Read a session that is to be continued.

    Raises:
        InputError: if it cannot be resumed, or an option is given that belongs to a new session.
    """
    for name, option in _NOT_TO_RESUME.items():
        if name in given_names:
            raise InputError(f"--resume continues {session} as it was filmed; omit {option}")
    from captures.session.resumption import Earlier

    return Earlier.read(session)


def _camera_of(earlier: "Earlier") -> "CameraSettings":
    """Return the camera's settings of a session, what was locked as its last frame had it."""
    from captures.sources.camera_settings import CameraSettings

    settings_json = next((row.camera for row in reversed(earlier.rows) if row.camera), "{}")
    return CameraSettings(earlier.record.camera).held(json.loads(settings_json))


@click.command(cls=GroupedCommand, groups=_GROUPS)
@RUN_ARGUMENT
@click.option(
    "--source",
    type=TextType("source", suggest=lambda: ("0", "phone", "virtual", "rendered"), files=True),
    default="0",
    show_default=True,
    metavar="0|NAME|FILE|DIR|URL|phone|virtual|rendered",
    help="A camera by index or name, a video, a folder of stills or of videos, a stream, a phone's browser, the virtual "
    "rig, or the rendered one (pip install 'physpatch[render]').",
)
@click.option(
    "--scene",
    type=TextType("scene", suggest=scene_names, files=True),
    metavar="NAME|FILE.toml",
    help=f"The scene of --source rendered: {', '.join(scene_names())}, or a file. Default: {DEFAULT_SCENE}.",
)
@click.option(
    "--camera",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_camera_settings,
    help="Camera settings: resolution=1280x720, fps=30, format=MJPG; exposure, white_balance and focus are each auto, "
    "lock or a number. May be repeated.",
)
@click.option(
    "--classifier",
    metavar="NAME|FILE|URL",
    help="The classifier, see `physpatch models`. Default: the run's model, or else auto (resnet50 if it is available).",
)
@click.option("--weights", type=click.Path(dir_okay=False), help="A file of weights for the classifier.")
@config_option("labels", help="Class names of the classifier: text, JSON or YAML.")
@config_option("cam_layer", help="The classifier's layer for Grad-CAM; see `physpatch models --check`.")
@click.option(
    "--detector",
    metavar="NAME|FILE|URL",
    help="A detector such as yolov8n, FILE.pt or FILE.onnx, see `physpatch models`.",
)
@config_option(
    "threshold", help="Lowest confidence at which a box of the detector counts. Default: its own, or else 0.25."
)
@DEFENCE_OPTION
@TRUST_OPTION
@click.option(
    "--sheet", type=FILE, metavar="FILE.pdf", help="The PDF of the printed sheet. Default: sheet.pdf of the run."
)
@click.option(
    "--roi",
    "region",
    type=TextType("region", region_rule, lambda: ("center", "frame", "sheet")),
    default="center",
    show_default=True,
    metavar="center|frame|sheet[:AREA]|LEFT,TOP,SIDE",
    help="The region that the classifier sees: the central square, the whole frame squeezed to a square, a square around "
    "the sheet of which the patch covers the share AREA, or a fixed square of the frame.",
)
@click.option(
    "--plan", "protocol", type=FILE, metavar="FILE.toml", help="A plan that guides you through the sheets and poses."
)
@click.option("--label", metavar="NAME|INDEX", help="The true class of the object in front of the camera.")
@click.option(
    "--condition",
    help="The sheet that is shown if no markers are detected: patch, grey, random, shuffled, drawing or none.",
)
@click.option("--light", metavar="NAME", help="Your name for the light.")
@click.option(
    "--hfov",
    "hfov_deg",
    type=float,
    metavar="DEGREES",
    help="Horizontal field of view of the camera, which determines distances.",
)
@click.option(
    "--profile",
    type=FILE,
    metavar="RIG.json",
    help="Rig profile with the measured camera, for true distances and angles; see `physpatch calibrate camera`.",
)
@click.option("--cam/--no-cam", "grad_cam", default=True, help="Show Grad-CAM heat. Default: --cam.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Analyse every Nth frame.")
@click.option("--max-fps", type=FiniteFloat(min=0, min_open=True), help="Analyse at most N frames per second.")
@click.option("--max-frames", type=click.IntRange(min=1), help="End after N frames.")
@click.option(
    "--keep",
    default="key",
    show_default=True,
    metavar="key|all|whole|N|none",
    help="Which original frames to keep: key frames, all, all without loss (for exact `physpatch replay`), every Nth or none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the rig.")
@click.option("--clips", type=click.IntRange(min=1), help="Number of clips of the rig. Default: 12.")
@click.option(
    "--frames-per-clip",
    type=click.IntRange(min=1),
    help="Number of frames of each sheet in a clip of the rig. Default: 3, or that of the scene's motion.",
)
@DEVICE_OPTION
@click.option("--headless", is_flag=True, help="Record without a window.")
@click.option(
    "--web", is_flag=True, help="Show and control the session in a browser on this machine instead of a window."
)
@click.option(
    "--lan", is_flag=True, help="Let a phone on the same network connect, over TLS with a one-time link. Implies --web."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port of the web page; 0 for any."
)
@LOG_OPTION
@JSON_OPTION
@click.option(
    "--out", type=FOLDER, metavar="SESSION", help="Folder of the session. Default: a new folder under sessions/."
)
@click.option(
    "--resume",
    type=FOLDER,
    metavar="SESSION",
    help="Continue a session that has ended, with its settings and the steps of its plan that are open.",
)
@click.pass_context
def live(
    context: click.Context,
    /,
    run: str | None,
    source: str,
    camera: "CameraSettings",
    resume: Path | None,
    headless: bool,
    web: bool,
    lan: bool,
    port: int,
    scene: str | None,
    logs: tuple[str, ...],
    json_out: str | None,
    out: Path | None,
    **asked: Any,
) -> None:
    """Run the models on camera frames and record a session.

    RUN is a run folder or a patch.json. Press q or Ctrl-C to end the session; everything recorded until then is kept.

    \b
    physpatch live --source 0
    physpatch live --camera exposure=lock --roi sheet:0.15 --plan plan.toml
    physpatch live --source phone
    physpatch live --resume sessions/20260101-120000
    physpatch live runs/latest --source clip.mp4 --detector yolov8n --headless
    physpatch live --source virtual --headless
    physpatch live --source rendered --scene mug --headless
    physpatch live --source rendered --scene approach --clips 4 --headless
    """
    from captures.sources.opening import find_kind
    from captures.workflows.live_inputs import (
        PHONE,
        RENDERED,
        VIRTUAL,
        open_session_source,
        open_viewers,
        refuse_settings,
    )

    given_names = given_options(context)
    if resume is not None:
        earlier = _to_resume(resume, given_names)
        record = earlier.record
        source = source if "source" in given_names else record.source or source
        if lacks_password(source):
            raise InputError("the password of the session's camera was not recorded; give --source with it")
        camera = camera if "camera" in given_names else _camera_of(earlier)
    if scene is not None and source != RENDERED:
        raise InputError(f"--scene {scene} is for --source {RENDERED}; pass both")
    if "camera" in given_names:
        refuse_settings(source, camera)
    if source not in (VIRTUAL, RENDERED, PHONE):
        find_kind(source, camera)  # a missing file is said before a missing display
    if source == RENDERED and asked["light"] is not None:
        raise InputError(
            f"--light {asked['light']} is a name for a camera's light; a rendered scene has its own: omit --light, and choose "
            "another --scene, or write a scene's file with other lights"
        )
    of_rig = source in (VIRTUAL, RENDERED)
    for option in ("clips", "frames_per_clip", "seed"):
        if option in given_names and not of_rig:
            raise InputError(f"--{option.replace('_', '-')} is for --source {VIRTUAL} or {RENDERED}; omit it")
    if of_rig and "profile" in given_names:
        raise InputError(f"--profile is for a camera; {source} has a lens of its own and prints to scale: omit it")
    if of_rig and "hfov_deg" in given_names:
        raise InputError(f"--hfov is for a camera whose lens was not measured; {source} has a lens of its own: omit it")
    if "hfov_deg" in given_names and "profile" in given_names:
        raise InputError("--hfov is for a camera whose lens was not measured; the profile has it: omit one of them")
    folder = find_run(run) if run or LATEST.exists() else None
    lan = lan or source == PHONE
    with (
        open_viewers(headless=headless, web=web or lan, lan=lan, port=port, say=tell) as viewers,
        open_session_source(source, camera, viewers) as frames,
    ):
        # Torch is imported after the camera opens, so that a missing camera is reported at once.
        from captures.results.session_record import SessionRecord
        from captures.session.live_session import new_session_folder
        from captures.workflows.session_again import resumed_request
        from captures.workflows.session_start import SessionRequest, prepare_session

        session = resume or out or new_session_folder()
        asked |= {"run": folder, "scene": scene or (DEFAULT_SCENE if source == RENDERED else None)}
        if resume is None:
            request = SessionRequest(**asked)
        else:
            request = resumed_request(resume, record, {name: asked[name] for name in asked.keys() & given_names}, asked)
        frame_source, config = prepare_session(
            request,
            session,
            frames,
            attended=bool(viewers),
            print_run=Workflows.of(context).print_run,
            say=say,
            source=without_password(source),
            camera=camera.asked,
        )
        record_session(frame_source, config, session, viewers, resume=resume is not None)
    if resume is not None and not frame_source.live and SessionRecord.of(session).frames == record.frames:
        say(
            f"nothing new was filmed: the session has all frames of {source}; add files to its folder, or film a new session"
        )
    if logs:
        from captures.results.session_log import log_session

        log_session(session, logs)
    show_session(session, json_out)
