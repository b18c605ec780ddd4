"""One frame of a session, whatever it came from, and what else a source has to tell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_SHEET = "none"  # the condition of a frame in which no sheet was recognised and the source named none


@dataclass(frozen=True, eq=False)
class Frame:
    """An (H, W, 3) RGB uint8 picture at ``time_s`` seconds from the start.

    ``number`` counts what the source captured, from 1: what is missing between two frames was dropped. ``captured`` is the
    time of capture on the monotonic clock where that means something, as for a camera. ``condition``, ``clip`` and
    ``label`` (the class truly shown) are set where the source knows them: the virtual rig does, a camera does not.
    """

    image: NDArray[np.uint8]
    time_s: float
    number: int
    captured: float | None = None
    condition: str | None = None
    clip: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened besides frames at ``time_s``: ``lost``, ``back``, ``refused``, ``mark``, ``paused`` …"""

    time_s: float
    kind: str
    words: str = ""
