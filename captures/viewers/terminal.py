"""Show a session in the terminal with a progress bar and messages."""

import numpy as np
from numpy.typing import NDArray

from calibration.common.console import ProgressBar
from captures.inference.analyser import Analysis
from captures.viewers.controls import Command, SessionStatus


class TerminalViewer:
    """Update a progress bar, and report each problem, foreign sheet and step once.

    If it is ``alone``, it ends the session when the plan is done, because no other viewer can.
    """

    def __init__(self, bar: ProgressBar, total: int | None, *, alone: bool) -> None:
        self._bar, self._total, self._alone = bar, total, alone
        self._foreign: set[str] = set()
        self._trouble = ""
        self._step: int | None = None

    def show(self, analysis: Analysis, _picture: NDArray[np.uint8], status: SessionStatus) -> None:
        self._bar.show(status.frames, self._total, status.hint)
        foreign = analysis.located.foreign
        if foreign and foreign not in self._foreign:
            self._foreign.add(foreign)
            self._bar.say(f"{foreign}; it is not counted: pass the printed PDF to --sheet")

    def poll(self, status: SessionStatus) -> list[Command]:
        if status.trouble != self._trouble:
            self._bar.say(status.trouble or "frames are arriving again")
            self._trouble = status.trouble
        director = status.director
        if director is not None and director.step is not None and director.step.number != self._step:
            self._step = director.step.number
            self._bar.say(f"step {self._step} of {len(director.steps)}: {director.step}")
        return [Command("stop")] if self._alone and director is not None and director.step is None else []
