"""What happens along a sequence: the frames of one clip that show one sheet, in order of time, as one model judges them.

A frame's distance is the one that markers measure. Where they are not read, it is the one that a rig planned, or else is
interpolated in time between the frames before and after that have one, if these are not farther apart than :data:`GAP_S`.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calibration.common.files import atomic_path
from calibration.common.success import MEASURES
from captures.protocol.pauses import GAP_S, longest_interval_s
from captures.protocol.plan import Protocol
from captures.results.success import frame_success, is_counted
from captures.sources.frame import NO_SHEET
from captures.storage import FrameRow

LEAST_FRAMES = 8  # consecutive ones that make a sequence
_LEAST_RATIO, _LEAST_TURN_DEG = 1.25, 20.0  # of the distances, or between the yaws, of what counts as a motion

Origin = Literal["measured", "planned", "interpolated", "unknown"]


@dataclass(frozen=True)
class Moment:
    """One frame of a sequence.

    Attributes:
        time_s: seconds from the start.
        success: None if it cannot be determined.
        distance_m: None if it is unknown.
        origin: of the distance.
        yaw_deg: of the sheet; None if it was not measured.
    """

    time_s: float
    success: bool | None
    distance_m: float | None = None
    origin: Origin = "unknown"
    yaw_deg: float | None = None


@dataclass(frozen=True)
class ClipSequence:
    """The frames of one clip and sheet in order of time, judged by one model with one measure.

    Attributes:
        model, condition, measure: the model, the sheet, and what counts as success, of ``MEASURES``.
        clip: its number.
        moments: its frames, at least one.
    """

    model: str
    condition: str
    measure: str
    clip: int
    moments: tuple[Moment, ...]

    @property
    def share(self) -> float | None:
        """Return the share of the frames with success; None if none could be judged."""
        judged = [moment.success for moment in self.moments if moment.success is not None]
        return sum(judged) / len(judged) if judged else None

    @property
    def first_m(self) -> float | None:
        """Return the distance at the first success; None without success, or if it is unknown."""
        return next((moment.distance_m for moment in self.moments if moment.success), None)

    @property
    def last_m(self) -> float | None:
        """Return the distance at the last success; None without success, or if it is unknown."""
        return next((moment.distance_m for moment in reversed(self.moments) if moment.success), None)

    @property
    def farthest_m(self) -> float | None:
        """Return the largest known distance with success; None if there is none."""
        return max((m.distance_m for m in self.moments if m.success and m.distance_m is not None), default=None)

    @property
    def longest_run(self) -> int:
        """Return the largest number of consecutive frames with success."""
        return self._longest(True)

    @property
    def longest_miss(self) -> int:
        """Return the largest number of consecutive frames without success."""
        return self._longest(False)

    @property
    def span_m(self) -> tuple[float, float] | None:
        """Return the smallest and the largest known distance; None if all are unknown."""
        distances = [moment.distance_m for moment in self.moments if moment.distance_m is not None]
        return (min(distances), max(distances)) if distances else None

    @property
    def origins(self) -> Counter[Origin]:
        """Count the frames by the origin of their distance."""
        return Counter(moment.origin for moment in self.moments)

    @property
    def is_long(self) -> bool:
        """Return whether enough frames are consecutive."""
        return max(map(len, self._stretches())) >= LEAST_FRAMES

    @property
    def moves(self) -> bool:
        """Return whether distance or yaw change along enough consecutive frames."""
        if not self.is_long:
            return False
        yaws = [moment.yaw_deg for moment in self.moments if moment.yaw_deg is not None]
        return self.comes_closer or (bool(yaws) and max(yaws) - min(yaws) >= _LEAST_TURN_DEG)

    @property
    def comes_closer(self) -> bool:
        """Return whether the distance changes, either way."""
        return self.span_m is not None and self.span_m[1] >= _LEAST_RATIO * self.span_m[0]

    def _longest(self, success: bool) -> int:
        longest = 0
        for stretch in self._stretches():
            run = 0
            for moment in stretch:
                run = run + 1 if moment.success is success else 0
                longest = max(longest, run)
        return longest

    def _stretches(self) -> list[list[Moment]]:
        """Cut the frames where some are missing in between."""
        steps = np.diff([moment.time_s for moment in self.moments])
        widest = longest_interval_s(steps)
        stretches = [[self.moments[0]]]
        for moment, step in zip(self.moments[1:], steps, strict=True):
            if step > widest:
                stretches.append([])
            stretches[-1].append(moment)
        return stretches

    def to_dict(self) -> dict[str, Any]:
        """Convert to the columns of ``sequences.csv``; None is an empty field."""
        nearest, farthest = self.span_m or (None, None)
        origins: dict[str, int] = {name: self.origins[name] for name in ("measured", "planned", "interpolated")}
        return {
            "model": self.model,
            "condition": self.condition,
            "measure": self.measure,
            "clip": self.clip,
            "frames": len(self.moments),
            "share": self.share,
            "first_m": self.first_m,
            "last_m": self.last_m,
            "farthest_m": self.farthest_m,
            "longest_run": self.longest_run,
            "longest_miss": self.longest_miss,
            "from_m": nearest,
            "to_m": farthest,
            **origins,
        }


def sequences_of(rows: Iterable[FrameRow], target: str | None, protocol: Protocol | None = None) -> list[ClipSequence]:
    """Put the rows of a session in sequences, one for each model, sheet, clip and measure.

    Args:
        rows: in any order.
        target: name of the target class; None without a target.
        protocol: the plan, outside of whose steps nothing counts; None without a plan.
    """
    groups: dict[tuple[str, str, int], list[FrameRow]] = defaultdict(list)
    for row in rows:
        if row.condition != NO_SHEET and is_counted(row, protocol):
            groups[row.model, row.condition, row.clip].append(row)
    return [
        ClipSequence(model, condition, measure, clip, moments)
        for (model, condition, clip), clip_rows in groups.items()
        for measure, moments in _measured(sorted(clip_rows, key=lambda row: (row.time_s, row.frame)), target)
    ]


def _measured(rows: Sequence[FrameRow], target: str | None) -> Iterator[tuple[str, tuple[Moment, ...]]]:
    judged = [frame_success(row, target) for row in rows]
    places = _distances(rows)
    for measure in MEASURES:
        if any(measure in success for success in judged):
            yield (
                measure,
                tuple(
                    Moment(row.time_s, success.get(measure), distance, origin, row.yaw_deg)
                    for row, success, (distance, origin) in zip(rows, judged, places, strict=True)
                ),
            )


def _distances(rows: Sequence[FrameRow]) -> list[tuple[float | None, Origin]]:
    """Return the distance in each frame and where it is from."""
    measurements = [(row.time_s, row.distance_m) for row in rows if row.distance_m is not None]
    times, metres = [time_s for time_s, _ in measurements], [distance_m for _, distance_m in measurements]
    distances: list[tuple[float | None, Origin]] = []
    for row in rows:
        after = int(np.searchsorted(times, row.time_s))
        if row.distance_m is not None:
            distances.append((row.distance_m, "measured"))
        elif row.true_distance_m is not None:
            distances.append((row.true_distance_m, "planned"))
        elif 0 < after < len(measurements) and times[after] - times[after - 1] <= GAP_S:
            distances.append((float(np.interp(row.time_s, times, metres)), "interpolated"))
        else:
            distances.append((None, "unknown"))
    return distances


def export_sequences(sequences: Sequence[ClipSequence], folder: Path) -> Path:
    """Write ``sequences.csv``, one row per sequence, into a session's folder; return its path."""
    path = folder / "sequences.csv"
    rows = [sequence.to_dict() for sequence in sequences]
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else ())
        writer.writeheader()
        writer.writerows(rows)
    return path
