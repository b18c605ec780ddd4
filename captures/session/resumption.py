"""Continue a session that has ended: number its frames and clips on, and refuse other settings."""

import os
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from calibration.common.errors import InputError
from calibration.common.text import without_password, without_user
from captures.results.session_record import SESSION_FILE, Continuation, SessionRecord
from captures.sources.frame import Event, Frame
from captures.sources.opening import Source
from captures.storage import SCHEMA_VERSION, FrameRow, read_events, read_rows, read_schema

CONTINUED = "continued"  # the kind of event with which a later part begins
_PAUSE_S = 2.0  # between parts, so that no frames of two parts are consecutive
_ALIKE = {  # fields of the record that stay the same, with the options that set them
    "run": "RUN",
    "sheet": "--sheet",
    "source": "--source",
    "camera": "--camera",
    "target": "RUN",
    "label": "--label",
    "region": "--roi",
    "every": "--every",
    "max_fps": "--max-fps",
    "keep": "--keep",
    "models": "--classifier, --detector, --weights, --labels, --threshold and --defence",
    "sheets": "--sheet and --profile",
    "intrinsics": "--profile",
    "hfov_deg": "--hfov",
    "plan": "--plan",
}
_SUMS = (
    "captured",
    "frames",
    "frames_while_paused",
    "dropped",
    "passed_over",
    "seconds",
    "unreadable",
    "gaps",
    "gap_seconds",
)


@dataclass(frozen=True)
class Earlier:
    """What a session holds before it goes on; without rows, a session that begins.

    Attributes:
        record: content of ``session.json``.
        rows, events: of the database.
        same_files: whether what goes on are the files that were filmed, whose times go on, too.
    """

    record: SessionRecord = field(default_factory=SessionRecord)
    rows: Sequence[FrameRow] = ()
    events: Sequence[Event] = ()
    same_files: bool = False

    @classmethod
    def read(cls, session: Path) -> "Earlier":
        """Read a session.

        Raises:
            InputError: if there is none, it cannot be read or has no record, it is of an earlier version, a rig filmed it or
                its frames come from another session, or all steps of its plan are done or skipped.
        """
        rows, record = read_rows(session), SessionRecord.of(session)
        if not (session / SESSION_FILE).is_file():
            raise InputError(f"{session} has no {SESSION_FILE}, so its settings are unknown; film a new session")
        if read_schema(session) < SCHEMA_VERSION:
            raise InputError(f"{session} was filmed by an earlier physpatch and cannot be resumed; film a new session")
        if record.virtual:
            raise InputError(
                f"a rig filmed {session}, and its frames are computed, so only a session of a camera, a phone, a stream or "
                f"files is resumed; film it anew with `{_command_of(record, session)}`, without --resume and with a new --out"
            )
        if record.reanalysis is not None:
            raise InputError(f"{session} was not filmed: its frames are those of {record.reanalysis.session}")
        earlier = cls(record, rows, read_events(session))
        protocol = record.protocol
        if protocol is not None and len(earlier.done | earlier.skipped) == len(protocol.steps()):
            raise InputError(f"all steps of the plan of {session} are done or skipped; film a new session")
        return earlier

    @property
    def is_new(self) -> bool:
        """Return whether the session begins."""
        return not self.record.begun

    @property
    def part(self) -> int:
        """Return the number of the part that begins, from 1."""
        return 1 if self.is_new else 2 + len(self.record.continued)

    @cached_property
    def begins_s(self) -> float:
        """Return when the part begins, in seconds of the session, which do not count the pause."""
        times = [*(row.time_s for row in self.rows), *(event.time_s for event in self.events)]
        return 0.0 if self.is_new else round(max(times, default=0.0) + (0.0 if self.same_files else _PAUSE_S), 3)

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return len({row.frame for row in self.rows})

    @cached_property
    def last_frame(self) -> int:
        """Return the number of the last frame; 0 without frames."""
        return max((row.frame for row in self.rows), default=0)

    @property
    def next_clip(self) -> int:
        """Return the number of the next clip."""
        return max((row.clip for row in self.rows), default=-1) + 1

    @property
    def done(self) -> set[int]:
        """Return the numbers of the plan's steps that are done."""
        return _progress(self.events)[0]

    @property
    def skipped(self) -> set[int]:
        """Return the numbers of the plan's steps that were skipped."""
        return _progress(self.events)[1]

    def require_same(self, now: SessionRecord, session: Path) -> None:
        """Check the settings of the part that begins.

        Raises:
            InputError: if one differs; the message names it and its option.
        """
        before, after = self.record, now
        for name, option in _ALIKE.items():
            was, becomes = getattr(before, name), getattr(after, name)
            if name == "sheets" and any(sheet.scale is None for sheet in was):  # of an earlier version
                becomes = [sheet.model_copy(update={"scale": None}) for sheet in becomes]
            if name == "source" and was is not None and becomes is not None:  # of earlier versions, in other words
                was, becomes = without_user(without_password(was)), without_user(becomes)
            if was != becomes:
                raise InputError(
                    f"{session} was filmed with another setting of {name.replace('_', ' ')} ({_change(was, becomes)}); give "
                    f"{option} as before, or film a new session"
                )

    def continued(self, files: Sequence[str] = ()) -> SessionRecord:
        """Return the record with the part that begins; ``files`` are the pictures that are now there."""
        part = Continuation(
            begun=time.strftime("%Y-%m-%dT%H:%M:%S%z"), after_frame=self.last_frame, time_s=self.begins_s
        )
        parts = [*(continuation.to_dict() for continuation in self.record.continued), part.to_dict()]
        return self.record.changed(continued=parts, files=list(files))

    def added_to(self, account: dict[str, Any]) -> dict[str, Any]:
        """Add the counts of this part to an account of the next one, as in ``session.json``."""
        before = {name: getattr(self.record, name) for name in _SUMS} | {"frames": self.frames}
        if before["captured"] is None:  # the session was killed: what was captured and dropped is not known
            before["captured"] = self.last_frame
        sums = {name: round((before[name] or 0) + account[name], 2) for name in _SUMS}
        delays = [(delay["mean"], n) for delay, n in self._delays(account) if delay and n]
        number = sum(n for _, n in delays)
        if not number:
            return account | sums
        longest = max(delay["longest"] for delay, _ in self._delays(account) if delay)
        mean = sum(mean * n for mean, n in delays) / number
        return account | sums | {"delay_s": {"mean": round(mean, 4), "longest": longest}}

    def _delays(self, account: dict[str, Any]) -> list[tuple[dict[str, Any] | None, int]]:
        own = self.record.delay_s
        return [(own and own.to_dict(), self.frames), (account["delay_s"], account["frames"])]


