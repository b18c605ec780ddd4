"""Under which sheet, clip, step and light a frame is filed."""

from dataclasses import replace

from captures.inference.analyser import Analysis
from captures.protocol.plan import Director
from captures.sources.frame import NO_SHEET

_TAKE_GAP_S = 1.0


class ClipCutter:
    """Numbers the takes of a camera: a clip is a stretch in which one sheet is seen, with no long gap.

    Frames of one take are much alike, so the take is what counts once; showing the sheet again begins another.
    """

    def __init__(self) -> None:
        self._clip, self._kind, self._last_s = 0, NO_SHEET, 0.0

    def number(self, condition: str, time_s: float) -> int:
        """The clip of a frame that shows ``condition``, of frames in the order of their times."""
        away = time_s - self._last_s > _TAKE_GAP_S
        if self._kind != NO_SHEET and (away or condition not in (self._kind, NO_SHEET)):
            self.cut()
        if condition != NO_SHEET:
            self._kind, self._last_s = condition, time_s
        return self._clip

    def cut(self) -> None:
        """Have the next frame begin another clip."""
        self._clip += 1
        self._kind = NO_SHEET


class Filing:
    """Completes the rows of each analysis.

    Attributes:
        condition: which sheet is shown in frames where no markers are seen.
        label: the class truly before the camera, where the person says so.
        light: the person's name for it.
    """

    def __init__(self, director: Director | None, condition: str | None, light: str | None) -> None:
        self.director, self.condition, self.light = director, condition or NO_SHEET, light
        self.clips = ClipCutter()

    def file(self, analysis: Analysis) -> Analysis:
        """The analysis with the condition, clip, step and light of its rows filled in."""
        frame, pose = analysis.frame, analysis.pose
        seen = pose.layout.kind if pose else NO_SHEET if analysis.located.foreign else self.condition
        condition = frame.condition or seen
        step = self.director.look(condition, pose, frame.time_s) if self.director else None
        if frame.clip is not None:
            clip = frame.clip
        elif self.director is not None:
            clip = step or 0
        else:
            clip = self.clips.number(condition, frame.time_s)
        light = self.director.light if self.director else self.light
        rows = [replace(row, condition=condition, clip=clip, step=step, light=light) for row in analysis.rows]
        return replace(analysis, rows=rows)
