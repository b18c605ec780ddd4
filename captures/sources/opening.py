"""Sources of frames.

A kind of source is a ``SourceKind`` in a module of this package or behind an entry point of the group
``captures.sources``.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

import cv2
import numpy as np

from calibration.camera.intrinsics import Intrinsics
from calibration.common.errors import InputError, UnavailableError
from calibration.common.pictures import PICTURE_SUFFIXES, check_size, read_picture
from calibration.common.registry import Registry
from calibration.common.text import cleaned
from calibration.sheet.layout import SheetLayout
from captures.sources.camera_settings import CameraSettings
from captures.sources.cameras import CameraSource, find_camera
from captures.sources.frame import UNREADABLE, Event, Frame
from captures.sources.opencv import plausible_fps, quietly, rgb

VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".mjpeg", ".mjpg", ".m4v"}
_TAIL_S = 0.5  # a container may announce a little more than it holds
_MOST_MISSING = 100  # times what was read: then the number that the file announces is damaged
_LEAST_FRAME_BYTES = 8  # its entry in the index
_HOLE_S = 0.25  # between two frames of a video: frames were lost with what announced them
_LONGEST_HOLE_S = 3600.0  # a later frame's time is damaged
_LEAST_FPS = 0.01  # a time lapse of a frame every hundred seconds
_URL = re.compile(r"(https?|rtsps?|rtmp|udp|tcp)://", re.IGNORECASE)


class Source(Protocol):
    """An iterable of frames that owns a resource; use it in a ``with`` block.

    A ``live`` source runs by itself and yields the newest frame; other sources yield every frame. Live sources also have the
    methods of :class:`captures.sources.latest_frame.LiveFrames`.
    """

    fps: float
    live: bool

    @property
    def captured(self) -> int:
        """Return the number of frames captured so far; a file's frames are captured when they are read."""
        ...

    @property
    def dropped(self) -> int:
        """Return the number of captured frames that were not consumed in time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def __iter__(self) -> Iterator[Frame]: ...

    def take_events(self) -> list[Event]:
        """Return the events since the last call."""
        ...

    def status(self) -> str:
        """Return the current problem in words; "" if there is none."""
        ...

    def close(self) -> None:
        """End the iteration, from any thread."""
        ...


@runtime_checkable
class StagedScenes(Protocol):
    """A source that chooses what its clips show, and so knows which of them show the same scene.

    Attributes:
        scenes: the number of each clip's scene.
    """

    @property
    def scenes(self) -> Sequence[int]: ...


class Rig(Source, StagedScenes, Protocol):
    """A source that shows printed sheets to a camera which is computed.

    Attributes:
        layouts: the sheets that it shows.
        intrinsics: of its camera.
        seed: of poses, lights and noise.
        clips, frames_per_clip: how often each sheet is shown, and for how many frames each time.
    """

    seed: int
    clips: int
    frames_per_clip: int

    @property
    def layouts(self) -> Sequence[SheetLayout]: ...

    @property
    def intrinsics(self) -> Intrinsics: ...

    def __len__(self) -> int:
        """Return the number of frames."""
        ...


class FileSource:
    """Base class of sources that are not live."""

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


class EventSource(FileSource):
    """A source that notes events, such as what it could not read; it goes on with the next frame."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()  # filled and emptied by different threads

    def take_events(self) -> list[Event]:
        return [self._events.popleft() for _ in range(len(self._events))]


