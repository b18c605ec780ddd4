"""The commands ``physpatch calibrate camera``, ``colour`` and ``show``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibration.common.cli_types import FILE, FOLDER, JSON_OPTION, TextType, given_options
from calibration.common.console import output_json, print_table, progress_bar, say, say_next, tell
from calibration.common.errors import InputError
from calibration.common.files import write_picture
from calibration.common.text import number_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.camera.board_views import LensFit
    from calibration.colour.rig_profile import LightProfile, RigProfile
    from calibration.sheet.layout import SheetLayout
    from captures.sources.opening import Source
    from captures.workflows.calibration_views import OnLook

_MOST_REASONS = 4  # reasons for not using frames that are printed
_RIG_FILE = Path("rig.json")

_PROFILE_OPTION = click.option(
    "--profile",
    type=FILE,
    default=_RIG_FILE,
    show_default=True,
    metavar="RIG.json",
    help="The rig profile to update; other measurements in it are kept.",
)
_SHEET_OPTION = click.option(
    "--sheet",
    type=FILE,
    default=Path("calibration.pdf"),
    show_default=True,
    metavar="FILE.pdf",
    help="The PDF of the printed calibration sheets.",
)
_SOURCE_OPTION = click.option(
    "--source",
    type=TextType("source", suggest=lambda: ("0", "phone", "virtual"), files=True),
    default="0",
    show_default=True,
    metavar="0|NAME|FILE|DIR|URL|phone|virtual",
    help="A camera by index or name, a video, a picture, a folder of pictures, a stream, a phone's browser, or the virtual "
    "rig.",
)
_PORT_OPTION = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port of the phone's page; 0 for any.",
)


@click.command("camera")
@_SOURCE_OPTION
@_SHEET_OPTION
@_PROFILE_OPTION
@click.option("--name", default="", help="Name of the camera, for the profile.")
@click.option("--headless", is_flag=True, help="Open no window; guidance appears in the terminal.")
@click.option(
    "--accept-poor", is_flag=True, help="Keep a lens that the views determine poorly, and state its uncertainty."
)
@_PORT_OPTION
@JSON_OPTION
def calibrate_camera(
    source: str,
    sheet: Path,
    profile: Path,
    name: str,
    headless: bool,
    accept_poor: bool,
    port: int,
    json_out: str | None,
) -> None:
    """Measure the lens from views of the ChArUco board.

    Film the ChArUco page from all sides, near and far, and in the corners of the picture.

    \b
    physpatch calibrate camera --source 0
    physpatch calibrate camera --source phone
    physpatch calibrate camera --source clip.mp4 --headless
    physpatch calibrate camera --source stills/ --headless
    """
    from calibration.camera.board_views import BoardFinder, coverage_picture, fit_lens
    from captures.workflows.calibration_views import collect_views
    from captures.workflows.rig_profiles import calibration_layout, open_rig, print_scale

    rig, layout = open_rig(profile), calibration_layout(sheet, "board")
    finder = BoardFinder(layout)
    with _filming(source, headless, port, sheet, layout) as (frames, on_look):
        collector = collect_views(frames, finder, live=frames.live, on_look=on_look)
    _say_refused("frame", sorted(collector.refused.items(), key=lambda item: -item[1]))
    fit = fit_lens(finder, collector.views, accept_poor=accept_poor)
    replace(
        rig,
        camera=name or rig.camera,
        intrinsics=fit.intrinsics,
        lens=fit.to_dict(),
        print_scale=print_scale(rig, sheet),
    ).save(profile)
    picture = profile.with_name(f"{profile.stem}-lens.png")
    write_picture(picture, coverage_picture(fit.views))
    if json_out != "-":
        _show_lens(profile, fit, picture)
        if collector.wish:
            click.echo(f"to improve the calibration: {collector.wish}")
        say_next("calibrate", "colour", "--source", source, "--sheet", sheet, "--profile", profile)
    output_json(json_out, fit.to_dict())


def _show_lens(profile: Path, fit: "LensFit", picture: Path) -> None:
    lens = fit.intrinsics
    click.echo(
        f"{profile}: focal length {lens.fx:.1f} x {lens.fy:.1f} px (±{fit.std[0]:.1f}), centre {lens.cx:.1f}, "
        f"{lens.cy:.1f} (±{max(fit.std[2:]):.1f}), {len(fit.views)} views of {lens.width}x{lens.height}, reprojection "
        f"{fit.rms_px:.2f} px; coverage in {picture.name}"
    )
    if fit.caution:
        say(f"careful: {fit.caution}")


@click.command("colour")
@_SOURCE_OPTION
@_SHEET_OPTION
@click.option(
    "--from-session",
    type=FOLDER,
    metavar="SESSION",
    help="Measure the colours on a session's own random sheet (or shuffled, or patch) instead of a chart.",
)
@_PROFILE_OPTION
@click.option(
    "--light", default="light", show_default=True, help="Your name for the light; each light has its own colours."
)
@click.option("--printer", default="", help="Name of the printer, for the profile.")
@click.option("--paper-name", default="", help="Name of the paper, for the profile.")
@click.option(
    "--shots", type=click.IntRange(min=1), default=5, show_default=True, help="Pictures to take from a camera."
)
@click.option("--headless", is_flag=True, help="Open no window.")
@_PORT_OPTION
@JSON_OPTION
@click.pass_context
def calibrate_colour(
    context: click.Context,
    /,
    source: str,
    sheet: Path,
    from_session: Path | None,
    profile: Path,
    light: str,
    printer: str,
    paper_name: str,
    shots: int,
    headless: bool,
    port: int,
    json_out: str | None,
) -> None:
    """Measure the colours of printer and camera under one light.

    Film the colour chart under the light that you will use, or take the colours from a session, whose random-colour sheet is
    a chart, too.

    \b
    physpatch calibrate colour --source photos/ --light daylight
    physpatch calibrate colour --source 0 --light "desk lamp"
    physpatch calibrate colour --from-session sessions/20260101-120000
    """
    from captures.workflows.rig_profiles import colours_of_session, light_numbers, open_rig, save_light_picture

    rig = open_rig(profile)
    if from_session is not None:
        given_names = given_options(context)
        for name in ("source", "sheet", "shots"):
            if name in given_names:
                raise InputError(f"--{name} films a chart, so it cannot be given with --from-session; omit one of them")
        lights, measured_on = colours_of_session(from_session, light if "light" in given_names else None)
        say(f"colours measured on {measured_on} of {from_session}")
    else:
        lights, scale = _film_chart(source, sheet, rig, light, shots, headless, port)
        rig = replace(rig, print_scale=scale)
    for fitted in lights:
        rig = rig.with_light(fitted)
    replace(rig, printer=printer or rig.printer, paper=paper_name or rig.paper).save(profile)
    pictures = [save_light_picture(profile, fitted) for fitted in lights]
    if json_out != "-":
        for fitted, picture in zip(lights, pictures, strict=True):
            _show_fitted(profile, fitted, picture)
        say_next("train", "--eot", "--profile", profile)
    numbers = [light_numbers(fitted) for fitted in lights]
    output_json(json_out, numbers[0] if from_session is None else {"lights": numbers})


def _film_chart(
    source: str, sheet: Path, rig: "RigProfile", light: str, shots: int, headless: bool, port: int
) -> "tuple[list[LightProfile], tuple[float, float] | None]":
    """Measure the printed chart under one light, and its print scale."""
    from calibration.colour.rig_profile import LightProfile
    from captures.workflows.calibration_views import collect_shots
    from captures.workflows.rig_profiles import calibration_layout, print_scale

    layout = calibration_layout(sheet, "chart")
    if layout.cells is None:
        raise InputError(f"{sheet} contains no colours; print it again with `physpatch calibrate sheet`")
    with _filming(source, headless, port, sheet, layout) as (frames, on_look):
        count = shots if frames.live or not Path(source).is_dir() else None
        chart_shots, refused = collect_shots(frames, layout, rig.intrinsics, wanted=count, on_look=on_look)
    _say_refused("picture", refused.most_common())
    return [LightProfile.fit(light, layout.cells, chart_shots)], print_scale(rig, sheet)


def _show_fitted(profile: Path, fitted: "LightProfile", picture: Path) -> None:
    click.echo(
        f"{profile}: {fitted.name}, {number_of(fitted.shots, 'picture')}; colour difference (CIEDE2000), "
        f"median and 95th percentile: {fitted.before[0]:.1f} and {fitted.before[1]:.1f} as sent, "
        f"{fitted.after[0]:.2f} and {fitted.after[1]:.2f} "
        f"as predicted for held-out colours; chart in {picture.name}"
    )


@click.command("show")
@click.argument("profile", type=FILE, default=_RIG_FILE, metavar="[RIG.json]")
@JSON_OPTION
def calibrate_show(profile: Path, json_out: str | None) -> None:
    """Show a rig profile and save pictures of its colours.

    The pictures are written beside the profile.

    \b
    physpatch calibrate show rig.json
    """
    from calibration.colour.rig_profile import RigProfile
    from captures.workflows.rig_profiles import light_numbers, save_light_picture

    rig = RigProfile.load(profile)
    lights = [light_numbers(light) for light in rig.lights]
    if json_out != "-":
        _show_rig(rig, lights)
    pictures = [save_light_picture(profile, light) for light in rig.lights]
    if json_out != "-" and pictures:
        click.echo(
            "as sent / predicted: CIEDE2000, median / 95th percentile; pictures: " + ", ".join(map(str, pictures))
        )
    if json_out != "-":
        say_next(
            *(("train", "--eot", "--profile", profile) if rig.lights else ("calibrate", "colour", "--profile", profile))
        )
    output_json(json_out, {"camera": rig.lens, "print_scale": rig.print_scale, "lights": lights})


def _show_rig(rig: "RigProfile", lights: Sequence[Mapping[str, Any]]) -> None:
    named = {"printer": rig.printer, "paper": rig.paper, "camera": rig.camera}
    click.echo("; ".join(f"{part}: {name or 'no name'}" for part, name in named.items()))
    scale = rig.print_scale
    words = f"{100 * scale[0]:.2f} % across, {100 * scale[1]:.2f} % down" if scale else "not measured"
    click.echo(f"print scale: {words}")
    if rig.intrinsics and rig.lens:
        lens = rig.intrinsics
        click.echo(
            f"lens: {lens.fx:.1f} x {lens.fy:.1f} px at {lens.width}x{lens.height}, {rig.lens['views']} views, "
            f"reprojection {rig.lens['rms_px']:.2f} px"
        )
        if rig.lens.get("caution"):
            say(f"careful: {rig.lens['caution']}")
    else:
        click.echo("lens: not measured (`physpatch calibrate camera`)")
    headings = ("light", "shots", "as sent", "predicted", "map", "gamut", "paper level", "blur", "noise")
    print_table(headings, map(_light_row, rig.lights))
    for light in lights:
        nearest = light["nearest_condition"]
        click.echo(
            f"{light['name']}: of the known printing conditions nearest to {nearest['name']} ({nearest['intent']}), median "
            f"CIEDE2000 {nearest['median_de00']:.1f}, the camera's part included"
        )


def _light_row(light: "LightProfile") -> tuple[str, ...]:
    return (
        light.name,
        str(light.shots),
        f"{light.before[0]:.1f} / {light.before[1]:.1f}",
        f"{light.after[0]:.2f} / {light.after[1]:.2f}",
        light.map.kind,
        f"{100 * light.gamut_share:.0f} %",
        " ".join(f"{level:.2f}" for level in light.white),
        f"{light.blur_px:.2f} px",
        f"{light.read_noise:.4f} + {light.shot_noise:.4f} sqrt(light)",
    )


def _say_refused(unit: str, reasons: Iterable[tuple[str, int]]) -> None:
    """Print why frames were not used, the most common reasons first."""
    for reason, count in list(reasons)[:_MOST_REASONS]:
        say(f"{number_of(count, unit)} not used: {reason}")


@contextmanager
def _filming(
    source: str, headless: bool, port: int, sheet: Path, layout: "SheetLayout"
) -> "Iterator[tuple[Source, OnLook]]":
    """Open a source, and a function that shows its frames and the progress: on the phone, if that films."""
    from captures.sources.opening import open_source
    from captures.viewers.window import Window
    from captures.workflows.calibration_views import RehearsedSheet
    from captures.workflows.live_inputs import PHONE, RENDERED, VIRTUAL

    if source == RENDERED:
        raise InputError(
            f"--source {RENDERED} films the sheets of a run, not a calibration sheet; use --source {VIRTUAL} to rehearse"
        )
    with ExitStack() as stack:
        page = window = None
        frames: Source
        if source == PHONE:
            from captures.web.server import WebPage

            page = stack.enter_context(WebPage(port=port, lan=True, say=tell))
            frames = stack.enter_context(page.phone)
        elif source == VIRTUAL:
            frames = RehearsedSheet(sheet, layout)
        else:
            window = None if headless else stack.enter_context(Window())
            frames = stack.enter_context(open_source(source))
        bar = stack.enter_context(progress_bar("filming"))

        def on_look(picture: "NDArray[np.uint8]", kept: int, message: str) -> bool:
            bar.show(kept, None, message)
            if page is not None:
                return page.guide(picture, kept, message)
            return window is None or window.show(picture)

        yield frames, on_look
