"""Frames from a phone: untrusted JPEGs, validated before they are decoded."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.pictures import decode_picture
from captures.sources.latest_frame import LiveFrames
from captures.sources.opencv import rgb

MOST_BYTES = 4_000_000
_MOST_SIDE, _LEAST_SIDE = 4096, 16
_PHONE_FPS = 15.0
_STALLED_S = 5.0


class PhoneSource(LiveFrames):
    """A source of frames from a phone's browser; the session waits while no phone is connected."""

    def __init__(self) -> None:
        super().__init__("phone", _PHONE_FPS)
        self.connected = 0
        self._latest_at = 0.0
        self.lose("waiting for a phone: open the link on it")

    def connect(self) -> None:
        """Count a phone that has opened its page, and has yet to send a frame."""
        self._latest_at = time.monotonic()
        self.connected += 1

    def put(self, picture: NDArray[np.uint8], camera: Mapping[str, float] | None = None) -> None:
        with self._changed:
            self._latest_at = time.monotonic()
            super().put(picture, camera)

    def status(self) -> str:
        with self._changed:  # a frame that comes just now is not lost
            if self.connected and time.monotonic() - self._latest_at > _STALLED_S:
                self.lose(f"the phone has sent no frame for {_STALLED_S:.0f} s: bring its page to the front")
        return super().status()


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG to a picture, (H, W, 3) BGR uint8, after checking the size in its header.

    Raises:
        InputError: if it is not a valid JPEG, or too large or too small.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"the frame has {len(data)} bytes; expected at most {MOST_BYTES}")
    try:
        return rgb(decode_picture(data, ["JPEG"], (_LEAST_SIDE, _MOST_SIDE)))
    except InputError as error:
        raise InputError(f"the frame cannot be used: {error}") from error
