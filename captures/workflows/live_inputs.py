"""What a session is seen through and shown in. Torch-free, so that a missing camera or display is said at once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from captures.sources.camera_settings import CameraSettings
from captures.sources.opening import Source, open_source
from captures.viewers.controls import Viewer

VIRTUAL, PHONE = "virtual", "phone"  # sources that are no cameras of this machine


@contextmanager
def open_viewers(
    *, headless: bool, web: bool, lan: bool, port: int, say: Callable[[str], None]
) -> Iterator[list[Viewer]]:
    """Open what shows the session: a window, unless a browser does or nobody.

    Raises:
        UnavailableError: no display, or no free port.
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


def open_session_source(
    source: str, settings: CameraSettings, viewers: Sequence[Viewer]
) -> AbstractContextManager[Source | None]:
    """Open a source; None stands for the virtual rig, which comes when the sheet is known.

    Raises:
        InputError: no such file, or settings for what is no camera.
        UnavailableError: no such camera.
    """
    if source == VIRTUAL:
        return nullcontext()
    if source == PHONE:
        from captures.web.server import WebPage

        return next(viewer.phone for viewer in viewers if isinstance(viewer, WebPage))
    return open_source(source, settings)
