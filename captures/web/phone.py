"""Frames from a phone: untrusted JPEGs, validated before they are decoded."""

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
    """A source of frames from a phone's browser; the session waits while no phone is connected."""

    def __init__(self) -> None:
        super().__init__("phone", _PHONE_FPS)
        self.connected = 0
        self.lose("waiting for a phone: open the link on it")


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG to a picture, (H, W, 3) BGR uint8, after checking the size in its header.

    Raises:
        InputError: if it is not a valid JPEG, or too large or too small.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"the frame has {len(data)} bytes; expected at most {MOST_BYTES}")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError("the frame is not a JPEG") from error
    if not (_LEAST_SIDE <= width <= _MOST_SIDE and _LEAST_SIDE <= height <= _MOST_SIDE):
        raise InputError(f"the frame has {width}x{height} pixels; expected {_LEAST_SIDE} to {_MOST_SIDE} per side")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError("the JPEG cannot be decoded")
    return np.asarray(picture, dtype=np.uint8)
