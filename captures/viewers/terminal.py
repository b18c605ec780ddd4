"""A session in the terminal: a bar, and lines for what happens."""

import numpy as np
from numpy.typing import NDArray

from calibration.common.console import ProgressBar
from captures.inference.analyser import Analysis
from captures.viewers.controls import Command, SessionStatus


class TerminalViewer:
    """Moves a bar and says each trouble, stranger and step once. Where it is ``alone``, nobody else could end a session whose
    plan is done, so it does."""

    def __init__(self, bar: ProgressBar, total: int | None, *, alone: bool) -> None:
        self._bar, self._total, self._alone = bar, total, alone
        self._strangers: set[str] = set()
        self._trouble = ""
        self._step: int | None = None

    def show(self, analysis: Analysis, _picture: NDArray[np.uint8], status: SessionStatus) -> None:
        self._bar.show(status.frames, self._total, status.hint)
        foreign = analysis.located.foreign
        if foreign and foreign.patch_id not in self._strangers:
            self._strangers.add(foreign.patch_id)
            self._bar.say(f"a sheet of patch {foreign.patch_id} is shown; it is none of this session's and not counted")

    def poll(self, status: SessionStatus) -> list[Command]:
        if status.trouble != self._trouble:
            self._bar.say(status.trouble or "frames come again")
            self._trouble = status.trouble
        director = status.director
        if director is not None and director.step is not None and director.step.number != self._step:
            self._step = director.step.number
            self._bar.say(f"step {self._step} of {len(director.steps)}: {director.step}")
        return [Command("stop")] if self._alone and director is not None and director.step is None else []
