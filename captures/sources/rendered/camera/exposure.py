"""How a frame is exposed: at which instants which rows gather light, and where the lens is focused.

A rolling shutter could also be had from one render, whose rows are then warped by the homographies of the sheet's plane. That
is right for a flat sheet alone: not for bent paper, for gloss that stays where it is, or for a room behind the sheet. Rendering
bands of rows at poses of their own is right for all of them, and costs as many samples as a frame does anyway.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from captures.sources.held_sheet import RigPose

Rows = tuple[int, int]  # the first, and the first that is not among them


@dataclass(frozen=True, eq=False)
class Shot:
    """What the pixels record.

    Attributes:
        light: (H, W, 3) of the sheet and whatever lies before or around it.
        coverage: (H, W), the share of a pixel that these cover; the rest is background.
    """

    light: NDArray[np.float32]
    coverage: NDArray[np.float32]


class Shoot(Protocol):
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
        duration_s: for which each row gathers light.
        samples: instants of it that are rendered, each with that share of the samples a pixel.
        readout_s: from the first row's exposure to the last one's.
        bands: of rows that are exposed together.
        refocus_dpt: dioptres by which the lens is focused nearer than it should be.
    """

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


def expose(
    shoot: Shoot, exposure: Exposure, before: RigPose, pose: RigPose, *, interval_s: float, height: int, seed: int
) -> Shot:
    """Expose a frame while the sheet moves on evenly.

    Args:
        shoot: renders it.
        exposure: of this frame.
        before: the pose ``interval_s`` earlier.
        pose: in the middle of the exposure.
        interval_s: between the two.
        height: rows of the frame.
        seed: of the samples' noise.
    """
    if exposure == Exposure():
        return shoot(pose, seed)
    light, coverage = [], []
    for instants in exposure.instants(height):
        shots = []
        for instant in instants:
            held = moved(before, pose, 1 + instant.at_s / interval_s)
            shots.append(
                shoot(held, seed, rows=instant.rows, share=1 / exposure.samples, refocus_dpt=exposure.refocus_dpt)
            )
            seed = (seed + 1) % 2**31
        light.append(np.mean([shot.light for shot in shots], axis=0))
        coverage.append(np.mean([shot.coverage for shot in shots], axis=0))
    return Shot(np.concatenate(light), np.concatenate(coverage))


def moved(before: RigPose, pose: RigPose, share: float) -> RigPose:
    """Return the pose at a share of the way from one to the other, beyond 1 further on."""
    ways = ((getattr(before, field.name), getattr(pose, field.name)) for field in fields(RigPose))
    return RigPose(*(start + share * (end - start) for start, end in ways))
