"""What a person asks of a running session, from the window's keys, the terminal or the web page, and what it shows them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, unknown_name
from calibration.sheet.layout import SHEET_KINDS
from captures.inference.region import RegionRule
from captures.sources.frame import NO_SHEET

if TYPE_CHECKING:  # torch and scipy, and a missing camera or display is to be said before they are loaded
    from captures.inference.analyser import Analysis
    from captures.protocol.plan import Director
    from captures.protocol.pose_map import PoseMap
    from captures.results.aggregation import Tally

_MOST_WORDS = 200

COMMANDS = {
    "stop": "end the session",
    "pause": "record nothing until resume",
    "resume": "go on recording; a new clip begins",
    "mark": "note the moment, with words",
    "skip": "leave the plan's step out",
    "back": "do the plan's step before again",
    "confirm": "the light is as the plan asks",
    "region": "what the classifier sees, as for --roi",
    "condition": "which sheet is shown where markers cannot tell",
    "light": "a name for the light from now on",
}


@dataclass(frozen=True)
class Command:
    """One of :data:`COMMANDS`, with its value where it has one."""

    do: str
    value: str = ""

    def __post_init__(self) -> None:
        """Raises:
        InputError: no such command, or a value that it cannot have.
        """
        if self.do not in COMMANDS:
            raise unknown_name("command", self.do, COMMANDS)
        if len(self.value) > _MOST_WORDS:
            raise InputError(f"{self.do}: {len(self.value)} characters are too many; at most {_MOST_WORDS}")
        if self.do == "condition":
            check_condition(self.value)
        if self.do == "region":
            RegionRule.parse(self.value)

    @classmethod
    def from_json(cls, value: Any) -> "Command":
        """From ``{"do": ..., "value": ...}``.

        Raises:
            InputError: not such a thing.
        """
        if not isinstance(value, dict) or not value.keys() <= {"do", "value"}:
            raise InputError('expected {"do": command, "value": words}')
        do, words = value.get("do"), value.get("value", "")
        if not isinstance(do, str) or not isinstance(words, str):
            raise InputError("do and value must be words")
        return cls(do, words)


def check_condition(condition: str) -> None:
    """Raises:
    InputError: no kind of sheet, nor ``none``.
    """
    if condition not in (*SHEET_KINDS, NO_SHEET):
        raise unknown_name("condition", condition, (*SHEET_KINDS, NO_SHEET))


@dataclass
class SessionStatus:
    """How a session stands: what viewers show besides the picture. It belongs to the session's thread.

    Attributes:
        recording: or paused.
        trouble: what is wrong with the source at the moment, in words; empty where nothing is.
        hint: what the person should do now; empty where nothing.
        frames, dropped: analysed, and come but not taken, so far.
        fps: analysed a second.
        delay_s: from capture to answer, of a live source.
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
    """A window, a web page, a terminal. All calls come from the session's thread."""

    def show(self, analysis: "Analysis", picture: NDArray[np.uint8], status: SessionStatus) -> None:
        """A frame was analysed; ``picture`` (H, W, 3) RGB is its annotated copy."""
        ...

    def poll(self, status: SessionStatus) -> list[Command]:
        """What was asked since the last call; called many times a second, also while no frames come."""
        ...
