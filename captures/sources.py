"""Where frames come from. A new kind of source is one class and one line in :func:`open_source`."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import InputError, UnavailableError
from calibration.files import PICTURE_SUFFIXES
from captures.frame import Frame

_OPEN_SECONDS = 4.0  # "no camera" must be said within five
_STALL_SECONDS = 5.0
_VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".mjpeg", ".mjpg", ".m4v"}
_URL = re.compile(r"(https?|rtsps?|rtmp|udp|tcp)://", re.IGNORECASE)


class Source(Protocol):
    """An iterable of frames that owns a resource: use it in a ``with`` block."""

    fps: float

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...


def open_source(spec: str) -> Source:
    """Choose the source for ``0`` (a camera index), a video file, a folder of stills, or an http/rtsp stream.

    Raises:
        InputError: nothing there, or nothing readable in it.
        UnavailableError: the camera or stream does not answer.
    """
    if spec.isdigit():
        return LiveSource(lambda: cv2.VideoCapture(int(spec)), f"camera {spec}")
    if _URL.match(spec):
        return LiveSource(lambda: cv2.VideoCapture(spec, cv2.CAP_FFMPEG), f"stream {spec}")
    path = Path(spec)
    if path.is_dir():
        return StillsSource(path)
    if path.is_file() and path.suffix.lower() in _VIDEO_SUFFIXES:
        return VideoSource(path)
    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        return StillsSource(path.parent, only=path)
    if path.exists():
        raise InputError(
            f"{spec} is neither a video ({', '.join(sorted(_VIDEO_SUFFIXES))}) nor a picture nor a folder of stills"
        )
    raise InputError(
        f"no source {spec!r}; expected a camera index like 0, a video file, a folder of stills, an http/rtsp URL, or virtual"
    )


class StillsSource(AbstractContextManager["StillsSource"]):
    """Every picture of a folder once, in the order of their names; each is a clip of its own."""

    fps = 5.0

    def __init__(self, folder: Path, only: Path | None = None) -> None:
        self._paths = [only] if only else sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not self._paths:
            raise InputError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")

    def __exit__(self, *exception: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise InputError(f"broken picture {path}; remove it and start again")
            yield Frame(_rgb(picture), index / self.fps, clip=index)


class VideoSource(AbstractContextManager["VideoSource"]):
    """Every frame of a video file, none dropped."""

    def __init__(self, path: Path) -> None:
        with _quiet():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f"{path} cannot be decoded as a video")
        self.fps = _plausible_fps(self._capture)

    def __exit__(self, *exception: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            ok, picture = self._capture.read()
            if not ok:
                return
            yield Frame(_rgb(picture), index / self.fps)
            index += 1


class LiveSource(AbstractContextManager["LiveSource"]):
    """A camera or stream: a thread keeps the newest frame, so that slow models never make the picture lag behind."""

    def __init__(self, connect: Callable[[], cv2.VideoCapture], name: str) -> None:
        self._name = name
        self._capture = _connect(connect, name)
        self.fps = _plausible_fps(self._capture)
        self.dropped = 0
        self._newest: tuple[NDArray[np.uint8], float] | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._started: float | None = None
        self._thread = threading.Thread(target=self._read, daemon=True, name=f"read {name}")
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(_STALL_SECONDS)
        if not self._thread.is_alive():  # releasing under a blocked read would crash the process
            self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                arrived = self._changed.wait_for(lambda: self._newest is not None or self._ended, _STALL_SECONDS)
                if self._newest is None:
                    if arrived:
                        return
                    raise UnavailableError(
                        f"{self._name} has sent nothing for {_STALL_SECONDS:g} s; what came before is kept"
                    )
                (picture, at), self._newest = self._newest, None
            if self._started is None:  # models may have been loading while the camera ran
                self._started = at
            yield Frame(_rgb(picture), at - self._started)

    def _read(self) -> None:
        while not self._ended:
            ok, picture = self._capture.read()
            with self._changed:
                if not ok:
                    self._ended = True
                else:
                    self.dropped += self._newest is not None
                    self._newest = (picture, time.monotonic())
                self._changed.notify_all()
                if not ok:
                    return


def _connect(connect: Callable[[], cv2.VideoCapture], name: str) -> cv2.VideoCapture:
    """Open in a daemon thread: a dead stream may block for half a minute inside the driver."""
    opened: list[cv2.VideoCapture] = []

    def attempt() -> None:
        with _quiet(), suppress(Exception):  # whatever a driver throws at us means that it does not open
            opened.append(connect())

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_OPEN_SECONDS)
    if not opened or not opened[0].isOpened():
        raise UnavailableError(
            f"{name} does not open; is it connected and free? Other sources: a video file, a folder of stills, a URL, virtual"
        )
    return opened[0]


def _plausible_fps(capture: cv2.VideoCapture) -> float:
    """What the source says of its frame rate, unless it is one of the fancies of drivers and containers (0, 90000)."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 1 <= fps <= 240 else 30.0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own warnings off the terminal while something is tried that may fail."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
