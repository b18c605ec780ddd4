"""Record a session's pictures: the annotated video, annotated key frames and original frames."""

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import naming
from captures.inference.analyser import Analysis
from captures.sources.frame import Frame
from captures.sources.opencv import KEPT_JPEG, KEPT_PNG, rgb
from captures.storage import LOSSY_SUFFIX, RAW_FOLDER, WHOLE_SUFFIX, FrameRow
from physpatch.evaluation.figures.pictures import VideoFile

_RESERVE_BYTES = 20_000_000
_KEY_EVERY_S = 1.0


@dataclass(frozen=True)
class KeepRule:
    """The rule for keeping original frames: ``all``, ``none``, ``key`` frames, or every Nth frame with ``every`` N.

    They are kept as JPEG, except with ``whole``, which keeps all frames without any loss.
    """

    which: Literal["all", "whole", "none", "key", "every"] = "key"
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> "KeepRule":
        """Parse ``all``, ``whole``, ``none``, ``key`` or a whole number.

        Raises:
            InputError: if the text is none of these.
        """
        if text.isdecimal() and int(text) > 0:
            return cls("every", int(text))
        if text not in ("all", "whole", "none", "key"):
            raise InputError(f"--keep {text}: expected all, whole, key, none, or a number N for every Nth frame")
        return cls(text)  # type: ignore[arg-type]

    def keeps(self, number: int, *, key: bool) -> bool:
        """Return whether to keep the recorded frame ``number``, counted from 1; ``key`` marks a key frame."""
        if self.which == "every":
            return (number - 1) % self.every == 0
        return self.which in ("all", "whole") or (self.which == "key" and key)


class Recorder(AbstractContextManager["Recorder"]):
    """Write ``video.mp4``, ``frames/`` and ``raw/`` of a session folder."""

    def __init__(self, out: Path, fps: float, keep: KeepRule, part: int = 1, begins_s: float = 0.0) -> None:
        """Begin without pictures.

        Args:
            out: the session folder.
            fps: approximate number of frames per second.
            keep: which original frames are kept.
            part: of the session; from the second on, it is the number of the video, too.
            begins_s: when the part begins, in seconds from the session's start.
        """
        self._out, self._fps, self._keep, self._begins_s = out, fps, keep, begins_s
        self._name = "video.mp4" if part == 1 else f"video-{part}.mp4"
        self._video: VideoFile | None = None
        self._number = 0
        self._last_key: FrameRow | None = None

    def __exit__(self, *exception: object) -> None:
        if self._video is not None:
            self._video.__exit__(*exception)

    def add(self, analysis: Analysis, picture: NDArray[np.uint8]) -> None:
        """Record one frame and its annotated copy, (H, W, 3) RGB uint8.

        Raises:
            PhyspatchError: if the disk is full or nearly full; the remaining space suffices to finish the files.
        """
        free = shutil.disk_usage(self._out).free
        if free < _RESERVE_BYTES:
            raise PhyspatchError(
                f"only {free / 1e6:.0f} MB left on the disk of {self._out}; earlier frames are kept. Free some space, or film "
                "into another --out"
            )
        row = analysis.rows[0]
        if self._video is None:
            self._video = VideoFile(self._out / self._name, picture.shape[1::-1], self._fps, fast=True)
        self._video.add(picture, row.time_s - self._begins_s)
        self._number += 1
        key = self._last_key is None or _is_key_frame(row, self._last_key)
        if key:
            self._last_key = row
            self._save("frames", f"{row.frame:06d}-{row.condition}.jpg", picture)
        if self._keep.keeps(self._number, key=key):
            self._keep_frame(analysis.frame, row.frame)

    def _keep_frame(self, frame: Frame, number: int) -> None:
        if frame.recorded is not None:  # encoding it again would lose a little more
            path = self._out / RAW_FOLDER / frame.recorded.file.name
            with naming(path):
                path.parent.mkdir(exist_ok=True)
                shutil.copyfile(frame.recorded.file, path)
        else:
            suffix = WHOLE_SUFFIX if self._keep.which == "whole" else LOSSY_SUFFIX
            self._save(RAW_FOLDER, f"{number:06d}{suffix}", frame.image)

    def _save(self, folder: str, name: str, picture: NDArray[np.uint8]) -> None:
        path = self._out / folder / name
        how = KEPT_PNG if path.suffix == WHOLE_SUFFIX else KEPT_JPEG
        with naming(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(cv2.imencode(path.suffix, rgb(picture), how)[1].tobytes())


def _is_key_frame(row: FrameRow, last: FrameRow) -> bool:
    """Tell whether a frame is a key frame after the last one.

    One frame a second is, the first of each clip and condition, and the first whose sheet is located after one without: an
    approach is soon over once its markers can be read, and only such frames can be replayed.
    """
    another_take = (row.condition, row.clip) != (last.condition, last.clip)
    first_located = row.distance_m is not None and last.distance_m is None
    return another_take or first_located or row.time_s - last.time_s >= _KEY_EVERY_S
