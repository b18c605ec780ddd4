"""The pictures of a session on disk: the annotated video, annotated key frames, and frames as they came."""

import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, PhyspatchError
from captures.inference.analyser import Analysis
from captures.sources.opencv import KEPT_JPEG, rgb
from physpatch.evaluation.figures.pictures import VideoFile

_RESERVE_BYTES = 20_000_000
_KEY_EVERY_S = 1.0  # a key frame a second, and the first of each clip and condition


@dataclass(frozen=True)
class KeepRule:
    """Which frames are kept as they came: ``all``, ``none``, ``key`` frames, or one of ``every``."""

    which: Literal["all", "none", "key", "every"] = "key"
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> "KeepRule":
        """From ``all``, ``none``, ``key`` or a whole number.

        Raises:
            InputError: none of them.
        """
        if text.isdecimal() and int(text) > 0:
            return cls("every", int(text))
        if text not in ("all", "none", "key"):
            raise InputError(f"--keep {text}: expected all, key, none, or a number N for every Nth frame")
        return cls(text)  # type: ignore[arg-type]

    def keeps(self, number: int, *, key: bool) -> bool:
        """Whether the ``number``-th recorded frame, from 1, is kept."""
        if self.which == "every":
            return (number - 1) % self.every == 0
        return self.which == "all" or (self.which == "key" and key)


class Recorder(AbstractContextManager["Recorder"]):
    """Writes ``video.mp4``, ``frames/`` and ``raw/`` of a session folder."""

    def __init__(self, out: Path, fps: float, keep: KeepRule) -> None:
        self._out, self._fps, self._keep = out, fps, keep
        self._video: VideoFile | None = None
        self._number = 0
        self._last_key: tuple[str, int, float] | None = None

    def __exit__(self, *exception: object) -> None:
        if self._video is not None:
            self._video.__exit__(*exception)

    def add(self, analysis: Analysis, picture: NDArray[np.uint8]) -> None:
        """Record one frame and its annotated copy.

        Raises:
            PhyspatchError: the disk is full, or nearly: enough is left to finish what was begun.
        """
        free = shutil.disk_usage(self._out).free
        if free < _RESERVE_BYTES:  # writers of pictures do not tell when a disk is full, they only spoil the file
            raise PhyspatchError(f"only {free / 1e6:.0f} MB left on the disk of {self._out}; what was captured is kept")
        row = analysis.rows[0]
        if self._video is None:
            self._video = VideoFile(self._out / "video.mp4", picture.shape[1::-1], self._fps, fast=True)
        self._video.add(picture, row.time_s)
        self._number += 1
        last = self._last_key
        key = last is None or (row.condition, row.clip) != last[:2] or row.time_s - last[2] >= _KEY_EVERY_S
        if key:
            self._last_key = (row.condition, row.clip, row.time_s)
            self._save("frames", f"{row.frame:06d}-{row.condition}.jpg", picture)
        if self._keep.keeps(self._number, key=key):
            self._save("raw", f"{row.frame:06d}.jpg", analysis.frame.image)

    def _save(self, folder: str, name: str, picture: NDArray[np.uint8]) -> None:
        (self._out / folder).mkdir(exist_ok=True)
        path = self._out / folder / name
        if not cv2.imwrite(str(path), rgb(picture), KEPT_JPEG):
            raise PhyspatchError(f"{path} cannot be written; is the disk full? What was captured before is kept")
