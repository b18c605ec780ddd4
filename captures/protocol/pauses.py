"""Tell a pause between frames from the intervals of a slow source."""

from collections import deque

import numpy as np
from numpy.typing import ArrayLike

GAP_S = 1.0  # frames farther apart are not consecutive
_USUAL = 3  # times the usual interval: frames of a slow source are consecutive, too
_REMEMBERED = 31  # intervals


def longest_interval_s(intervals: ArrayLike) -> float:
    """Return how far apart consecutive frames may lie: :data:`GAP_S`, or three times the median of these intervals in s."""
    intervals_s = np.asarray(intervals, dtype=float)
    return max(GAP_S, _USUAL * float(np.median(intervals_s))) if intervals_s.size else GAP_S


class FramePauses:
    """The intervals between a source's latest frames."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)
        self._last_s: float | None = None

    def note(self, time_s: float) -> None:
        """Note a frame; pass all frames, in order of time."""
        if self._last_s is not None and time_s > self._last_s:
            self._intervals.append(time_s - self._last_s)
        self._last_s = time_s

    @property
    def longest_interval_s(self) -> float:
        """Return how far apart consecutive frames may lie; see :func:`longest_interval_s`."""
        return longest_interval_s(list(self._intervals))
