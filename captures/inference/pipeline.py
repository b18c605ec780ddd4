"""Run capture and analysis so that the models never wait and results are recent.

Capture always has its own thread. With models on an accelerator, locating, inference and drawing also run in parallel, each
in its own thread. Models on the CPU use all of its cores, so there the three take turns: a core that is taken from the models
delays all other cores too (measured in docs/results.md).
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Generic, TypeVar

import cv2

from captures.inference.analyser import Analyser, Analysis, Located
from captures.sources.frame import Frame
from captures.sources.opening import Source
from physpatch.records.environment import release_openmp_workers

_AHEAD = 2  # frames of a file that wait for the models, and results that wait for drawing
_MARGIN = 1.3  # how early locating begins, in multiples of its mean duration
_MEMORY = 0.8  # weight of the past in running means
_JOIN_S = 10.0
_SWITCH_S = (
    0.0005  # thread switch interval: a network makes hundreds of small calls, each of which could wait Python's 5 ms
)
_SLACK_S = 0.001  # frame times are rounded

T = TypeVar("T")


class Pipeline(AbstractContextManager["Pipeline"]):
    """Analyse the frames of a source in order.

    All frames of a file are analysed. From a live source, the newest frame is taken when the models are about to be free, so
    that the delay is one run of the models plus one frame, however slow the models are.
    """

    def __init__(
        self,
        source: Source,
        analyser: Analyser,
        *,
        overlap: bool,
        every: int = 1,
        max_fps: float | None = None,
        max_frames: int | None = None,
        after: tuple[int, float] | None = None,
    ) -> None:
        """Start the pipeline.

        Args:
            source: an open source.
            analyser: not used elsewhere while the pipeline runs.
            overlap: whether locating and inference run in their own threads; otherwise they run in the caller's thread.
            every: analyse every Nth frame.
            max_fps: largest number of frames per second, by the times of the frames.
            max_frames: stop after this many frames.
            after: number and time of the frame of this source that was analysed last, in an earlier part of a session.
        """
        self._source, self._analyser, self._overlap = source, analyser, overlap
        self.passed_over = 0
        self._frames = islice(self._thinned(every, max_fps, after), max_frames)
        size = 1 if source.live else _AHEAD
        self._captured: _Channel[Frame] = _Channel(size)
        self._located: _Channel[Located] = _Channel(size)
        self._judged: _Channel[Analysis] = _Channel(size)
        self._stopping = threading.Event()
        self._judge_s = self._locate_s = 0.0
        self._free_at = 0.0
        self._before = sys.getswitchinterval(), cv2.getNumThreads()
        stages = {"capture": self._capture}
        if overlap:
            sys.setswitchinterval(_SWITCH_S)
            cv2.setNumThreads(1)
            release_openmp_workers()  # from now on the models run in another thread
            stages = {"locate": self._locate, "judge": self._judge}
        self._threads = [threading.Thread(target=run, daemon=True, name=name) for name, run in stages.items()]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._source.close()
        for channel in (self._captured, self._located, self._judged):
            channel.close()
        for thread in self._threads:
            thread.join(_JOIN_S)
        sys.setswitchinterval(self._before[0])
        cv2.setNumThreads(self._before[1])

    def analyses(self, tick_s: float) -> Iterator[Analysis | None]:
        """Yield each analysis when it is ready, and None after ``tick_s`` without one; re-raise errors of the threads."""
        while True:
            try:
                if self._overlap:
                    yield self._judged.get(tick_s)
                else:
                    yield self._analyser.judge(self._analyser.locate(self._captured.get(tick_s)))
            except _NothingYetError:
                yield None
            except EndOfChannel:
                return

    def _capture(self) -> None:
        """Provide frames to the caller, who does the rest; a live source provides the newest when it is requested."""
        failure: BaseException | None = None
        try:
            while not self._stopping.is_set():
                if self._source.live:
                    self._captured.wait_hungry()
                frame = next(self._frames, None)
                if frame is None or not self._captured.put(frame):
                    break
        except BaseException as error:  # re-raised in the session's thread
            failure = error
        self._captured.close(failure)

    def _thinned(self, every: int, max_fps: float | None, last: tuple[int, float] | None) -> Iterator[Frame]:
        """Yield frames at least ``every`` numbers and 1 / ``max_fps`` seconds apart, and from the ``last`` one."""
        for frame in self._source:
            soon = last is not None and max_fps is not None and frame.time_s - last[1] < 1 / max_fps - _SLACK_S
            if last is not None and (soon or frame.number - last[0] < every):
                self.passed_over += 1
            else:
                last = frame.number, frame.time_s
                yield frame

    def _locate(self) -> None:
        failure: BaseException | None = None
        try:
            for frame in self._frames:
                begun = time.monotonic()
                located = self._analyser.locate(frame)
                self._locate_s = _running(self._locate_s, time.monotonic() - begun)
                if not self._located.put(located):
                    break
                if self._source.live:
                    self._located.wait_taken()
                    self._stopping.wait(max(0.0, self._free_at - _MARGIN * self._locate_s - time.monotonic()))
                if self._stopping.is_set():
                    break
        except BaseException as error:  # re-raised in the session's thread
            failure = error
        self._located.close(failure)

    def _judge(self) -> None:
        failure: BaseException | None = None
        try:
            while not self._stopping.is_set():
                located = self._located.get()
                begun = time.monotonic()
                self._free_at = begun + self._judge_s
                analysis = self._analyser.judge(located)
                self._judge_s = _running(self._judge_s, time.monotonic() - begun)
                if not self._judged.put(analysis):
                    break
        except EndOfChannel:
            pass
        except BaseException as error:
            failure = error
            self._located.close()
        self._judged.close(failure)


def _running(mean: float, value: float) -> float:
    return value if mean == 0 else _MEMORY * mean + (1 - _MEMORY) * value


class _NothingYetError(Exception):
    """No item came in time; no ``TimeoutError``, which a source may raise for reasons of its own."""


class EndOfChannel(Exception):
    """The channel is closed and empty."""


class _Channel(Generic[T]):
    """A bounded queue that can be closed, optionally with an exception."""

    def __init__(self, size: int) -> None:
        self._size, self._items = size, deque[T]()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        self._failure: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add an item; return False if the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._closed)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout_s: float | None = None) -> T:
        """Wait for the next item.

        Raises:
            _NothingYetError: if none arrives in time.
            EndOfChannel: if the channel is closed; if it was closed with an exception, that one.
        """
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            came = self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            self._waiting -= 1
            if not came:
                raise _NothingYetError
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            if self._failure is not None:
                raise self._failure
            raise EndOfChannel

    def wait_taken(self) -> None:
        """Wait until the queue is empty."""
        with self._changed:
            self._changed.wait_for(lambda: not self._items or self._closed)

    def wait_hungry(self) -> None:
        """Wait until a consumer waits for the next item."""
        with self._changed:
            self._changed.wait_for(lambda: (self._waiting and not self._items) or self._closed)

    def close(self, failure: BaseException | None = None) -> None:
        """Close the channel; items in the queue can still be consumed. Only the first failure is kept."""
        with self._changed:
            self._closed, self._failure = True, self._failure or failure
            self._changed.notify_all()
