"""A phone's frames: JPEGs of a stranger's making, looked at before they are decoded."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from calibration.common.errors import InputError
from captures.sources.latest_frame import LiveFrames

MOST_BYTES = 4_000_000
_MOST_SIDE, _LEAST_SIDE = 4096, 16
_PHONE_FPS = 15.0


class PhoneSource(LiveFrames):
    """The frames that a phone's browser sends. While none is connected, the session waits."""

    def __init__(self) -> None:
        super().__init__("phone", _PHONE_FPS)
        self.connected = 0
        self.lose("waiting for a phone: open the link on it")


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """An (H, W, 3) BGR uint8 picture from a JPEG.

    Raises:
        InputError: it is none, or larger than any camera's: the header is read before anything is decoded.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"a frame of {len(data)} bytes; at most {MOST_BYTES}")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError("a frame that is no JPEG") from error
    if not (_LEAST_SIDE <= width <= _MOST_SIDE and _LEAST_SIDE <= height <= _MOST_SIDE):
        raise InputError(f"a frame of {width}x{height}; each side from {_LEAST_SIDE} to {_MOST_SIDE} pixels")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError("a JPEG that cannot be decoded")
    return np.asarray(picture, dtype=np.uint8)
