"""The interface of camera effects."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from captures.sources.rendered.camera.exposure import Exposure
from captures.sources.rendered.scene_part import ScenePart

Step = Callable[[NDArray[Any]], NDArray[Any]]


class Stage(Enum):
    """Where a camera applies an effect to frames (H, W, 3), in the order in which light becomes a picture.

    Attributes:
        LIGHT: exposed records, float, without noise: 1 is what a perfect diffuser gives green pixels in a picture's white.
        SENSOR: the same with noise, also below 0, before white balance.
        BALANCE: balanced records, float: a perfect diffuser is grey.
        TONE: linear sRGB in [0, 1], float.
        PICTURE: sRGB in [0, 1], float.
        ENCODER: sRGB, uint8; an encoder takes the place of JPEG.
    """

    LIGHT = auto()
    SENSOR = auto()
    BALANCE = auto()
    TONE = auto()
    PICTURE = auto()
    ENCODER = auto()


@dataclass(frozen=True)
class Clip:
    """What an effect knows of the clip that it begins.

    Attributes:
        fps: frames a second.
        gains: (3,) of white balance, which make a perfect diffuser's record grey.
        rng: for what differs from clip to clip.
    """

    fps: float
    gains: NDArray[np.floating]
    rng: np.random.Generator

    def lag(self, time_s: float) -> float:
        """Return the share of its way that a control with this time constant goes from one frame to the next."""
        return 1 - math.exp(-1 / (self.fps * time_s)) if time_s else 1.0


class Effect(ScenePart):
    """An effect; its fields are settings.

    Attributes:
        name: of the effect.
        summary: one line.
        rank: the order of effects of one stage.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rank: ClassVar[int] = 100

    def require_libraries(self) -> None:
        """Check that what it is made with is installed.

        Raises:
            UnavailableError: if not.
        """


class ShutterEffect(Effect):
    """An effect on how the frames of a clip are exposed, and so on what is rendered."""

    @property
    def lasts_s(self) -> float:
        """Return for how many seconds it has a frame gather light."""
        return 0.0

    @abstractmethod
    def begin(self, clip: Clip) -> Callable[[Exposure, float], Exposure]:
        """Begin a clip: return what changes the exposure of a frame, given seconds from the clip's start."""


class DevelopEffect(Effect):
    """An effect on what a camera makes of its records.

    Attributes:
        stage: at which it is applied.
    """

    stage: ClassVar[Stage]

    @abstractmethod
    def begin(self, clip: Clip) -> Step:
        """Begin a clip: return what is applied to its frames one after another, and may remember them."""
