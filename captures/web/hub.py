"""Connect the session's thread with browsers: publish the newest picture and state, and collect commands."""

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from captures.sources.opencv import rgb
from captures.viewers.controls import Command, SessionStatus
from captures.web.state import brief_state, frame_state, full_state

if TYPE_CHECKING:
    from captures.inference.analyser import Analysis

_FULL_EVERY_S = 0.3
_QUALITY = 80
_MOST_WAITING = 100


class Hub:
    """A viewer that holds what browsers show; pictures are encoded only if a browser requests them."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.version = 0
        self._changed: list[asyncio.Event] = []
        self._commands: deque[Command] = deque(maxlen=_MOST_WAITING)
        self._picture: NDArray[np.uint8] | None = None
        self._packed: tuple[NDArray[np.uint8], bytes] | None = None
        self._state: dict[str, Any] = {"frame": None, "trouble": "getting ready", "frames": 0}
        self._full_at = -_FULL_EVERY_S
        self._status: SessionStatus | None = None

    # --- the session's side ---

    def show(self, analysis: "Analysis", picture: NDArray[np.uint8], status: SessionStatus) -> None:
        self._picture = picture
        self._update(status, brief_state(status) | {"frame": frame_state(analysis)})

    def poll(self, status: SessionStatus) -> list[Command]:
        brief = brief_state(status)
        if brief != {name: self._state.get(name) for name in brief}:
            self._update(status, brief)
        return [self._commands.popleft() for _ in range(len(self._commands))]

    def guide(self, picture: NDArray[np.uint8], kept: int, words: str) -> bool:
        """Show a frame of a calibration with an instruction; return False once a browser has ended it."""
        self._picture = picture
        self._announce(
            self._state | {"trouble": "", "recording": True, "frames": kept, "guide": words or "Good: hold still."}
        )
        actions = [self._commands.popleft().do for _ in range(len(self._commands))]
        return "stop" not in actions

    def end(self) -> None:
        """Notify browsers that the session has ended."""
        totals = full_state(self._status) if self._status else {}  # the last ones may be those of a moment before
        self._announce(self._state | totals | {"ended": True})

    def _update(self, status: SessionStatus, entries: dict[str, Any]) -> None:
        self._status = status
        state = self._state | entries
        if time.monotonic() - self._full_at >= _FULL_EVERY_S:
            self._full_at = time.monotonic()
            state |= full_state(status)
        self._announce(state)

    def _announce(self, state: dict[str, Any]) -> None:
        self._state = state
        self.version += 1
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._wake)

    # --- the browsers' side, in the event loop ---

    def _wake(self) -> None:
        waiting, self._changed = self._changed, []
        for event in waiting:
            event.set()

    async def newer_than(self, version: int) -> int:
        """Wait for a state newer than ``version``; return its version."""
        while self.version <= version:
            event = asyncio.Event()
            self._changed.append(event)
            if self.version <= version:  # it may have changed in the meantime
                await event.wait()
        return self.version

    def newest(self) -> tuple[str, bytes | None]:
        """Return the newest state as JSON and its picture as JPEG, encoded once for all browsers; None before the first."""
        picture = self._picture
        if picture is None:
            return json.dumps(self._state), None
        if self._packed is None or self._packed[0] is not picture:
            _, data = cv2.imencode(".jpg", rgb(picture), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            self._packed = picture, data.tobytes()
        return json.dumps(self._state | {"picture": True}), self._packed[1]

    def ask(self, command: Command) -> None:
        """Queue a command for the session."""
        self._commands.append(command)
