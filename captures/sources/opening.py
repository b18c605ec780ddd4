"""Where frames come from.

A kind of source is one module here with a ``SourceKind``, or a class behind an entry point ``captures.sources``.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, Self

import cv2
import numpy as np

from calibration.common.errors import InputError, UnavailableError
from calibration.common.files import PICTURE_SUFFIXES
from calibration.common.registry import Registry
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


class SourceKind(ABC):
    """A kind of source, by what a person writes for ``--source``. The kinds are asked in the order of their ranks.

    Attributes:
        name: of the kind.
        summary: one line: what is written for it.
        rank: the lower, the earlier it is asked; ours have 10 to 50.
        has_driver: whether a source of this kind takes :class:`CameraSettings`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rank: ClassVar[int] = 100
    has_driver: ClassVar[bool] = False

    @abstractmethod
    def knows(self, spec: str) -> bool:
        """Tell whether ``spec`` is of this kind."""

    @abstractmethod
    def open(self, spec: str, settings: CameraSettings) -> Source:
        """Open what ``spec`` names.

        Raises:
            InputError: nothing readable is there.
            UnavailableError: it does not answer.
        """


SOURCES = Registry("source", SourceKind, "captures.sources", "captures.sources")


def open_source(spec: str, settings: CameraSettings | None = None) -> Source:
    """Open ``0`` (a camera index), a camera's name, a video file, a folder of stills, a stream's URL, or a kind that was added.

    Args:
        spec: which.
        settings: what to ask of a camera's driver; of a camera alone.

    Raises:
        InputError: nothing there, nothing readable in it, or settings for what is no camera.
        UnavailableError: the camera or stream does not answer.
    """
    settings = settings or CameraSettings()
    for kind in sorted((kind() for kind in SOURCES.values()), key=lambda kind: kind.rank):
        if (kind.has_driver or not settings.asked) and kind.knows(spec):
            return kind.open(spec, settings)
    if settings.asked:
        raise InputError(f"{spec} is no camera, so there is no {', '.join(settings.asked)} to set")
    if Path(spec).exists():
        raise InputError(
            f"{spec} is neither a video ({', '.join(sorted(_VIDEO_SUFFIXES))}) nor a picture nor a folder of stills"
        )
    raise InputError(
        f"no source {spec!r}; expected a camera's index (0) or name, a video file, a folder of stills, "
        "an http/rtsp URL, phone or virtual"
    )


class CameraIndex(SourceKind):
    """A camera by its number."""

    name: ClassVar[str] = "camera"
    summary: ClassVar[str] = "a camera by its index: 0"
    rank: ClassVar[int] = 10
    has_driver: ClassVar[bool] = True

    def knows(self, spec: str) -> bool:
        return spec.isdigit()

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return CameraSource.camera(int(spec), settings)


class Stream(SourceKind):
    """A stream on the network."""

    name: ClassVar[str] = "stream"
    summary: ClassVar[str] = "an http, rtsp, rtmp, udp or tcp URL"
    rank: ClassVar[int] = 20

    def knows(self, spec: str) -> bool:
        return _URL.match(spec) is not None

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return CameraSource.stream(spec)


class Stills(SourceKind):
    """Pictures on disk."""

    name: ClassVar[str] = "stills"
    summary: ClassVar[str] = "a picture, or a folder of pictures"
    rank: ClassVar[int] = 30

    def knows(self, spec: str) -> bool:
        path = Path(spec)
        return path.is_dir() or (path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES)

    def open(self, spec: str, settings: CameraSettings) -> Source:
        path = Path(spec)
        if path.is_file():
            return StillsSource([path], path)
        return StillsSource(sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES), path)


class Video(SourceKind):
    """A video on disk."""

    name: ClassVar[str] = "video"
    summary: ClassVar[str] = "a video file"
    rank: ClassVar[int] = 40

    def knows(self, spec: str) -> bool:
        return Path(spec).is_file() and Path(spec).suffix.lower() in _VIDEO_SUFFIXES

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return VideoSource(Path(spec))


class CameraName(SourceKind):
    """A camera by the name that the system has for it."""

    name: ClassVar[str] = "named camera"
    summary: ClassVar[str] = "a camera by its name, or a part of it"
    rank: ClassVar[int] = 50
    has_driver: ClassVar[bool] = True

    def knows(self, spec: str) -> bool:
        return not Path(spec).exists() and find_camera(spec) is not None

    def open(self, spec: str, settings: CameraSettings) -> Source:
        index = find_camera(spec)
        if index is None:
            raise UnavailableError(f"the camera {spec!r} was there and is gone; plug it in again")
        return CameraSource.camera(index, settings)


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
