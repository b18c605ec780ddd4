"""How a frame is exposed: at which instants which rows gather light, and where the lens is focused.

A rolling shutter could also be had from one render, whose rows are then warped by the homographies of the sheet's plane. That
is right for a flat sheet alone: not for bent paper, for gloss that stays where it is, or for a room behind the sheet. Rendering
bands of rows at poses of their own is right for all of them, and costs as many samples as a frame does anyway.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol

import numpy as np

from calibration.common.errors import InputError
from captures.sources.held_sheet import RigPose
from captures.sources.rendered.shots import Shot

_MOST_INTERVALS = 2  # from the frame before to one after

Rows = tuple[int, int]  # the first, and the first that is not among them


class Render(Protocol):
    """Render a sheet in a pose, or some rows of it, with a share of the samples a pixel and the lens refocused."""

    def __call__(
        self, pose: RigPose, seed: int, *, rows: Rows | None = None, share: float = 1.0, refocus_dpt: float = 0.0
    ) -> Shot: ...


@dataclass(frozen=True)
class Instant:
    """Rows that are rendered together, in seconds from the middle of the frame's exposure."""

    rows: Rows
    at_s: float


@dataclass(frozen=True)
class Exposure:
    """How one frame is exposed; by default all at once, in focus.

    Attributes:
        interval_s: from one frame to the next.
        duration_s: for which each row gathers light.
        samples: instants of it that are rendered, each with that share of the samples a pixel.
        readout_s: from the first row's exposure to the last one's.
        bands: of rows that are exposed together.
        refocus_dpt: dioptres by which the lens is focused nearer than it should be.
    """

    interval_s: float
    duration_s: float = 0.0
    samples: int = 1
    readout_s: float = 0.0
    bands: int = 1
    refocus_dpt: float = 0.0

    def instants(self, height: int) -> Iterator[list[Instant]]:
        """List what is rendered for each band of a frame with ``height`` rows, from the top."""
        borders = np.unique(np.linspace(0, height, self.bands + 1).round().astype(int)).tolist()
        moments = self.duration_s * ((np.arange(self.samples) + 0.5) / self.samples - 0.5)
        for top, bottom in pairwise(borders):
            late_s = self.readout_s * ((top + bottom) / (2 * height) - 0.5)
            yield [Instant((top, bottom), late_s + float(moment)) for moment in moments]


def require_exposable(lasts_s: float, interval_s: float) -> None:
    """Check that frames which are ``interval_s`` apart can gather light for so long.

    Raises:
        InputError: if a frame would reach beyond the one before and the one after, between which its motion is known.
    """
    if lasts_s > _MOST_INTERVALS * interval_s * (1 + 1e-9):
        raise InputError(
            f"frames are {interval_s:.3g} s apart, and the scene's camera effects expose each for {lasts_s:.3g} s; expected at "
            f"most {_MOST_INTERVALS * interval_s:.3g} s: shorten exposure_s or readout_s, or choose fewer frames per clip"
        )


def expose(render: Render, exposure: Exposure, before: RigPose, pose: RigPose, height: int, seed: int) -> Shot:
    """Expose a frame while the sheet moves on evenly.

    Args:
        render: see :class:`Render`.
        exposure: of this frame.
        before: the pose a frame earlier.
        pose: in the middle of the exposure.
        height: rows of the frame.
        seed: of the samples' noise.
    """
    light, coverage = [], []
    for instants in exposure.instants(height):
        shots = []
        for instant in instants:
            held = moved(before, pose, 1 + instant.at_s / exposure.interval_s)
            shots.append(
                render(held, seed, rows=instant.rows, share=1 / exposure.samples, refocus_dpt=exposure.refocus_dpt)
            )
            seed = (seed + 1) % 2**31
        light.append(np.mean([shot.light for shot in shots], axis=0))
        coverage.append(np.mean([shot.coverage for shot in shots], axis=0))
    return Shot(np.concatenate(light), np.concatenate(coverage)).rounded()


def moved(before: RigPose, pose: RigPose, share: float) -> RigPose:
    """Return the pose at a share of the way from one to the other, beyond 1 further on, below 0 further back."""
    ways = ((getattr(before, field.name), getattr(pose, field.name)) for field in fields(RigPose))
    return RigPose(*(start + share * (end - start) for start, end in ways))


def begun(poses: Sequence[RigPose]) -> list[RigPose]:
    """Put before a clip's poses the one a frame earlier: as far behind the first as the second is ahead of it.

    So the first frame moves as the second does. A single frame stands still.
    """
    return [moved(poses[0], poses[1], -1) if len(poses) > 1 else poses[0], *poses]
