"""Label frames with their sheet, clip, step and light."""

from dataclasses import replace

from captures.inference.analyser import Analysis
from captures.protocol.pauses import FramePauses
from captures.protocol.plan import Director
from captures.sources.frame import NO_SHEET


class ClipCutter:
    """Number the clips of a camera: a clip is a stretch of frames that show one sheet, without a long gap.

    Frames of one clip are much alike, so statistics count clips, not frames. Showing the sheet again starts a new clip. A slow
    source's frames are no gaps.
    """

    def __init__(self, first: int = 0) -> None:
        self._clip, self._kind, self._last_s = first, NO_SHEET, 0.0
        self._pauses = FramePauses()

    def number(self, condition: str, time_s: float) -> int:
        """Return the clip of a frame that shows ``condition``; pass frames in order of time."""
        self._pauses.note(time_s)
        gone = time_s - self._last_s > self._pauses.longest_interval_s
        if self._kind != NO_SHEET and (gone or condition not in (self._kind, NO_SHEET)):
            self.cut()
        if condition != NO_SHEET:
            self._kind, self._last_s = condition, time_s
        return self._clip

    def cut(self) -> None:
        """Start a new clip with the next frame."""
        self._clip += 1
        self._kind = NO_SHEET


class FrameLabeller:
    """Complete the rows of each analysis with what the session knows beyond the frame.

    Attributes:
        director: leads through a plan; None without a plan, and for frames that are analysed again.
        condition: the sheet that is shown in frames in which no markers are detected.
        light: the user's name for the current light.
        clips: numbers the clips where neither source nor plan does.
    """

    def __init__(
        self, director: Director | None, condition: str | None, light: str | None, first_clip: int = 0
    ) -> None:
        self.director, self.condition, self.light = director, condition or NO_SHEET, light
        self.clips = ClipCutter(first_clip)

    def label(self, analysis: Analysis) -> Analysis:
        """Return the analysis with the condition, clip, step and light of its rows filled in."""
        frame, pose = analysis.frame, analysis.pose
        detected = pose.layout.kind if pose else NO_SHEET if analysis.located.foreign else self.condition
        condition = frame.condition or detected
        step = self.director.look(condition, pose, frame.time_s) if self.director else None
        if frame.clip is not None:
            clip = frame.clip
        elif self.director is not None:
            clip = step or 0
        else:
            clip = self.clips.number(condition, frame.time_s)
        planned = self.director is not None and bool(self.director.protocol.lights)
        light = self.director.light if self.director is not None and planned else self.light
        if frame.recorded is not None:
            step, light = frame.recorded.step, frame.recorded.light
        rows = [replace(row, condition=condition, clip=clip, step=step, light=light) for row in analysis.rows]
        return replace(analysis, rows=rows)
