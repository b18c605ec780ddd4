"""OpenCV's captures, tamed."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: a stream that ends is told by the session
KEPT_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)  # of frames that are kept: as good as what most cameras send
OPEN_SECONDS = 4.0  # "no camera" must be said within five


def connect(connect_: Callable[[], cv2.VideoCapture], name: str) -> cv2.VideoCapture:
    """Open a capture, or give up: in a daemon thread, because a dead stream may block for half a minute inside the driver.

    Raises:
        UnavailableError: it does not open in time.
    """
    opened: list[cv2.VideoCapture] = []
    late = threading.Event()

    def attempt() -> None:
        with quietly(), suppress(Exception):  # whatever a driver throws at us means that it does not open
            capture = connect_()
            opened.append(capture)
            if late.is_set():  # nobody waits any more, and the camera must not stay taken
                capture.release()

    thread = threading.Thread(target=attempt, daemon=True, name=f"open {name}")
    thread.start()
    thread.join(OPEN_SECONDS)
    if not opened or not opened[0].isOpened():
        late.set()
        raise UnavailableError(
            f"{name} does not open; is it connected and free? Other sources: a video file, a folder of stills, a URL, virtual"
        )
    return opened[0]


def plausible_fps(capture: cv2.VideoCapture) -> float:
    """What the source says of its frame rate, unless it is one of the fancies of drivers and containers (0, 90000)."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 1 <= fps <= 240 else 30.0


@contextmanager
def quietly() -> Iterator[None]:
    """Keep OpenCV's own warnings off the terminal while something is tried that may fail."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's order of colours turned into everyone else's, or back."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def as_kept(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) RGB uint8 as it is read back after it was kept."""
    _, packed = cv2.imencode(".jpg", rgb(picture), KEPT_JPEG)
    return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
