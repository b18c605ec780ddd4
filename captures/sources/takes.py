"""Several videos as one source: each take is a clip."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from calibration.common.errors import InputError
from calibration.common.pictures import PICTURE_SUFFIXES
from calibration.sheet.layout import SHEET_KINDS
from captures.sources.camera_settings import CameraSettings
from captures.sources.frame import UNREADABLE, Event, Frame
from captures.sources.opening import VIDEO_SUFFIXES, FolderSource, SourceKind, VideoSource, files_in

_PAUSE_S = 2.0  # between takes, so that no frames of two are consecutive


class Takes(SourceKind):
    """A folder of videos, without pictures."""

    name: ClassVar[str] = "takes"
    summary: ClassVar[str] = "a folder of videos, each a clip"
    rank: ClassVar[int] = 25  # before stills, which take any folder

    def knows(self, spec: str) -> bool:
        folder = Path(spec)
        return folder.is_dir() and bool(files_in(folder, VIDEO_SUFFIXES)) and not files_in(folder, PICTURE_SUFFIXES)

    def open(self, spec: str, settings: CameraSettings) -> "TakesSource":
        return TakesSource(files_in(Path(spec), VIDEO_SUFFIXES), Path(spec))


class TakesSource(FolderSource):
    """A source of all frames of several videos, one after the other; those that cannot be decoded are left out with an event.

    A video whose name begins with a kind of sheet and a hyphen, ``grey-2.mp4``, shows that sheet in all its frames, also in
    those in which its markers are too far away to be read.
    """

    def __init__(self, paths: Sequence[Path], origin: Path) -> None:
        """Open the first video that can be decoded.

        Raises:
            InputError: if none can be.
        """
        super().__init__(paths, origin)
        self._open: VideoSource | None = None
        self._going = True
        self.fps = _first_fps(paths, origin)

    def behind(self, shown: Sequence[str]) -> Self:
        """Return a source that begins with the files that were shown before, see :meth:`FolderSource.behind`.

        Raises:
            InputError: if one of them is gone, as its number of frames is not known.
        """
        folder = self._paths[0].parent
        for name in shown:
            if not (folder / name).is_file():
                raise InputError(f"{folder / name} was filmed before and is gone; put it back, or film a new session")
        return super().behind(shown)

    def __iter__(self) -> Iterator[Frame]:
        number, begins_s = 0, 0.0
        for clip, path in enumerate(self._paths):
            if not self._going:
                return
            try:
                video = self._open = VideoSource(path)
            except InputError as error:
                self._events.append(Event(round(begins_s, 3), UNREADABLE, str(error)))
                continue
            prefix = path.stem.partition("-")[0].lower()
            kind = prefix if prefix in SHEET_KINDS else None
            last, ends_s = 0, 0.0
            with video:
                for frame in video:
                    self.captured, last, ends_s = number + frame.number, frame.number, frame.time_s
                    self._note(video, begins_s)
                    yield replace(
                        frame,
                        number=number + frame.number,
                        time_s=begins_s + frame.time_s,
                        clip=clip,
                        condition=kind,
                    )
                self._note(video, begins_s)
            number, begins_s = number + last, begins_s + ends_s + _PAUSE_S

    def close(self) -> None:
        self._going = False
        if self._open is not None:
            self._open.close()

    def _note(self, video: VideoSource, begins_s: float) -> None:
        """Pass on what a video noted, at the times of all takes."""
        self._events.extend(replace(event, time_s=event.time_s + begins_s) for event in video.take_events())


def _first_fps(paths: Sequence[Path], origin: Path) -> float:
    refusal = InputError(f"{origin} contains no videos ({', '.join(sorted(VIDEO_SUFFIXES))})")
    for number, path in enumerate(paths):
        try:
            with VideoSource(path) as video:
                return video.fps
        except InputError as error:
            refusal = refusal if number else error
    raise refusal
