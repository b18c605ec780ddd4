"""Cameras and streams: find, configure and open them, and reopen them when the connection is lost."""

import threading
import time
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, UnavailableError
from calibration.common.text import without_password
from captures.sources.camera_settings import CameraSettings, read_back
from captures.sources.latest_frame import LiveFrames
from captures.sources.opencv import connect, plausible_fps

_STALL_SECONDS = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0  # between attempts to reopen, doubled each time
_PATIENCE_S = 60.0
_POLL_S = 0.05


def camera_names() -> dict[int, str]:
    """List the cameras of this machine by index."""
    from cv2_enumerate_cameras import enumerate_cameras

    return {camera.index: camera.name for camera in enumerate_cameras()}


def find_camera(name: str) -> int | None:
    """Find the index of the camera whose name is or contains ``name``, ignoring case; return None if there is none.

    Raises:
        InputError: if several cameras' names contain it, and none is it.
    """
    candidates = {index: full for index, full in camera_names().items() if name.lower() in full.lower()}
    matches = {index: full for index, full in candidates.items() if name.lower() == full.lower()} or candidates
    distinct = set(matches.values())
    if len(distinct) > 1:
        raise InputError(f"{name!r} matches several cameras: {', '.join(sorted(distinct))}; type more of the name")
    return min(matches, default=None)  # drivers list a camera more than once; the first entry provides frames


class CameraSource(LiveFrames):
    """A camera or stream that is reopened if it is unplugged, ends or stalls; the time without frames is a gap."""

    def __init__(
        self,
        open_capture: Callable[[], cv2.VideoCapture],
        name: str,
        patience_s: float = _PATIENCE_S,
        told: Callable[[cv2.VideoCapture], dict[str, float]] = lambda _: {},
    ) -> None:
        """Open the source.

        Args:
            open_capture: opens a new capture on each call.
            name: for messages.
            patience_s: how long to try to reopen a lost source before the session ends.
            told: returns the settings of the camera as its driver tells them, after each frame.

        Raises:
            UnavailableError: if it does not open.
        """
        capture = connect(open_capture, name)
        super().__init__(name, plausible_fps(capture))
        self._open, self._patience_s, self._told = open_capture, patience_s, told
        self._closed = threading.Event()
        self._pump: _Pump | None = None
        self._keeper = threading.Thread(target=self._keep_open, args=(capture,), daemon=True, name=f"keep {name}")
        self._keeper.start()

    @classmethod
    def camera(cls, find: Callable[[], int], settings: CameraSettings, name: str) -> "CameraSource":
        """Open a camera of this machine and apply settings; note those that the driver refuses as events.

        Where it is opened again, what was locked is set to what it was.

        Args:
            find: returns the camera's index, which another one may have after a cable was out.
            settings: to apply.
            name: for messages.
        """
        refused: list[str] = []
        opened: list[CameraSource] = []
        current_settings = settings

        def open_capture() -> cv2.VideoCapture:
            nonlocal current_settings
            capture = cv2.VideoCapture(find())
            if capture.isOpened():
                refused[:] = current_settings.apply(capture)
                current_settings = current_settings.locked(capture)
                for source in opened:
                    source.note_all("refused", refused)
            return capture

        source = cls(open_capture, name, told=read_back)
        source.note_all("refused", refused)
        opened.append(source)
        return source

    def note_all(self, kind: str, messages: Iterable[str]) -> None:
        """Note an event of one kind for each message."""
        for words in messages:
            self.note(kind, words)

    @classmethod
    def stream(cls, url: str) -> "CameraSource":
        """Open a network stream."""
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 4000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * _STALL_SECONDS)]
        return cls(lambda: cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits), f"stream {without_password(url)}")

    def close(self) -> None:
        self._closed.set()
        super().close()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._keeper.join(_STALL_SECONDS)
        if self._pump is not None:
            self._pump.join(_STALL_SECONDS)

    def _keep_open(self, capture: cv2.VideoCapture) -> None:
        wait_s, lost_at = _FIRST_WAIT_S, time.monotonic()
        while True:
            pump = self._pump = _Pump(capture, self.put, self.name, self._told)
            reason = self._follow(pump)
            if reason is None:
                self.end()
                return
            if pump.frames:
                wait_s, lost_at = _FIRST_WAIT_S, time.monotonic()
            again = None
            while again is None:
                if time.monotonic() - lost_at > self._patience_s:
                    self.end(
                        f"{self.name} {reason} and did not recover within {self._patience_s:g} s; earlier frames are kept"
                    )
                    return
                self.lose(f"{self.name} {reason}; trying again")
                if self._closed.wait(wait_s):
                    return
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                try:
                    again = connect(self._open, self.name)
                except UnavailableError:
                    reason = "does not open"
            capture = again

    def _follow(self, pump: "_Pump") -> str | None:
        """Watch one connection until it ends; return the reason, or None for a regular end."""
        while not self._closed.is_set():
            if pump.ended.wait(_POLL_S):
                return None if pump.finished else "no longer sends frames"
            if time.monotonic() - pump.last_at > _STALL_SECONDS:
                pump.abandon()
                return f"has sent no frames for {_STALL_SECONDS:g} s"
        pump.abandon()
        return None


class _Pump:
    """Read one connection until it ends. Only this thread releases the capture, because releasing during a read crashes."""

    def __init__(
        self,
        capture: cv2.VideoCapture,
        on_picture: Callable[[NDArray[np.uint8], dict[str, float]], None],
        name: str,
        told: Callable[[cv2.VideoCapture], dict[str, float]],
    ) -> None:
        self._capture, self._on_picture, self._told = capture, on_picture, told
        self.ended = threading.Event()
        self.finished = False  # the URL is of a file, which was read to its end
        self.frames = 0
        self.last_at = time.monotonic()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name=f"read {name}")
        self._thread.start()

    def abandon(self) -> None:
        """Stop after the current read, however long it takes."""
        self._abandoned.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _read(self) -> None:
        length = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        while not self._abandoned.is_set():
            ok, picture = self._capture.read()
            if self._abandoned.is_set():
                break
            if not ok:
                self.finished = 0 < length <= self.frames + 1
                break
            self.frames += 1
            self.last_at = time.monotonic()
            self._on_picture(picture, self._told(self._capture))
        self._capture.release()
        self.ended.set()