class SourceKind(ABC):
    """A kind of source, recognised by the value of ``--source``; kinds are tried in order of rank.

    Attributes:
        name: of the kind.
        summary: one line that describes the values it accepts.
        rank: kinds with a lower rank are tried first; built-in kinds have 10 to 50.
        has_driver: whether the kind supports :class:`CameraSettings`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rank: ClassVar[int] = 100
    has_driver: ClassVar[bool] = False

    @abstractmethod
    def knows(self, spec: str) -> bool:
        """Return whether ``spec`` is of this kind."""

    @abstractmethod
    def open(self, spec: str, settings: CameraSettings) -> Source:
        """Open the source that ``spec`` names.

        Raises:
            InputError: if it is not readable.
            UnavailableError: if it does not respond.
        """


SOURCES = Registry("source", SourceKind, "captures.sources", "captures.sources")


def find_kind(spec: str, settings: CameraSettings) -> SourceKind:
    """Find the kind of the source that ``spec`` names, without opening it.

    Raises:
        InputError: if there is no such source, or settings are given for one that is not a camera.
    """
    for kind in sorted((kind() for kind in SOURCES.values()), key=lambda kind: kind.rank):
        if (kind.has_driver or not settings.asked) and kind.knows(spec):
            return kind
    if settings.asked:
        raise InputError(f"{spec} is not a camera, so {', '.join(settings.asked)} cannot be set")
    if Path(spec).exists():
        raise InputError(
            f"{spec} is not a video ({', '.join(sorted(VIDEO_SUFFIXES))}), a picture, or a folder of pictures or videos"
        )
    raise InputError(
        f"no source {spec!r}; expected the index (0) or name of a camera, a video file, a folder of stills or videos, "
        "an http/rtsp URL, phone, virtual or rendered"
    )


def open_source(spec: str, settings: CameraSettings | None = None) -> Source:
    """Open a source of frames.

    Args:
        spec: index or name of a camera, a video file, a picture or folder of pictures, a URL, or what an extension accepts.
        settings: for the driver of a camera; not for other sources.

    Raises:
        InputError: if there is no such source, it is not readable, or settings are given for one that is not a camera.
        UnavailableError: if the camera or stream does not respond.
    """
    settings = settings or CameraSettings()
    return find_kind(spec, settings).open(spec, settings)


class CameraIndex(SourceKind):
    """A camera by its index."""

    name: ClassVar[str] = "camera"
    summary: ClassVar[str] = "a camera by its index: 0"
    rank: ClassVar[int] = 10
    has_driver: ClassVar[bool] = True

    def knows(self, spec: str) -> bool:
        return spec.isdecimal()

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return CameraSource.camera(lambda: int(spec), settings, f"camera {spec}")


class Stream(SourceKind):
    """A network stream."""

    name: ClassVar[str] = "stream"
    summary: ClassVar[str] = "an http, rtsp, rtmp, udp or tcp URL"
    rank: ClassVar[int] = 20

    def knows(self, spec: str) -> bool:
        return _URL.match(spec) is not None

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return CameraSource.stream(spec)


class Stills(SourceKind):
    """A picture, or a folder of pictures."""

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
        return StillsSource(files_in(path, PICTURE_SUFFIXES), path)


class Video(SourceKind):
    """A video file."""

    name: ClassVar[str] = "video"
    summary: ClassVar[str] = "a video file"
    rank: ClassVar[int] = 40

    def knows(self, spec: str) -> bool:
        return Path(spec).is_file() and Path(spec).suffix.lower() in VIDEO_SUFFIXES

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return VideoSource(Path(spec))


class CameraName(SourceKind):
    """A camera by its system name."""

    name: ClassVar[str] = "named camera"
    summary: ClassVar[str] = "a camera by its name, or a part of it"
    rank: ClassVar[int] = 50
    has_driver: ClassVar[bool] = True

    def knows(self, spec: str) -> bool:
        return not Path(spec).exists() and find_camera(spec) is not None

    def open(self, spec: str, settings: CameraSettings) -> Source:
        _required_camera(spec)  # or the reason would be lost where it is opened
        return CameraSource.camera(partial(_required_camera, spec), settings, spec)


def _required_camera(name: str) -> int:
    index = find_camera(name)
    if index is None:
        raise UnavailableError(f"the camera {name!r} was disconnected; plug it in again")
    return index


def files_in(folder: Path, suffixes: Container[str]) -> list[Path]:
    """List the files of a folder with such suffixes, in lower case, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)


class FolderSource(EventSource):
    """Base class of sources of the files of a folder, each of which is a clip by itself."""

    def __init__(self, paths: Sequence[Path], origin: Path) -> None:
        """Show the files ``paths`` of the folder ``origin``."""
        super().__init__()
        self._paths = paths

    @property
    def files(self) -> list[str]:
        """Return the files' names, in the order in which they are shown."""
        return [path.name for path in self._paths]

    def behind(self, shown: Sequence[str]) -> Self:
        """Return a source that begins with the files that were shown before, by name, also with those that are gone.

        A file that was added later may be before them by name, and would take the number of one that was shown.
        """
        folder, shown_names = self._paths[0].parent, set(shown)
        added = [path for path in self._paths if path.name not in shown_names]
        return type(self)([*(folder / name for name in shown), *added], folder)


