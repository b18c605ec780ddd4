"""Video as phones encode it."""

from fractions import Fraction
from typing import Any, ClassVar

import av
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from calibration.common.errors import UnavailableError
from captures.sources.rendered.camera.effects.base import Clip, DevelopEffect, Stage, Step

_FULL_HD = 1920 * 1080 * 30  # pixels a second
_LEAST_BITS_S = 1000  # x264 counts thousands
_FPS = 0.1, 1000.0  # rates that x264 plans for


class H264(DevelopEffect):
    """Frames encoded by x264 as a stream, each predicted from those before it, and decoded.

    Like the encoders of phones it looks no frame ahead and has no B-frames, so each frame comes out at once.

    Attributes:
        mbit_s: bit rate of 1920×1080 pixels at 30 frames a second, 12 to 20 in phones. Other sizes and rates get theirs by the
            pixels a second to the power of 0.75 (Waggoner's rule), as small pictures have more detail a pixel.
        keyframe_s: seconds from one frame that stands for itself to the next.
    """

    name: ClassVar[str] = "h264"
    summary: ClassVar[str] = "H.264 at a phone's bit rate, in place of JPEG"
    stage: ClassVar[Stage] = Stage.ENCODER

    mbit_s: float = Field(default=17.0, ge=0.01, le=1000)
    keyframe_s: float = Field(default=1.0, ge=0.001, le=1000)

    def require_libraries(self) -> None:
        _encoder()

    def begin(self, clip: Clip) -> Step:
        stream: Stream | None = None

        def coded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            nonlocal stream
            if stream is None:
                height, width = pixels.shape[:2]
                bits_s = self.mbit_s * 1e6 * (height * width * clip.fps / _FULL_HD) ** 0.75
                stream = Stream((width, height), clip.fps, bits_s, max(1, round(self.keyframe_s * clip.fps)))
            return stream.coded(pixels)

        return coded


class Stream:
    """An H.264 stream in memory.

    Attributes:
        bits: encoded so far.
    """

    def __init__(self, size_wh: tuple[int, int], fps: float, bits_s: float, keyframe_every: int) -> None:
        """Open encoder and decoder.

        Raises:
            UnavailableError: PyAV came without x264.
        """
        self.bits, self._number = 0, 0
        bits_s = max(bits_s, _LEAST_BITS_S)
        self._encoder = encoder = _encoder()
        encoder.width, encoder.height = (side + side % 2 for side in size_wh)  # 4:2:0 needs even sides
        encoder.pix_fmt = "yuv420p"
        encoder.framerate = Fraction(min(max(fps, _FPS[0]), _FPS[1])).limit_denominator(1000)
        encoder.time_base = 1 / encoder.framerate
        encoder.bit_rate, encoder.gop_size, encoder.thread_count = round(bits_s), keyframe_every, 1
        buffer = str(round(bits_s))  # of a second
        encoder.options = {"preset": "veryfast", "tune": "zerolatency", "maxrate": buffer, "bufsize": buffer}
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_count = 1  # more of them would keep frames back

    def coded(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode the next frame, (H, W, 3) RGB, and decode it."""
        height, width = pixels.shape[:2]
        even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts, frame.time_base = self._number, self._encoder.time_base
        self._number += 1
        packets = self._encoder.encode(frame)
        self.bits += 8 * sum(packet.size for packet in packets)
        (decoded,) = (picture for packet in packets for picture in self._decoder.decode(packet))
        return np.asarray(decoded.to_ndarray(format="rgb24")[:height, :width], dtype=np.uint8)


def _encoder() -> Any:
    try:
        return av.CodecContext.create("libx264", "w")
    except av.error.FFmpegError as error:
        raise UnavailableError("this PyAV cannot encode H.264; install the one from PyPI: pip install av") from error
