"""Live frames: only the newest is kept, so that slow models never delay the picture."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import UnavailableError
from captures.sources.frame import Event, Frame
from captures.sources.opencv import rgb


class LiveFrames:
    """A slot for the newest frame: another thread fills it with :meth:`put`, and iterating empties it.

    Attributes:
        captured: number of frames since the first one that was consumed.
    """

    live = True

    def __init__(self, name: str, fps: float) -> None:
        self.name, self.fps = name, fps
        self.captured = self._taken = 0
        self._changed = threading.Condition()
        self._newest: tuple[NDArray[np.uint8], float, int, Mapping[str, float]] | None = None
        self._events: list[Event] = []
        self._status = ""
        self._lost = False
        self._failure = ""
        self._ended = False
        self._started: float | None = None
        self._last = 0.0  # when the last picture came

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                if self._newest is None:
                    if self._failure:
                        raise UnavailableError(self._failure)
                    return
                (picture, at, number, camera), self._newest = self._newest, None
                if self._started is None:  # the camera may have run while the models were loading
                    self._started, self.captured, number = at, 1, 1
                self._taken += 1
            yield Frame(rgb(picture), at - self._started, number, captured=at, camera=camera)

    def put(self, picture: NDArray[np.uint8], camera: Mapping[str, float] | None = None) -> None:
        """Add a picture, (H, W, 3) BGR uint8, that was captured just now, with the settings that the driver tells."""
        with self._changed:
            if self._lost:
                self._note("back")
            self._status, self._lost = "", False
            self.captured += 1
            self._last = time.monotonic()
            self._newest = (picture, self._last, self.captured, camera or {})
            self._changed.notify_all()

    def lose(self, words: str) -> None:
        """Mark the source as lost from its last frame to the next one; ``words`` is the reason."""
        with self._changed:
            if not self._lost and self._started is not None:
                self._note("lost", words, self._last)  # that nothing came is noticed only later
                self._lost = True
            self._status = words

    def note(self, kind: str, words: str = "") -> None:
        """Add an event."""
        with self._changed:
            self._note(kind, words)

    @property
    def dropped(self) -> int:
        """Return the number of frames that were replaced by newer ones."""
        with self._changed:
            return self.captured - self._taken - (self._newest is not None) if self._taken else 0

    def take_events(self) -> list[Event]:
        with self._changed:
            events, self._events = self._events, []
        return events

    def status(self) -> str:
        return self._status

    def end(self, failure: str = "") -> None:
        """End the iteration after the frame in the slot, with an ``UnavailableError`` if ``failure`` is given."""
        with self._changed:
            self._ended, self._failure = True, self._failure or failure
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._newest = None
        self.end()

    def _note(self, kind: str, words: str = "", at: float | None = None) -> None:
        since = 0.0 if self._started is None else (time.monotonic() if at is None else at) - self._started
        self._events.append(Event(round(since, 3), kind, words))
