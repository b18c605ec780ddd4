"""The desktop window."""

import os
import socket
import sys
from contextlib import AbstractContextManager

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import UnavailableError

_TITLE = "physpatch - q ends"
_QUIT_KEYS = (ord("q"), ord("Q"), 27)


def _answers(display: str) -> bool:
    """Whether an X server listens: Qt ends the whole process where none does."""
    host, _, rest = display.rpartition(":")
    number = rest.split(".")[0]
    if not sys.platform.startswith("linux") or not number.isdigit():
        return True
    try:
        if host in ("", "unix"):
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(f"/tmp/.X11-unix/X{number}")
        else:
            socket.create_connection((host, 6000 + int(number)), timeout=2).close()
    except OSError:
        return False
    return True


class Window(AbstractContextManager["Window"]):
    """Shows frames; ``show`` returns False when the person pressed q or Escape, or closed the window."""

    def __init__(self) -> None:
        display, wayland = (os.environ.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
        if sys.platform.startswith("linux") and not (display or wayland):
            raise UnavailableError("no display here; add --headless to record without a window")
        if display and not _answers(display):
            raise UnavailableError(f"the display {display} does not answer; add --headless to record without a window")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            cure = "pip uninstall opencv-python-headless and reinstall opencv-python, or add --headless"
            raise UnavailableError(f"this OpenCV was built without windows; {cure}") from error

    def __exit__(self, *exception: object) -> None:
        cv2.destroyWindow(_TITLE)

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show an (H, W, 3) RGB uint8 picture; whether to go on."""
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in _QUIT_KEYS and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
