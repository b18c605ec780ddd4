"""Helpers for OpenCV captures and pictures."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: the session reports the end of a stream
KEPT_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)  # for kept frames: as good as most cameras send
KEPT_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # for frames kept whole: a slower one saves a tenth
OPEN_SECONDS = 4.0  # a missing camera must be reported within five seconds


def connect(connect_: Callable[[], cv2.VideoCapture], name: str) -> cv2.VideoCapture:
    """Open a capture in a daemon thread with a timeout, because a dead stream may block the driver for half a minute.

    Raises:
        UnavailableError: if it does not open in time.
    """
    opened: list[cv2.VideoCapture] = []
    late = threading.Event()

    def attempt() -> None:
        with quietly(), suppress(Exception):  # any exception of a driver means that it does not open
            capture = connect_()
            opened.append(capture)
            if late.is_set():  # too late: the camera must not stay in use
                capture.release()

    thread = threading.Thread(target=attempt, daemon=True, name=f"open {name}")
    thread.start()
    thread.join(OPEN_SECONDS)
    if not opened or not opened[0].isOpened():
        late.set()
        for capture in opened:  # it came between the two, so that nobody else would
            capture.release()
        raise UnavailableError(
            f"{name} does not open; check that it is connected and not in use, or use another --source: a video file, a "
            "folder of stills or videos, a URL, virtual or rendered"
        )
    return opened[0]


def plausible_fps(capture: cv2.VideoCapture, least: float = 1.0) -> float:
    """Return the source's frame rate, or 30 if it reports an implausible one, such as 0 or 90000.

    ``least`` is the lowest plausible rate: of files, which may be time lapses, it is lower than of cameras.
    """
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if least <= fps <= 240 else 30.0


@contextmanager
def quietly() -> Iterator[None]:
    """Silence OpenCV's warnings while the block tries something that may fail."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a picture from BGR to RGB, or back."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def as_kept(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame, (H, W, 3) RGB uint8, as it is after being stored as JPEG and read back."""
    _, packed = cv2.imencode(".jpg", rgb(picture), KEPT_JPEG)
    return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
