"""The plan of a session: which sheets to show, at which distances and angles and in which light, in random order.

``plan.toml``::

    conditions = ["patch", "grey", "random", "shuffled"]
    distances_m = [0.5, 1.0]
    yaws_deg = [-30, 0, 30]        # positive: the sheet's right edge, as the camera sees it, nearer to the camera
    lights = ["daylight", "lamp"]  # optional
    repeats = 2                    # optional, 1
    seconds = 3                    # optional: length of each step
    distance_tolerance = 0.15      # optional: share of the distance
    yaw_tolerance_deg = 10         # optional
    seed = 0                       # optional: for the order
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from calibration.camera.sheet_pose import SheetPose
from calibration.common.errors import InputError, unknown_name
from calibration.common.files import read_toml
from calibration.sheet.layout import SHEET_KINDS
from captures.protocol.pauses import FramePauses

_MOST_STEPS = 2000


@dataclass(frozen=True)
class Step:
    """One step of a plan: sheet, distance, yaw and light to show. ``number`` counts from 1."""

    number: int
    condition: str
    distance_m: float
    yaw_deg: float
    light: str | None
    repeat: int

    def __str__(self) -> str:
        turned = "facing the camera"
        if self.yaw_deg:
            side = "right" if self.yaw_deg > 0 else "left"
            turned = f"turned {abs(self.yaw_deg):g} deg, {side} edge nearer"
        return f"{self.condition} sheet at {self.distance_m:g} m, {turned}" + (f", {self.light}" if self.light else "")


@dataclass(frozen=True)
class PoseGrid:
    """A grid of pose cells by distance and yaw, given by their centres and tolerances."""

    distances_m: tuple[float, ...]
    yaws_deg: tuple[float, ...]
    distance_tolerance: float = 0.15
    yaw_tolerance_deg: float = 10.0

    def cell(self, distance_m: float | None, yaw_deg: float | None) -> tuple[int, int] | None:
        """Return row (distance) and column (yaw) of a pose; None if it is unknown or in no cell."""
        if distance_m is None or yaw_deg is None:
            return None
        row = min(range(len(self.distances_m)), key=lambda i: abs(math.log(distance_m / self.distances_m[i])))
        column = min(range(len(self.yaws_deg)), key=lambda i: abs(yaw_deg - self.yaws_deg[i]))
        far = abs(distance_m / self.distances_m[row] - 1) > self.distance_tolerance
        turned = abs(yaw_deg - self.yaws_deg[column]) > self.yaw_tolerance_deg
        return None if far or turned else (row, column)


# For sessions without a plan; cells extend to their neighbours.
EVERYWHERE = PoseGrid((0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0), (-60, -40, -20, 0, 20, 40, 60), 0.3, 10.0)


@dataclass(frozen=True)
class Protocol:
    """A plan; the module describes its file."""

    conditions: tuple[str, ...]
    distances_m: tuple[float, ...]
    yaws_deg: tuple[float, ...]
    lights: tuple[str, ...] = ()
    repeats: int = 1
    seconds: float = 3.0
    distance_tolerance: float = 0.15
    yaw_tolerance_deg: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (words, fits) in _CHECKS.items():
            if not fits(getattr(self, name)):
                raise InputError(f"plan: {name} = {_shown(getattr(self, name))!s:.80}; expected {words}")
        for condition in self.conditions:
            if condition not in SHEET_KINDS:
                raise unknown_name("condition", condition, SHEET_KINDS)
        steps = (
            len(self.conditions) * len(self.distances_m) * len(self.yaws_deg) * max(1, len(self.lights)) * self.repeats
        )
        if steps > _MOST_STEPS:
            raise InputError(f"plan: {steps} steps are too many; expected at most {_MOST_STEPS}")

    @classmethod
    def load(cls, path: Path) -> "Protocol":
        """Load a plan file.

        Raises:
            InputError: if the file is missing or not TOML, an entry is unknown or missing, or a value is invalid.
        """
        entries = read_toml(path, "docs/howto/film.md has an example of a plan")
        names = [field.name for field in fields(cls)]
        for name in entries:
            if name not in names:
                raise unknown_name(f"entry of {path}", name, names)
        missing = [field.name for field in fields(cls) if field.default is MISSING and field.name not in entries]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Protocol":
        """Build from the output of :meth:`to_dict`, also after a round trip through JSON."""
        names = {field.name for field in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in names}
        return cls(**values)

    def steps(self) -> list[Step]:
        """List all steps: by light, which is slow to change, then by repeat, and in random order within a repeat."""
        rng = np.random.default_rng(self.seed)
        poses = list(product(self.conditions, self.distances_m, self.yaws_deg))
        ordered = [
            (*poses[i], light, repeat)
            for light in rng.permutation(np.array(self.lights or (None,), dtype=object)).tolist()
            for repeat in range(1, self.repeats + 1)
            for i in rng.permutation(len(poses))
        ]
        return [Step(number, *values) for number, values in enumerate(ordered, start=1)]

    def grid(self) -> PoseGrid:
        """Return the pose cells of the steps."""
        return PoseGrid(
            tuple(sorted(self.distances_m)),
            tuple(sorted(self.yaws_deg)),
            self.distance_tolerance,
            self.yaw_tolerance_deg,
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, including the steps."""
        return asdict(self) | {"steps": [asdict(step) for step in self.steps()]}


