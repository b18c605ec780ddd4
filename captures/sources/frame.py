"""Frames and events of a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captures.sources.held_sheet import RigPose

NO_SHEET = "none"  # the condition of a frame without a recognised sheet
UNREADABLE = "unreadable"  # the kind of event of a still that cannot be read


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """What a rendered frame shows, as it was planned.

    Attributes:
        pose: of the sheet, a bent one's where the patch has its centre.
        light: the illuminant of the strongest light.
        patch: (H, W) bool: the pixels whose centre shows the patch, for at least half of their exposure.
    """

    pose: RigPose
    light: str
    patch: NDArray[np.bool_]


@dataclass(frozen=True)
class Recorded:
    """What a session recorded of a frame that is analysed again.

    Attributes:
        file: of the kept frame.
        region: left, top, width and height of what the classifier saw, in pixels; None to choose it again.
        step: number of the plan's step.
        light: the user's name for the light.
        true_distance_m: the sheet's distance as a rig planned it.
    """

    file: Path
    region: tuple[int, int, int, int] | None = None
    step: int | None = None
    light: str | None = None
    true_distance_m: float | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a source.

    Attributes:
        image: (H, W, 3) RGB uint8.
        time_s: seconds from the start.
        number: counts the captured frames from 1; missing numbers were dropped.
        captured: time of capture on the monotonic clock; None for sources that are not live.
        condition, clip, label: kind of sheet, clip and true class, if the source knows them, as the virtual rig does.
        camera: exposure, gain, white balance and focus, as far as the camera's driver tells, in its units.
        truth: for rendered frames.
        recorded: for frames that are analysed again.
    """

    image: NDArray[np.uint8]
    time_s: float
    number: int
    captured: float | None = None
    condition: str | None = None
    clip: int | None = None
    label: str | None = None
    camera: Mapping[str, float] = field(default_factory=dict)
    truth: FrameTruth | None = None
    recorded: Recorded | None = None

    @property
    def true_distance_m(self) -> float | None:
        """Return the sheet's distance as a rig planned it; None for cameras."""
        if self.recorded is not None:
            return self.recorded.true_distance_m
        return None if self.truth is None else self.truth.pose.range_m


@dataclass(frozen=True)
class Event:
    """An event of a session, such as ``lost``, ``back``, ``refused``, ``mark`` or ``pause``, ``time_s`` from the start."""

    time_s: float
    kind: str
    words: str = ""