def _command_of(record: SessionRecord, session: Path) -> str:
    """Return the command that films a rig's session again, as far as its record has it; models and region are added by hand."""
    words = ["physpatch", "live"]
    if record.run:
        words.append(os.path.normpath(session / record.run))
    words += ["--source", record.source or ("rendered" if record.scene else "virtual")]
    if record.scene:
        words += ["--scene", record.scene]
    if record.rig is not None:
        rig = record.rig
        words += ["--seed", str(rig.seed), "--clips", str(rig.clips), "--frames-per-clip", str(rig.frames_per_clip)]
    return shlex.join(words)


def _progress(events: Iterable[Event]) -> tuple[set[int], set[int]]:
    """Find the steps that are done and those skipped; also of a session that was killed, which could not note them."""
    done, skipped, current = set[int](), set[int](), 0
    for event in events:
        if event.kind == "step":
            current = int(event.words.partition(":")[0])
            done.discard(current)  # it is repeated
            skipped.discard(current)
        elif event.kind == "done":
            done.add(int(event.words))
        elif event.kind == "skip" and current:
            skipped.add(current)
    return done, skipped


def _change(was: Any, becomes: Any) -> str:
    """Show two settings in short, or where these are alike, the first part in which they differ."""
    before, after = _short(was), _short(becomes)
    if before == after and isinstance(was, list):
        for old, new in zip(was, becomes, strict=True):
            for name, value in vars(old).items():
                if value != getattr(new, name):
                    return f"{_short(old)}'s {name} {_short(value)}, now {_short(getattr(new, name))}"
    return f"{before}, now {after}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_short(part) for part in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={part}" for name, part in value.items()) or "none"
    if isinstance(value, tuple):
        return " x ".join(f"{part:g}" for part in value)
    if value is None or isinstance(value, (str, int, float)):
        return "none" if value is None else str(value)
    return str(getattr(value, "name", None) or getattr(value, "kind", None) or "set")


class ContinuedSource:
    """A source whose frames, clips and times continue those of an earlier part of the session."""

    def __init__(self, source: Source, earlier: Earlier) -> None:
        """Continue with an open source what was filmed before.

        Where it has the files that were filmed, it goes on behind the last frame: to count a frame twice would make the
        session surer than it is.
        """
        self._source, self._earlier, self._same_files = source, earlier, earlier.same_files
        self.fps, self.live = source.fps, source.live

    @property
    def captured(self) -> int:
        before = (self._earlier.record.captured or self._earlier.last_frame) if self._same_files else 0
        return max(0, self._source.captured - before)

    @property
    def dropped(self) -> int:
        return self._source.dropped

    @property
    def analysed(self) -> tuple[int, float] | None:
        """Return number and time of the last frame of the same files that was analysed; None for other frames."""
        last = self._earlier.last_frame
        times = [row.time_s for row in self._earlier.rows if row.frame == last]
        return (last, times[0]) if self._same_files and times else None

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._source.__exit__(*exception)

    def __iter__(self) -> Iterator[Frame]:
        begins_s, last, clip = self._earlier.begins_s, self._earlier.last_frame, self._earlier.next_clip
        for frame in self._source:
            if self._same_files:
                if frame.number > last:
                    yield frame
                continue
            yield replace(
                frame,
                number=frame.number + last,
                time_s=frame.time_s + begins_s,
                clip=None if frame.clip is None else frame.clip + clip,
            )

    def take_events(self) -> list[Event]:
        events, begins_s = self._source.take_events(), self._earlier.begins_s
        if self._same_files:  # those of frames that were filmed before are known
            return [event for event in events if event.time_s > begins_s]
        return [replace(event, time_s=event.time_s + begins_s) for event in events]

    def status(self) -> str:
        return self._source.status()

    def close(self) -> None:
        self._source.close()
