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
from captures.sources.opencv import KEPT_JPEG, rgb
from physpatch.evaluation.figures.pictures import VideoFile

_RESERVE_BYTES = 20_000_000
_KEY_EVERY_S = 1.0  # one key frame per second, and the first of each clip and condition


@dataclass(frozen=True)
class KeepRule:
    """The rule for keeping original frames: ``all``, ``none``, ``key`` frames, or every Nth frame with ``every`` N."""

    which: Literal["all", "none", "key", "every"] = "key"
    every: int = 1

    @classmethod
    def parse(cls, text: str) -> "KeepRule":
        """Parse ``all``, ``none``, ``key`` or a whole number.

        Raises:
            InputError: if the text is none of these.
        """
        if text.isdecimal() and int(text) > 0:
            return cls("every", int(text))
        if text not in ("all", "none", "key"):
            raise InputError(f"--keep {text}: expected all, key, none, or a number N for every Nth frame")
        return cls(text)  # type: ignore[arg-type]

    def keeps(self, number: int, *, key: bool) -> bool:
        """Return whether to keep the recorded frame ``number``, counted from 1; ``key`` marks a key frame."""
        if self.which == "every":
            return (number - 1) % self.every == 0
        return self.which == "all" or (self.which == "key" and key)


class Recorder(AbstractContextManager["Recorder"]):
    """Write ``video.mp4``, ``frames/`` and ``raw/`` of a session folder."""

    def __init__(self, out: Path, fps: float, keep: KeepRule) -> None:
        self._out, self._fps, self._keep = out, fps, keep
        self._video: VideoFile | None = None
        self._number = 0
        self._last_key: tuple[str, int, float] | None = None

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
        path = self._out / folder / name
        with naming(path):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(cv2.imencode(".jpg", rgb(picture), KEPT_JPEG)[1].tobytes())
