"""Folders of videos: frames of each, sampled evenly, are the photographs of one clip."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.common.errors import InputError, first_line
from calibration.common.pictures import check_size, is_picture
from physpatch.data.formats.base import DataFormat, Item, Label
from physpatch.data.formats.unpacking import cache_folder
from physpatch.data.splits import content_id

FRAMES_PER_CLIP = 8
# By suffix, and not as the file's content claims: a playlist would make the decoder open other files and addresses.
_DEMUXERS = {".mp4": "mov", ".mov": "mov", ".m4v": "mov", ".avi": "avi", ".mkv": "matroska", ".webm": "matroska"}


class Videos(DataFormat):
    """A folder of videos and no pictures, whose sub-folders, if any, are classes."""

    name: ClassVar[str] = "videos"
    summary: ClassVar[str] = (
        f"videos in a sub-folder for each class: {FRAMES_PER_CLIP} frames of each, which stay together"
    )
    has_columns, in_order = False, True

    @classmethod
    def recognises(cls, source: Path) -> bool:
        """Accept a folder with videos and without pictures."""
        return source.is_dir() and bool(videos_in(source)) and not _has_pictures(source)

    def items(self) -> list[Item]:
        """List the frames, clip by clip."""
        items: list[Item] = []
        for video in videos_in(self.source):
            parts = video.relative_to(self.source).parts
            label = parts[0] if len(parts) > 1 else None
            items += [Item(frame, label, clip=video) for frame in frames_of(video)]
        return items

    def classes(self) -> tuple[Label, ...]:
        """List the sub-folders with videos."""
        inside = (video.relative_to(self.source).parts for video in videos_in(self.source))
        return tuple(sorted({parts[0] for parts in inside if len(parts) > 1}))


def videos_in(folder: Path) -> list[Path]:
    """List the videos of a folder and its sub-folders."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _DEMUXERS and p.is_file())


def _has_pictures(folder: Path) -> bool:
    return any(map(is_picture, folder.rglob("*")))


def frames_of(video: Path, count: int = FRAMES_PER_CLIP) -> list[Path]:
    """Unpack frames of a video to the cache, unless they are there: PNG, evenly over its time, fewer if it is short.

    Raises:
        InputError: it is damaged, has no pictures, or ones that are too large.
    """
    folder = cache_folder() / "frames" / f"{content_id(video)}-{count}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            for number, frame in enumerate(_decoded(video, count), start=1):
                Image.fromarray(frame).save(temporary / f"{video.stem}-{number:02}.png")
            with suppress(OSError):  # another process was faster
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return sorted(folder.iterdir())


def _decoded(video: Path, count: int) -> list[NDArray[np.uint8]]:
    """Decode the frames in the middle of ``count`` equal stretches of a video, (H, W, 3) RGB uint8."""
    try:
        with av.open(
            str(video), format=_DEMUXERS[video.suffix.lower()], options={"protocol_whitelist": "file"}
        ) as container:
            if not container.streams.video:
                raise InputError(f"{video} has no pictures; remove it")
            stream = container.streams.video[0]
            check_size(stream.width, stream.height)
            times = [float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None]
            if not times:
                raise InputError(f"{video} has no frames; remove it")
            chosen_times = _evenly(sorted(set(times)), count)
            frames: list[NDArray[np.uint8]] = []
            container.seek(0)
            for frame in container.decode(stream):
                if (
                    len(frames) < len(chosen_times)
                    and frame.time is not None
                    and frame.time >= chosen_times[len(frames)] - 1e-6
                ):
                    check_size(frame.width, frame.height)
                    pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    frames.append(np.rot90(pixels, round(frame.rotation / 90)))
                if len(frames) == len(chosen_times):
                    break
    except InputError as error:
        raise error if str(video) in str(error) else InputError(f"{video}: {error}") from error
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise InputError(f"broken video {video} ({first_line(error)}); remove or replace it") from error
    if not frames:
        raise InputError(f"broken video {video} (no frame can be decoded); remove or replace it")
    return frames


def _evenly(times: list[float], count: int) -> list[float]:
    """Choose times from the middles of equal stretches."""
    if len(times) <= count:
        return times
    return [times[int((i + 0.5) * len(times) / count)] for i in range(count)]
