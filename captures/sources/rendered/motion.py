"""How sheet or camera move during a clip: from the pose in which a hand holds the sheet to the pose in every frame.

Another motion is a subclass of :class:`ClipMotion` and a member of :data:`Motion`. Patch and controls of a clip are filmed in
the same poses, because the generator that draws them is seeded by the clip.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from calibration.camera.sheet_pose import rotation_matrix
from captures.sources.held_sheet import FRAMES_PER_CLIP, JITTER_DEG, JITTER_MM, RigPose
from captures.sources.rendered.scene_part import Place, ScenePart

Distance = Annotated[float, Field(ge=0.05, le=1000)]  # metres before the sheet
Speed = Annotated[float, Field(ge=0.01, le=1000)]
Swing = Annotated[float, Field(ge=-80, le=80)]

MOST_FRAMES = 100_000  # in a clip, of each sheet
_HELD_FPS = 10.0
_STEPS_HZ = 1.9
# A hand that holds a camera sways by a few slow waves along and around each axis, whatever the frames a second.
_SWAY_HZ, _SWAY_WAVES = (0.3, 3.0), 4
# How far a walker swings to either side, and up and down, at 1.2 m/s (half the ranges of Orendurff et al. 2004).
_SWAY_M, _BOB_M = 0.025, 0.02


class ClipMotion(ScenePart):
    """Base class of motions.

    Attributes:
        moves_camera: whether the camera moves and the sheet stays where it is lit; otherwise the sheet moves.
        kind: its name in a scene's file.
        frames: number of frames of each sheet in a clip.
    """

    moves_camera: ClassVar[bool] = True

    kind: str
    frames: int = Field(default=30, ge=1, le=MOST_FRAMES)

    def model_post_init(self, context: Any, /) -> None:
        """Have the kind written even if it was not given: without it, the motion could not be read again."""
        self.model_fields_set.add("kind")

    def start(self, held: RigPose) -> RigPose:
        """Return the pose in which the scene is arranged, before anything moves."""
        return held

    @abstractmethod
    def fps(self, frames: int) -> float:
        """Return the frames per second of a clip with so many frames of each sheet."""

    @abstractmethod
    def poses(self, rng: np.random.Generator, held: RigPose, frames: int) -> list[RigPose]:
        """Draw the poses of so many frames, one after the other.

        Args:
            rng: of the hand.
            held: the pose in which the hand holds the sheet.
            frames: at least 1.
        """


class Hold(ClipMotion):
    """A hand holds the sheet before the camera, as still as a hand can."""

    moves_camera: ClassVar[bool] = False

    kind: Literal["hold"] = "hold"
    frames: int = Field(default=FRAMES_PER_CLIP, ge=1, le=MOST_FRAMES)

    def fps(self, frames: int) -> float:
        return _HELD_FPS

    def poses(self, rng: np.random.Generator, held: RigPose, frames: int) -> list[RigPose]:
        return [held.jittered(rng) for _ in range(frames)]


class Passage(ClipMotion):
    """Base class of motions of a hand-held camera from one end to another, at constant speed.

    However many frames there are, they take as long.
    """

    @property
    @abstractmethod
    def seconds(self) -> float:
        """Return how long it takes."""

    def fps(self, frames: int) -> float:
        return max(1, frames - 1) / self.seconds

    def _filmed(
        self,
        rng: np.random.Generator,
        sheet: RigPose,
        at_m: NDArray[np.floating],
        yaw_deg: NDArray[np.floating],
    ) -> list[RigPose]:
        """Return the poses of a sheet that stays before a camera at places (N, 3), turned to the right by angles (N,)."""
        times_s = np.linspace(0, self.seconds, len(at_m))
        shaken_m = at_m + _shaken(rng, times_s, JITTER_MM / 1000)
        shaken_deg = _shaken(rng, times_s, JITTER_DEG)
        return [
            sheet.from_camera(place, rotation_matrix(yaw + turn[0], turn[1], turn[2]))
            for place, yaw, turn in zip(shaken_m, yaw_deg, shaken_deg, strict=True)
        ]


class Walk(Passage):
    """Base class of motions of a person who walks with the camera, at ``speed_m_s`` from one place to another."""

    from_m: Place
    to_m: Place
    speed_m_s: Speed = 1.2

    @property
    def seconds(self) -> float:
        return _lasting(self.to_m - self.from_m, self.speed_m_s)

    def _walked(self, rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
        """Return how a walk swings the camera, (N, 3) metres: to the side with every other step, up and down with each."""
        phase = np.linspace(0, self.seconds, frames) * _STEPS_HZ * np.pi + rng.uniform(0, 2 * np.pi)
        return np.stack([_SWAY_M * np.sin(phase), _BOB_M * np.sin(2 * phase), np.zeros(frames)], axis=1)


class Approach(Walk):
    """A person walks towards the sheet with the camera, from ``from_m`` to ``to_m`` before it."""

    kind: Literal["approach"] = "approach"
    from_m: Distance = 4.0
    to_m: Distance = 0.5

    def start(self, held: RigPose) -> RigPose:
        # Towards the sheet: at the end it is no farther from the centre of the picture than in the hand.
        aimed = min(1.0, self.from_m / held.distance_m, self.to_m / held.distance_m)
        return replace(held, distance_m=self.from_m, x_m=aimed * held.x_m, y_m=aimed * held.y_m)

    def poses(self, rng: np.random.Generator, held: RigPose, frames: int) -> list[RigPose]:
        at_m = self._walked(rng, frames)
        at_m[:, 2] += np.linspace(0, self.from_m - self.to_m, frames)
        return self._filmed(rng, self.start(held), at_m, np.zeros(frames))


class Pan(Passage):
    """A person who stands turns the camera, so that the sheet crosses the picture; to the right for rising angles."""

    kind: Literal["pan"] = "pan"
    from_deg: Swing = -35.0
    to_deg: Swing = 35.0
    speed_deg_s: Speed = 30.0

    @property
    def seconds(self) -> float:
        return _lasting(self.to_deg - self.from_deg, self.speed_deg_s)

    def poses(self, rng: np.random.Generator, held: RigPose, frames: int) -> list[RigPose]:
        return self._filmed(rng, held, np.zeros((frames, 3)), np.linspace(self.from_deg, self.to_deg, frames))


class WalkPast(Walk):
    """A person walks past the sheet, ``distance_m`` before it, and keeps the camera on it, which so turns away.

    Attributes:
        from_m, to_m: where the walk begins and ends, to the right of the place before the sheet.
        distance_m: between the sheet and the line that is walked.
        speed_m_s: of the walk.
    """

    kind: Literal["walk_past"] = "walk_past"
    from_m: Place = -1.2
    to_m: Place = 1.2
    distance_m: Distance = 1.0

    def start(self, held: RigPose) -> RigPose:
        return replace(held, distance_m=self.distance_m)

    def poses(self, rng: np.random.Generator, held: RigPose, frames: int) -> list[RigPose]:
        at_m = self._walked(rng, frames)
        at_m[:, 0] += np.linspace(self.from_m, self.to_m, frames)
        yaw_deg = np.degrees(np.arctan2(-at_m[:, 0], self.distance_m))
        return self._filmed(rng, self.start(held), at_m, yaw_deg)


def _shaken(rng: np.random.Generator, times_s: NDArray[np.floating], deviation: float) -> NDArray[np.float64]:
    """Return how an unsteady hand deviates along or around three axes at some times, (N, 3), by so much in the mean square."""
    waves = _SWAY_WAVES, 3
    slowest_hz, fastest_hz = _SWAY_HZ
    radians_s = 2 * np.pi * slowest_hz * (fastest_hz / slowest_hz) ** rng.uniform(size=waves)
    swings = np.sin(radians_s * times_s[:, None, None] + rng.uniform(0, 2 * np.pi, waves))
    return deviation * (2 / _SWAY_WAVES) ** 0.5 * swings.sum(axis=1)


def _lasting(way: float, speed: float) -> float:
    """Return how long a way takes in seconds; none at all takes as long as one frame."""
    return abs(way) / speed or 1 / _HELD_FPS


Motion = Annotated[Hold | Approach | Pan | WalkPast, Field(discriminator="kind")]
