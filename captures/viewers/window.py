"""The desktop window: show the session, and turn keys and mouse drags into commands."""

import os
import socket
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError
from captures.inference.region import RegionRule
from captures.sources.opencv import rgb
from captures.viewers.controls import Command, SessionStatus
from captures.viewers.overlay import heads_up

if TYPE_CHECKING:
    from captures.inference.analyser import Analysis

_TITLE = "physpatch - press q to end"
_QUIT_KEYS = (ord("q"), ord("Q"), 27)
_YELLOW = (240, 228, 66)

KEYS = {
    "m": Command("mark"),
    "n": Command("skip"),
    "b": Command("back"),
    "\r": Command("confirm"),
    "\n": Command("confirm"),  # the same key, in windows of GTK
    "f": Command("region", "sheet"),
    "c": Command("region", "center"),
    "w": Command("region", "frame"),
    "1": Command("condition", "patch"),
    "2": Command("condition", "grey"),
    "3": Command("condition", "random"),
    "4": Command("condition", "shuffled"),
    "5": Command("condition", "drawing"),
    "0": Command("condition", "none"),
}


def _answers(display: str) -> bool:
    """Tell whether an X server responds: without one, Qt ends the process."""
    host, _, suffix = display.rpartition(":")
    number = suffix.split(".")[0]
    if not sys.platform.startswith("linux") or not number.isdecimal():
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
    """A window that shows pictures; ``show`` returns False after the user presses q or Escape or closes the window."""

    def __init__(self) -> None:
        display, wayland = (os.environ.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
        if sys.platform.startswith("linux") and not (display or wayland):
            raise UnavailableError("no display is available; add --headless to record without a window")
        if display and not _answers(display):
            raise UnavailableError(f"the display {display} does not respond; add --headless to record without a window")
        try:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            cure = "pip uninstall opencv-python-headless and reinstall opencv-python, or add --headless"
            raise UnavailableError(f"this OpenCV has no support for windows; {cure}") from error
        self._shown = False
        self.key = ""

    def __exit__(self, *exception: object) -> None:
        cv2.destroyWindow(_TITLE)

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show a picture, (H, W, 3) RGB uint8; return whether to continue."""
        cv2.imshow(_TITLE, rgb(picture))
        self._shown = True
        return self.wait()

    def wait(self) -> bool:
        """Process window events, and store a pressed key in ``key``; return whether to continue."""
        pressed = cv2.waitKeyEx(1) & 0xFFFF  # the lowest byte alone takes the left arrow, 0xFF51, for a Q
        self.key = chr(pressed) if 0 < pressed < 128 else ""
        closed = self._shown and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
        return pressed not in _QUIT_KEYS and not closed


class SessionWindow(AbstractContextManager["SessionWindow"]):
    """A viewer in a desktop window, which turns keys and mouse drags into commands."""

    def __init__(self) -> None:
        self._window = Window()
        self._asked: list[Command] = []
        self._going = True
        self._recording = True
        self._last: NDArray[np.uint8] | None = None
        self._pressed_at: tuple[int, int] | None = None
        self._lights = 1  # the first one has no name
        self._named: set[str] = set()  # lights of this session, also of what was filmed before it was resumed
        cv2.setMouseCallback(_TITLE, self._on_mouse)

    def __exit__(self, *exception: object) -> None:
        self._window.__exit__(*exception)

    def show(self, _analysis: "Analysis", picture: NDArray[np.uint8], _status: SessionStatus) -> None:
        self._last = picture
        self._going &= self._window.show(picture)
        self._on_key(self._window.key)

    def poll(self, status: SessionStatus) -> list[Command]:
        self._recording = status.recording
        self._named = status.tally.lights
        if status.trouble and self._last is not None:
            picture = self._last.copy()
            heads_up(picture, [(status.trouble, _YELLOW)])
            self._going &= self._window.show(picture)
        else:
            self._going &= self._window.wait()
        self._on_key(self._window.key)
        commands, self._asked = self._asked, []
        return commands if self._going else [*commands, Command("stop")]

    def _on_key(self, key: str) -> None:
        if key in KEYS:
            self._asked.append(KEYS[key])
        elif key == " ":
            self._asked.append(Command("pause" if self._recording else "resume"))
        elif key == "l":
            self._lights += 1
            while f"light {self._lights}" in self._named:
                self._lights += 1
            self._asked.append(Command("light", f"light {self._lights}"))

    def _on_mouse(self, event: int, x: int, y: int, _flags: int, _data: object) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            self._pressed_at = (x, y)
        elif event == cv2.EVENT_LBUTTONUP and self._pressed_at is not None:
            rule = RegionRule.dragged(self._pressed_at, (x, y))
            self._pressed_at = None
            if rule is not None:
                self._asked.append(Command("region", str(rule)))
