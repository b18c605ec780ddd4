"""What a session is to show, step by step: sheets, distances, turns and lights, in an order drawn by seed.

``plan.toml``::

    conditions = ["patch", "grey", "random", "shuffled"]
    distances_m = [0.5, 1.0]
    yaws_deg = [-30, 0, 30]        # positive: the sheet's right edge, as the camera sees it, nearer to the camera
    lights = ["daylight", "lamp"]  # optional
    repeats = 2                    # optional, 1
    seconds = 3                    # optional: of frames at each step
    distance_tolerance = 0.15      # optional: share of the distance
    yaw_tolerance_deg = 10         # optional
    seed = 0                       # optional: of the order
"""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from calibration.camera.sheet_pose import SheetPose
from calibration.common.errors import InputError, unknown_name
from calibration.sheet.layout import SHEET_KINDS

_MOST_STEPS = 2000


@dataclass(frozen=True)
class Step:
    """One thing to show: which sheet, how far away, how turned, in which light. ``number`` counts from 1."""

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
            turned = f"turned {abs(self.yaw_deg):g} deg, its {side} edge nearer"
        return f"{self.condition} sheet at {self.distance_m:g} m, {turned}" + (f", {self.light}" if self.light else "")


@dataclass(frozen=True)
class PoseGrid:
    """Cells of distance and yaw that poses are sorted into, each around its middle."""

    distances_m: tuple[float, ...]
    yaws_deg: tuple[float, ...]
    distance_tolerance: float = 0.15
    yaw_tolerance_deg: float = 10.0

    def cell(self, distance_m: float | None, yaw_deg: float | None) -> tuple[int, int] | None:
        """Row (distance) and column (yaw) of a pose; None outside of all, or where it is not known."""
        if distance_m is None or yaw_deg is None:
            return None
        row = min(range(len(self.distances_m)), key=lambda i: abs(math.log(distance_m / self.distances_m[i])))
        column = min(range(len(self.yaws_deg)), key=lambda i: abs(yaw_deg - self.yaws_deg[i]))
        far = abs(distance_m / self.distances_m[row] - 1) > self.distance_tolerance
        turned = abs(yaw_deg - self.yaws_deg[column]) > self.yaw_tolerance_deg
        return None if far or turned else (row, column)


# Where nobody planned: each cell reaches to its neighbours.
EVERYWHERE = PoseGrid((0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0), (-60, -40, -20, 0, 20, 40, 60), 0.3, 10.0)


@dataclass(frozen=True)
class Protocol:
    """A whole plan. See the module for its file."""

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
        for condition in self.conditions:
            if condition not in SHEET_KINDS:
                raise unknown_name("condition", condition, SHEET_KINDS)
        for name, (words, fits) in _CHECKS.items():
            if not fits(getattr(self, name)):
                raise InputError(f"plan: {name} = {_shown(getattr(self, name))}; expected {words}")
        steps = (
            len(self.conditions) * len(self.distances_m) * len(self.yaws_deg) * max(1, len(self.lights)) * self.repeats
        )
        if steps > _MOST_STEPS:
            raise InputError(f"plan: {steps} steps are more than anybody holds; at most {_MOST_STEPS}")

    @classmethod
    def load(cls, path: Path) -> "Protocol":
        """Read a plan file.

        Raises:
            InputError: no such file, no TOML, an unknown or missing entry, or a value that cannot be.
        """
        try:
            with open(path, "rb") as file:
                entries = tomllib.load(file)
        except FileNotFoundError as error:
            raise InputError(f"no plan {path}; docs/howto/film.md shows one") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} is no TOML that can be read: {error}") from error
        known = [field.name for field in fields(cls)]
        for name in entries:
            if name not in known:
                raise unknown_name(f"entry of {path}", name, known)
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
        """Read :meth:`to_dict`'s output back, from JSON too."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in known}
        return cls(**values)

    def steps(self) -> list[Step]:
        """All steps: light by light, for changing it is work, repeat by repeat, and within them in random order."""
        rng = np.random.default_rng(self.seed)
        shown = list(product(self.conditions, self.distances_m, self.yaws_deg))
        ordered = [
            (*shown[i], light, repeat)
            for light in rng.permutation(np.array(self.lights or (None,), dtype=object)).tolist()
            for repeat in range(1, self.repeats + 1)
            for i in rng.permutation(len(shown))
        ]
        return [Step(number, *values) for number, values in enumerate(ordered, start=1)]

    def grid(self) -> PoseGrid:
        """The pose cells that the steps fill."""
        return PoseGrid(
            tuple(sorted(self.distances_m)),
            tuple(sorted(self.yaws_deg)),
            self.distance_tolerance,
            self.yaw_tolerance_deg,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, its steps with it."""
        return asdict(self) | {"steps": [asdict(step) for step in self.steps()]}


