"""Where frames come from. A new kind of source is one class and one line in :func:`open_source`."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np

from calibration.common.errors import InputError
from calibration.common.files import PICTURE_SUFFIXES
from captures.sources.camera_settings import CameraSettings
from captures.sources.cameras import CameraSource, find_camera
from captures.sources.frame import Event, Frame
from captures.sources.opencv import plausible_fps, quietly, rgb

_VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".mjpeg", ".mjpg", ".m4v"}
_URL = re.compile(r"(https?|rtsps?|rtmp|udp|tcp)://", re.IGNORECASE)


class Source(Protocol):
    """An iterable of frames that owns a resource: use it in a ``with`` block.

    A ``live`` source goes on whether or not anybody asks, and gives the newest frame; another gives every frame. Live ones
    offer what :class:`captures.sources.latest_frame.LiveFrames` has besides.
    """

    fps: float
    live: bool

    @property
    def captured(self) -> int:
        """Frames that came so far; those of a file wait until they are asked for."""
        ...

    @property
    def dropped(self) -> int:
        """How many of them nobody took in time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def take_events(self) -> list[Event]:
        """What happened since the last call."""
        ...

    def status(self) -> str:
        """What is wrong at the moment, in words; empty where all is well."""
        ...

    def close(self) -> None:
        """End the iteration, from any thread."""
        ...


class FileSource:
    """What sources have in common that wait until they are asked."""

    live = False
    captured = dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def take_events(self) -> list[Event]:
        return []

    def status(self) -> str:
        return ""

    def close(self) -> None: ...


def open_source(spec: str, settings: CameraSettings | None = None) -> "Source":
    """Choose the source for ``0`` (a camera index), a camera's name, a video file, a folder of stills, or a stream's URL.

    Args:
        spec: which.
        settings: what to ask of a camera's driver; of a camera alone.

    Raises:
        InputError: nothing there, nothing readable in it, or settings for what is no camera.
        UnavailableError: the camera or stream does not answer.
    """
    if spec.isdigit():
        return CameraSource.camera(int(spec), settings or CameraSettings())
    if settings is not None and settings.asked:
        if (index := find_camera(spec)) is not None:
            return CameraSource.camera(index, settings)
        raise InputError(f"{spec} is no camera, so there is no {', '.join(settings.asked)} to set")
    if _URL.match(spec):
        return CameraSource.stream(spec)
    path = Path(spec)
    if path.is_dir():
        return StillsSource(sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES), path)
    if path.is_file() and path.suffix.lower() in _VIDEO_SUFFIXES:
        return VideoSource(path)
    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        return StillsSource([path], path)
    if path.exists():
        raise InputError(
            f"{spec} is neither a video ({', '.join(sorted(_VIDEO_SUFFIXES))}) nor a picture nor a folder of stills"
        )
    if (index := find_camera(spec)) is not None:
        return CameraSource.camera(index, CameraSettings())
    raise InputError(
        f"no source {spec!r}; expected a camera's index (0) or name, a video file, a folder of stills, "
        "an http/rtsp URL, phone or virtual"
    )


class StillsSource(FileSource):
    """Pictures once each, in the order given; each is a clip of its own."""

    fps = 5.0

    def __init__(self, paths: Sequence[Path], where: Path) -> None:
        if not paths:
            raise InputError(f"{where} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        self._paths = paths

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is None:
                raise InputError(f"broken picture {path}; remove it and start again")
            self.captured = index + 1
            yield Frame(rgb(picture), index / self.fps, index + 1, clip=index)


class VideoSource(FileSource):
    """Every frame of a video file, none dropped."""

    def __init__(self, path: Path) -> None:
        with quietly():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f"{path} cannot be decoded as a video")
        self.fps = plausible_fps(self._capture)

    def __exit__(self, *exception: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            ok, picture = self._capture.read()
            if not ok:
                return
            index += 1
            self.captured = index
            yield Frame(rgb(np.asarray(picture, dtype=np.uint8)), (index - 1) / self.fps, index)