def _numbers(low: float, high: float) -> Callable[[Any], bool]:
    return lambda values: (
        isinstance(values, tuple)
        and len(values) > 0
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high for v in values)
        and len(set(values)) == len(values)
    )


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _names(at_least: int) -> Callable[[Any], bool]:
    return lambda values: (
        isinstance(values, tuple)
        and len(values) >= at_least
        and all(isinstance(v, str) and v for v in values)
        and len(set(values)) == len(values)
    )


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "conditions": (f"a list of different sheets: {', '.join(SHEET_KINDS)}", _names(1)),
    "distances_m": ("a list of different distances between 0.05 and 100 m", _numbers(0.05, 100)),
    "yaws_deg": ("a list of different angles between -80 and 80 degrees", _numbers(-80, 80)),
    "lights": ("a list of different names", _names(0)),
    "repeats": ("a whole number from 1 to 100", _whole(1, 100)),
    "seconds": ("seconds between 0.1 and 600", _number(0.1, 600)),
    "distance_tolerance": ("a share between 0.01 and 0.5", _number(0.01, 0.5)),
    "yaw_tolerance_deg": ("degrees between 1 and 45", _number(1, 45)),
    "seed": ("a whole number of at least 0", _whole(0, 2**32)),
}


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class Director:
    """Guide the user through the steps of a plan, and track which are done.

    A step is done when matching frames have lasted for the plan's seconds. When the light changes, the director waits for
    :meth:`confirm`.

    Attributes:
        protocol: the plan.
        grid: its pose cells.
        steps: all steps.
        done, skipped: numbers of the steps that are complete or were skipped.
    """

    def __init__(self, protocol: Protocol, done: Iterable[int] = (), skipped: Iterable[int] = ()) -> None:
        """Begin with the first step that is open.

        Args:
            protocol: the plan.
            done, skipped: numbers of the steps that are not open, of a session that goes on.
        """
        self.protocol, self.grid, self.steps = protocol, protocol.grid(), protocol.steps()
        self._cells = [self.grid.cell(step.distance_m, step.yaw_deg) for step in self.steps]
        self.done, self.skipped = set(done), set(skipped)
        self._at, self._held_s = -1, 0.0
        self._last_s: float | None = None
        self._pauses = FramePauses()
        self._advance()
        first = self.step or self.steps[0]
        self._confirmed_light = first.light  # the session starts with it, without confirmation

    @property
    def step(self) -> Step | None:
        """Return the current step; None if all are done."""
        return self.steps[self._at] if self._at < len(self.steps) else None

    @property
    def waits_for_light(self) -> bool:
        """Return whether the current step needs another light that the user has not confirmed yet."""
        return self.step is not None and self.step.light != self._confirmed_light

    @property
    def light(self) -> str | None:
        """Return the last confirmed light."""
        return self._confirmed_light

    @property
    def held(self) -> float:
        """Return the completed share of the current step, in [0, 1]."""
        return min(1.0, self._held_s / self.protocol.seconds)

    def look(self, condition: str, pose: SheetPose | None, time_s: float) -> int | None:
        """Match a frame with the current step, and advance to the next step when it is complete.

        Args:
            condition: kind of the sheet in the frame.
            pose: of the sheet; None without a sheet.
            time_s: of the frame.

        Returns:
            The number of the step that the frame belongs to; None if it does not match.
        """
        self._pauses.note(time_s)
        step = self.step
        if step is None or self.waits_for_light or self._correction(step, condition, pose):
            self._last_s = None
            return None
        # A pause between two matching frames does not count.
        if self._last_s is not None and 0 < time_s - self._last_s <= self._pauses.longest_interval_s:
            self._held_s += time_s - self._last_s
        self._last_s = time_s
        if self._held_s >= self.protocol.seconds:
            self.done.add(step.number)
            self._advance()
        return step.number

    def hint(self, condition: str, pose: SheetPose | None) -> str:
        """Return a short instruction for the user; "" while the sheet is held correctly."""
        step = self.step
        if step is None:
            return "all steps are done"
        if self.waits_for_light:
            return f"change the light to {step.light}, then confirm"
        return self._correction(step, condition, pose)

    def confirm(self) -> None:
        """Confirm that the light of the current step is on."""
        if self.step is not None:
            self._confirmed_light = self.step.light

    def skip(self) -> None:
        """Skip the current step."""
        if self.step is not None:
            self.skipped.add(self.step.number)
            self._advance()

    def back(self) -> None:
        """Repeat the previous step; its earlier frames are kept."""
        if self._at:
            self._at -= 1
            self.done.discard(self.steps[self._at].number)
            self.skipped.discard(self.steps[self._at].number)
            self._held_s, self._last_s = 0.0, None

    def filled(self) -> dict[str, dict[tuple[int, int], tuple[int, int]]]:
        """Count the steps by condition and pose cell: (done, total)."""
        cells: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        for step, where in zip(self.steps, self._cells, strict=True):
            if where is not None:
                done, total = cells.setdefault(step.condition, {}).get(where, (0, 0))
                cells[step.condition][where] = (done + (step.number in self.done), total + 1)
        return cells

    def _advance(self) -> None:
        """Go to the next open step."""
        self._at += 1
        while self.step is not None and self.step.number in self.done | self.skipped:
            self._at += 1
        self._held_s, self._last_s = 0.0, None

    def _correction(self, step: Step, condition: str, pose: SheetPose | None) -> str:
        """Return the instruction that brings the sheet to the step's pose; "" if it is there."""
        if pose is None:
            return f"show the {step.condition} sheet"
        if condition != step.condition:
            return f"this is the {condition} sheet; show the {step.condition} sheet"
        off_m = pose.distance_m - step.distance_m
        if abs(off_m) > self.protocol.distance_tolerance * step.distance_m:
            return f"{abs(off_m):.2f} m {'closer' if off_m > 0 else 'farther away'}"
        if pose.yaw_deg is None:
            if (
                pose.axis_tilt_deg <= self.protocol.yaw_tolerance_deg
                and abs(step.yaw_deg) <= self.protocol.yaw_tolerance_deg / 2
            ):
                return ""  # near the frontal pose the direction of the tilt does not matter
            return "the angle is not clear: hold the sheet still, or turn it slightly"
        off_deg = pose.yaw_deg - step.yaw_deg
        if abs(off_deg) > self.protocol.yaw_tolerance_deg:
            return f"turn the {'left' if off_deg > 0 else 'right'} edge {abs(off_deg):.0f} deg nearer"
        return ""