def _numbers(low: float, high: float) -> Callable[[Any], bool]:
    return lambda values: (
        isinstance(values, tuple)
        and len(values) > 0
        and len(set(values)) == len(values)
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high for v in values)
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
    "conditions": (f"different ones of {', '.join(SHEET_KINDS)}", _names(1)),
    "distances_m": ("different metres between 0.05 and 100, as a list", _numbers(0.05, 100)),
    "yaws_deg": ("different degrees between -80 and 80, as a list", _numbers(-80, 80)),
    "lights": ("different names, as a list", _names(0)),
    "repeats": ("a whole number from 1 to 100", _whole(1, 100)),
    "seconds": ("seconds between 0.1 and 600", _number(0.1, 600)),
    "distance_tolerance": ("a share between 0.01 and 0.5", _number(0.01, 0.5)),
    "yaw_tolerance_deg": ("degrees between 1 and 45", _number(1, 45)),
    "seed": ("a whole number from 0 on", _whole(0, 2**32)),
}


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class Director:
    """Leads through the steps: what to show next, whether it is shown, and which cells are filled.

    A step is done when frames that fit it have lasted for the protocol's seconds. Where the light changes, it waits until
    :meth:`confirm`.
    """

    _LONGEST_FRAME_S = 1.0  # a longer pause between two fitting frames does not count as held

    def __init__(self, protocol: Protocol) -> None:
        self.protocol, self.grid, self.steps = protocol, protocol.grid(), protocol.steps()
        self.done: set[int] = set()
        self.skipped: set[int] = set()
        self._at = 0
        self._held_s = 0.0
        self._last_s: float | None = None
        self._confirmed_light = self.steps[0].light  # the session begins with it: it is said before the first frame

    @property
    def step(self) -> Step | None:
        """What is to be shown now; None when all is done."""
        return self.steps[self._at] if self._at < len(self.steps) else None

    @property
    def waits_for_light(self) -> bool:
        """Whether the light is to be changed and nobody has said that it was."""
        return self.step is not None and self.step.light != self._confirmed_light

    @property
    def light(self) -> str | None:
        """The light that was last confirmed."""
        return self._confirmed_light

    @property
    def held(self) -> float:
        """Share in [0, 1] of the present step that is filled."""
        return min(1.0, self._held_s / self.protocol.seconds)

    def look(self, condition: str, pose: SheetPose | None, time_s: float) -> int | None:
        """The number of the step that a frame fits, or None; moves on when the step is filled."""
        step = self.step
        if step is None or self.waits_for_light or self._amiss(step, condition, pose):
            self._last_s = None
            return None
        if self._last_s is not None and 0 < time_s - self._last_s <= self._LONGEST_FRAME_S:
            self._held_s += time_s - self._last_s
        self._last_s = time_s
        if self._held_s >= self.protocol.seconds:
            self.done.add(step.number)
            self._advance()
        return step.number

    def hint(self, condition: str, pose: SheetPose | None) -> str:
        """What the person should do now, in a few words; empty while the step is being filled."""
        step = self.step
        if step is None:
            return "all steps are done"
        if self.waits_for_light:
            return f"change the light to {step.light}, then confirm"
        return self._amiss(step, condition, pose)

    def confirm(self) -> None:
        """The light is as the step asks."""
        if self.step is not None:
            self._confirmed_light = self.step.light

    def skip(self) -> None:
        """Leave the present step out."""
        if self.step is not None:
            self.skipped.add(self.step.number)
            self._advance()

    def back(self) -> None:
        """Show the step before once more; what was recorded of it is kept."""
        if self._at:
            self._at -= 1
            self.done.discard(self.steps[self._at].number)
            self.skipped.discard(self.steps[self._at].number)
            self._held_s, self._last_s = 0.0, None

    def filled(self) -> dict[str, dict[tuple[int, int], tuple[int, int]]]:
        """By condition and pose cell: how many of its steps are done, and how many there are."""
        cells: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        for step in self.steps:
            where = self.grid.cell(step.distance_m, step.yaw_deg)
            if where is not None:
                done, total = cells.setdefault(step.condition, {}).get(where, (0, 0))
                cells[step.condition][where] = (done + (step.number in self.done), total + 1)
        return cells

    def _advance(self) -> None:
        self._at += 1
        self._held_s, self._last_s = 0.0, None

    def _amiss(self, step: Step, condition: str, pose: SheetPose | None) -> str:
        if pose is None:
            return f"show the {step.condition} sheet"
        if condition != step.condition:
            return f"this is the {condition} sheet; show the {step.condition} sheet"
        off_m = pose.distance_m - step.distance_m
        if abs(off_m) > self.protocol.distance_tolerance * step.distance_m:
            return f"{abs(off_m):.2f} m {'closer' if off_m > 0 else 'farther away'}"
        if pose.yaw_deg is None:
            if (
                pose.tilt_deg <= self.protocol.yaw_tolerance_deg
                and abs(step.yaw_deg) <= self.protocol.yaw_tolerance_deg / 2
            ):
                return ""  # which way it leans a little does not matter where it faces the camera
            return "its turn cannot be told: hold it still, or turn it a little more or less"
        off_deg = pose.yaw_deg - step.yaw_deg
        if abs(off_deg) > self.protocol.yaw_tolerance_deg:
            return f"turn its {'left' if off_deg > 0 else 'right'} edge {abs(off_deg):.0f} deg nearer"
        return ""
