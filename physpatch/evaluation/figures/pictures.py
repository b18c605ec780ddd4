"""Heat maps over pictures, and videos of pictures."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from calibration.common.errors import PhyspatchError

_TICKS = 1000  # per second
_FRAGMENT_S = 1.0  # seconds of video that a killed process can lose


def heat_overlay(picture: NDArray[np.uint8], heat: NDArray[np.float32], strength: float = 0.45) -> NDArray[np.uint8]:
    """Lay a heat map (h, w) in [0, 1] over a (H, W, 3) RGB uint8 picture."""
    colors = cv2.applyColorMap((np.clip(heat, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    scaled = cv2.resize(cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(picture, 1 - strength, scaled, strength, 0)


class VideoFile(AbstractContextManager["VideoFile"]):
    """An H.264 MP4 in which each picture has its own time.

    It is written in fragments of a second, so that it can be played even if the process is killed.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float, *, fast: bool = False) -> None:
        """Open the file.

        Args:
            path: of the file.
            size_wh: width and height in pixels, rounded to even numbers for the encoder. Other pictures are fitted in.
            fps: approximate number of pictures per second.
            fast: encode quickly, for live recording; otherwise the file is smaller.

        Raises:
            PhyspatchError: the file cannot be written.
        """
        self._width, self._height = (max(2, side // 2 * 2) for side in size_wh)
        self._written_ms, self._last_key_ms, self._fps = -1, -_TICKS, fps
        try:
            self._file = av.open(
                str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
            )
            self._stream = self._file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        except (av.error.FFmpegError, OSError) as error:
            raise PhyspatchError(f"cannot write the video {path} ({error}); is the folder writable?") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        speed = {"preset": "ultrafast", "tune": "zerolatency", "threads": "1"} if fast else {"preset": "medium"}
        self._stream.options = {"crf": "23", **speed}

    def __exit__(self, *exception: object) -> None:
        failed = exception[:1] != (None,)
        # The first failure is the one to report.
        with suppress(PhyspatchError) if failed else nullcontext(), _in_words(), closing(self._file):
            self._file.mux(self._stream.encode(None))

    def add(self, picture: NDArray[np.uint8], time_s: float | None = None) -> None:
        """Append an (H, W, 3) RGB uint8 picture, shown from ``time_s`` on; by default, after the previous one.

        Raises:
            PhyspatchError: the file cannot be written.
        """
        if time_s is None:
            time_s = 0.0 if self._written_ms < 0 else self._written_ms / _TICKS + 1 / self._fps
        self._written_ms = max(self._written_ms + 1, round(time_s * _TICKS))
        frame = av.VideoFrame.from_ndarray(self._fitted(picture), format="rgb24")
        frame.pts, frame.time_base = self._written_ms, Fraction(1, _TICKS)
        if self._written_ms - self._last_key_ms >= _FRAGMENT_S * _TICKS:
            frame.pict_type, self._last_key_ms = PictureType.I, self._written_ms
        with _in_words():
            self._file.mux(self._stream.encode(frame))

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fit a picture to the video's size: crop a pixel, or, where a camera changed its format, add black bars."""
        height, width = picture.shape[:2]
        if (width // 2 * 2, height // 2 * 2) == (self._width, self._height):
            return np.ascontiguousarray(picture[: self._height, : self._width])
        factor = min(self._width / width, self._height / height)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        canvas = np.zeros((self._height, self._width, 3), np.uint8)
        left, top = (self._width - size[0]) // 2, (self._height - size[1]) // 2
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return canvas


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise PhyspatchError(f"the video cannot be written any further ({error}); the part so far is kept") from error
