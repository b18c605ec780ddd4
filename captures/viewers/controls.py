"""Commands to a running session, from keys, the terminal or the web page, and the status that viewers show."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, unknown_name
from calibration.common.text import cleaned
from calibration.sheet.layout import SHEET_KINDS
from captures.inference.region import RegionRule
from captures.sources.frame import NO_SHEET

if TYPE_CHECKING:  # imports torch and scipy; a missing camera or display must be reported before they load
    from captures.inference.analyser import Analysis
    from captures.protocol.plan import Director
    from captures.protocol.pose_map import PoseMap
    from captures.results.aggregation import Tally

_MOST_WORDS = 200

COMMANDS = {
    "stop": "end the session",
    "pause": "stop recording until resume",
    "resume": "resume recording with a new clip",
    "mark": "mark the moment, with a note",
    "skip": "skip the current step of the plan",
    "back": "repeat the previous step of the plan",
    "confirm": "confirm that the plan's light is on",
    "region": "set the region that the classifier sees, as for --roi",
    "condition": "name the sheet that is shown if no markers are detected",
    "light": "name the light from now on",
}


@dataclass(frozen=True)
class Command:
    """One of :data:`COMMANDS`, with a value if it takes one, from which what cannot be stored is removed."""

    do: str
    value: str = ""

    def __post_init__(self) -> None:
        """Clean the value, and check command and value.

        Raises:
            InputError: if the command is unknown or its value invalid.
        """
        if self.do not in COMMANDS:
            raise unknown_name("command", self.do, COMMANDS)
        if len(self.value) > _MOST_WORDS:
            raise InputError(f"{self.do}: {len(self.value)} characters are too many; expected at most {_MOST_WORDS}")
        object.__setattr__(self, "value", cleaned(self.value))
        if self.do == "condition":
            check_condition(self.value)
        if self.do == "region":
            RegionRule.parse(self.value)

    @classmethod
    def from_json(cls, value: Any) -> "Command":
        """Build from ``{"do": ..., "value": ...}``.

        Raises:
            InputError: if the value has another form.
        """
        if not isinstance(value, dict) or not value.keys() <= {"do", "value"}:
            raise InputError('expected {"do": command, "value": text}')
        do, words = value.get("do"), value.get("value", "")
        if not isinstance(do, str) or not isinstance(words, str):
            raise InputError("do and value must be text")
        return cls(do, words)


def check_condition(condition: str) -> None:
    """Check that ``condition`` is a kind of sheet or ``none``.

    Raises:
        InputError: if it is not.
    """
    if condition not in (*SHEET_KINDS, NO_SHEET):
        raise unknown_name("condition", condition, (*SHEET_KINDS, NO_SHEET))


@dataclass
class SessionStatus:
    """The status of a session, which viewers show besides the picture. Only the session's thread may use it.

    Attributes:
        tally: counts so far.
        poses: success by pose.
        target: name of the target class; None without a target.
        region: the rule for the region that the classifier sees.
        director: leads through the plan; None without a plan.
        recording: False while paused.
        trouble: current problem of the source, in words; "" if there is none.
        hint: instruction for the user; "" if there is none.
        frames: number of analysed frames.
        dropped: number of frames that were not analysed in time.
        fps: analysed frames per second.
        delay_s: from capture to result, for a live source.
        light: the user's name for the light.
    """

    tally: "Tally"
    poses: "PoseMap"
    target: str | None
    region: str
    director: "Director | None" = None
    recording: bool = True
    trouble: str = ""
    hint: str = ""
    frames: int = 0
    dropped: int = 0
    fps: float = 0.0
    delay_s: float | None = None
    light: str | None = None


class Viewer(Protocol):
    """A window, web page or terminal that shows a session. The session's thread makes all calls."""

    def show(self, analysis: "Analysis", picture: NDArray[np.uint8], status: SessionStatus) -> None:
        """Show an analysed frame; ``picture`` is its annotated copy, (H, W, 3) RGB uint8."""
        ...

    def poll(self, status: SessionStatus) -> list[Command]:
        """Return the user's commands since the last call; called many times a second, even without frames."""
        ...