class StillsSource(FolderSource):
    """A source of still pictures, each shown once; damaged ones are left out with an event."""

    fps = 5.0

    def __init__(self, paths: Sequence[Path], origin: Path) -> None:
        if not paths:
            raise InputError(f"{origin} contains no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        super().__init__(paths, origin)
        self.scenes = range(len(paths))  # of each clip: every picture is one by itself

    def __iter__(self) -> Iterator[Frame]:
        refusal: InputError | None = None
        has_frame = False
        for index, path in enumerate(self._paths):
            self.captured = index + 1
            try:
                picture = read_picture(path)
            except InputError as error:
                refusal = refusal or error
                self._events.append(Event(round(index / self.fps, 3), UNREADABLE, str(error)))
                continue
            has_frame = True
            yield Frame(picture, index / self.fps, index + 1, clip=index)
        if refusal is not None and not has_frame:
            raise refusal


class VideoSource(EventSource):
    """A source of all frames of a video file, at the times that it gives.

    A stretch that cannot be decoded, or is missing, is a gap, like that of a lost camera.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if cleaned(str(path)) != str(path):  # or OpenCV crashes
            raise InputError(f"{path}: OpenCV opens no video with such a name; rename it")
        with quietly():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f"{path} cannot be decoded as a video; copy it anew, or convert it with ffmpeg")
        self._path = path
        self.fps = plausible_fps(self._capture, _LEAST_FPS)
        announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))  # of some containers an estimate, or below 0
        self._length = min(announced, path.stat().st_size // _LEAST_FRAME_BYTES)  # a damaged one may be billions
        self._going = True
        try:
            check_size(
                *(int(self._capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            )
        except InputError as error:
            raise InputError(f"{path} has frames of {error}") from error

    def __exit__(self, *exception: object) -> None:
        self._capture.release()

    def close(self) -> None:
        self._going = False

    def __iter__(self) -> Iterator[Frame]:
        number = failed = 0  # of the last frame; of reads since then that failed
        time_s = -1 / self.fps
        while self._going and (failed < self._length or not failed):
            ok, picture = self._capture.read()
            if not ok:
                failed += 1
                continue
            before_s, (time_s, missing) = time_s, self._place(time_s, failed)
            if missing:
                self._note_lost(number + 1, missing, before_s)
                self._events.append(Event(time_s, "back"))
            number, failed = number + missing + 1, 0
            self.captured = number
            yield Frame(rgb(np.asarray(picture, dtype=np.uint8)), time_s, number)
        missing = self._length - number
        if failed and max(1, _TAIL_S * self.fps) < missing < _MOST_MISSING * max(1, number):
            self.captured = self._length
            self._note_lost(number + 1, missing, time_s)
            self._events.append(Event(self._length / self.fps, "back", "the file's end"))

    def _place(self, before_s: float, failed: int) -> tuple[float, int]:
        """Return the time of the frame just read, and how many are missing before it.

        Args:
            before_s: the time of the last frame.
            failed: reads since then that failed: as many frames, if the file gives no time that can be right.
        """
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        step_s = time_s - before_s
        if not 0 < step_s < _LONGEST_HOLE_S:
            return before_s + (failed + 1) / self.fps, failed
        hole = failed or step_s > max(_HOLE_S, 1.5 / self.fps)  # a shorter one is a variable frame rate's
        return time_s, max(0, round(step_s * self.fps) - 1) if hole else 0

    def _note_lost(self, first: int, number: int, before_s: float) -> None:
        """Note that ``number`` frames from ``first`` on, after the time ``before_s``, could not be read."""
        frames = f"frame {first}" if number == 1 else f"frames {first} to {first + number - 1}"
        start_s = before_s + 1 / self.fps
        self._events.append(Event(start_s, "lost", f"{frames} of {self._path.name}: missing or damaged"))
