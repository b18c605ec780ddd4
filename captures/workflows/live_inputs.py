"""Open the source and the viewers of a session, without torch, so that a missing camera or display is reported at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from calibration.common.errors import InputError
from captures.sources.camera_settings import CameraSettings
from captures.sources.opening import Source, open_source
from captures.viewers.controls import Viewer

VIRTUAL, RENDERED, PHONE = "virtual", "rendered", "phone"  # sources other than cameras of this machine


@contextmanager
def open_viewers(
    *, headless: bool, web: bool, lan: bool, port: int, say: Callable[[str], None]
) -> Iterator[list[Viewer]]:
    """Open the viewers of a session: a web page, a window, or none if ``headless``.

    Args:
        headless: open no window.
        web: serve a web page instead of a window.
        lan: serve the local network too.
        port: of the web page; 0 for any.
        say: receives messages, such as the link to the page.

    Raises:
        UnavailableError: if there is no display or the server does not start.
    """
    if web:
        from captures.web.server import WebPage

        with WebPage(port=port, lan=lan, say=say) as page:
            yield [page]
    elif headless:
        yield []
    else:
        from captures.viewers.window import SessionWindow

        with SessionWindow() as window:
            yield [window]


def refuse_settings(source: str, settings: CameraSettings) -> None:
    """Refuse settings for a source that has no driver of this machine, and would ignore them.

    Raises:
        InputError: if there are any.
    """
    where = {
        VIRTUAL: "it has no driver",
        RENDERED: "its camera is the table `camera` of the scene's file",
        PHONE: "set them on the phone",
    }
    if settings.asked and source in where:
        raise InputError(
            f"--camera {next(iter(settings.asked))} is for cameras, not for --source {source}: {where[source]}"
        )


def open_session_source(
    source: str, settings: CameraSettings, viewers: Sequence[Viewer]
) -> AbstractContextManager[Source | None]:
    """Open a source of frames; None stands for a rig, which is created once the sheet is known.

    Raises:
        InputError: if there is no such source, or settings are given for a source that is not a camera.
        UnavailableError: if the camera does not respond.
    """
    if source in (VIRTUAL, RENDERED):
        return nullcontext()
    if source == PHONE:
        from captures.web.server import WebPage

        return next(viewer.phone for viewer in viewers if isinstance(viewer, WebPage))
    return open_source(source, settings)
