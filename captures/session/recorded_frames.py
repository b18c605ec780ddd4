"""The kept frames of a session as a source, so that they can be analysed again."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from calibration.common.errors import InputError
from calibration.common.pictures import read_picture
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import Reanalysis
from captures.sources.frame import UNREADABLE, Event, Frame, Recorded
from captures.sources.opening import EventSource
from captures.storage import WHOLE_SUFFIX, FrameRow, read_events

_FPS = 10.0  # of a single frame


class RecordedFrames(EventSource):
    """The frames that a session kept, with the times, sheets, clips, steps and lights that it recorded, and its events."""

    def __init__(self, session: RecordedSession, *, same_regions: bool = True) -> None:
        """Find the frames.

        Args:
            session: the recorded session.
            same_regions: whether the classifier sees the recorded regions; otherwise they are chosen again.

        Raises:
            InputError: if no frame was kept.
        """
        super().__init__()
        rows: dict[int, FrameRow] = {}
        self._labels: dict[int, str] = {}  # where it is a class of the detector alone, the classifier's row has none
        for row in session.rows:  # a detector has no region
            if row.frame not in rows or rows[row.frame].region is None:
                rows[row.frame] = row
            if row.label is not None:
                self._labels.setdefault(row.frame, row.label)
        self._kept = [(row, file) for row in rows.values() if (file := session.kept(row)) is not None]
        if not self._kept:
            raise InputError(
                f"{session.folder} kept none of its {len(rows)} original frames; film with --keep whole to analyse them again"
            )
        self.scenes: Sequence[int] = session.record.scenes
        self._same_regions = same_regions
        ignored = () if same_regions else ("region",)
        self._earlier = deque(event for event in read_events(session.folder) if event.kind not in ignored)
        self.captured, self._all = 0, len(rows)
        times = [row.time_s for row, _ in self._kept]
        apart = [after - before for before, after in pairwise(times) if after > before]
        self.fps = 1 / median(apart) if apart else _FPS

    def __len__(self) -> int:
        """Return the number of frames that were kept."""
        return len(self._kept)

    def reanalysis(self, session: str) -> Reanalysis:
        """Return the record of the frames' origin, the folder ``session``."""
        whole = sum(file.suffix == WHOLE_SUFFIX for _, file in self._kept)
        return Reanalysis(session=session, frames=self._all, whole=whole, lossy=len(self._kept) - whole)

    def __iter__(self) -> Iterator[Frame]:
        for row, file in self._kept:
            while self._earlier and self._earlier[0].time_s <= row.time_s:
                self._events.append(self._earlier.popleft())
            self.captured += 1
            try:
                picture = read_picture(file)
            except InputError as error:
                self._events.append(Event(row.time_s, UNREADABLE, str(error)))
                continue
            recorded = Recorded(
                file,
                region=row.region_px if self._same_regions else None,
                step=row.step,
                light=row.light,
                true_distance_m=row.true_distance_m,
            )
            yield Frame(
                picture,
                row.time_s,
                row.frame,
                condition=row.condition,
                clip=row.clip,
                label=self._labels.get(row.frame),
                camera=json.loads(row.camera) if row.camera else {},
                recorded=recorded,
            )
        self._events.extend(self._earlier)
