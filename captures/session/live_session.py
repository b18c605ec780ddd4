"""Run a session: analyse frames and record them in a folder, until the source ends or the user stops it."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import DEFAULT_HFOV_DEG, Intrinsics
from calibration.common.errors import InputError, PhyspatchError
from calibration.common.files import claimed
from calibration.common.signals import Terminated, finishing
from calibration.sheet.layout import SheetLayout
from captures.inference.analyser import Analyser, Analysis, open_analyser
from captures.inference.pipeline import Pipeline
from captures.inference.region import RegionRule
from captures.protocol.plan import EVERYWHERE, Director, Protocol
from captures.protocol.pose_map import PoseMap
from captures.results.aggregation import Tally
from captures.results.session_record import SESSION_FILE, PlanRecord, SessionModel, SessionRecord, SessionSheet
from captures.results.success import is_counted
from captures.session.clips import FrameLabeller
from captures.session.recorder import KeepRule, Recorder
from captures.session.resumption import CONTINUED, ContinuedSource, Earlier
from captures.sources.frame import UNREADABLE, Event
from captures.sources.opening import FolderSource, Rig, Source, StagedScenes
from captures.storage import SESSION_DATABASE, FrameRow, SessionStore, export_csv, refused_folder
from captures.viewers.controls import Command, SessionStatus, Viewer
from captures.viewers.overlay import annotate
from physpatch.records.environment import device_name, versions
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Victim

SESSIONS_FOLDER = Path("sessions")
_FPS_WINDOW = 15
_TICK_S = 0.05  # how often keys and buttons are polled while no frames arrive

OnFrame = Callable[[Analysis, NDArray[np.uint8]], bool]


@dataclass(frozen=True, eq=False)
class SessionConfig:
    """The settings of a session.

    Attributes:
        classifier: sees a region of each frame.
        detector: sees whole frames; None for no detector.
        defended: the classifier behind defences; each has its own rows.
        layouts: the printed sheets to look for; empty if none was printed.
        intrinsics: of the camera; None assumes ``hfov_deg``.
        hfov_deg: horizontal field of view; None assumes a typical one.
        target: the target class, ``{"index": int, "name": str}`` as in a patch file; None for an untargeted patch.
        goal, scope: the intended effect on a detector, see ``calibration.common.success.Aim``.
        label: the true class, if the user gives it.
        condition: the sheet that is shown in frames in which no markers are detected.
        light: the user's name for the light.
        grad_cam: whether to compute Grad-CAM.
        region: the part of a frame that the classifier sees.
        protocol: the plan; None without a plan.
        every: analyse every Nth frame.
        max_fps: largest number of frames analysed per second.
        max_frames: end after this many frames.
        keep: which original frames are kept.
        notes: additional JSON for ``session.json``, such as the run and the PDF.
    """

    classifier: Victim
    detector: Detector | None = None
    defended: Sequence[Victim] = ()
    layouts: Sequence[SheetLayout] = ()
    intrinsics: Intrinsics | None = None
    hfov_deg: float | None = None
    target: dict[str, Any] | None = None
    goal: str = "auto"
    scope: str = "patch"
    label: str | None = None
    condition: str | None = None
    light: str | None = None
    grad_cam: bool = True
    region: RegionRule = field(default_factory=RegionRule)
    protocol: Protocol | None = None
    every: int = 1
    max_fps: float | None = None
    max_frames: int | None = None
    keep: KeepRule = field(default_factory=KeepRule)
    notes: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.intrinsics is None:
            self.lens((1, 1))  # raises for an invalid field of view before anything is opened

    def lens(self, shape: tuple[int, ...]) -> Intrinsics:
        """Return the intrinsics for frames of ``shape`` (height, width, ...), measured or from the field of view."""
        height, width = shape[:2]
        if self.intrinsics is None:
            return Intrinsics.from_hfov(width, height, self.hfov_deg or DEFAULT_HFOV_DEG)
        return self.intrinsics.resized(width, height)


def film_rig(
    rig: Rig,
    victim: Victim,
    target: dict[str, Any] | None,
    out: Path,
    *,
    detector: Detector | None = None,
    keep: str = "all",
    **notes: Any,
) -> Path:
    """Record a session of everything a rig shows, without Grad-CAM; for arguments see :class:`SessionConfig`.

    Raises:
        KeyboardInterrupt: it was interrupted; what was filmed until then is kept.
    """
    config = SessionConfig(
        victim,
        detector=detector,
        layouts=rig.layouts,
        intrinsics=rig.intrinsics,
        target=target,
        grad_cam=False,
        keep=KeepRule.parse(keep),
        notes=notes,
    )
    run_session(rig, config, out)
    require_uninterrupted(out)
    return out


def require_uninterrupted(session: Path) -> None:
    """Raise where a session was interrupted, which ends it in order: for those who need all of it.

    Raises:
        KeyboardInterrupt: it was.
    """
    if SessionRecord.of(session).status == "interrupted":
        raise KeyboardInterrupt


def run_session(
    source: Source,
    config: SessionConfig,
    out: Path,
    *,
    viewers: Sequence[Viewer] = (),
    on_frame: OnFrame = lambda *_: True,
    resume: bool = False,
) -> Path:
    """Record a session in the folder ``out``: ``session.db``, video, key frames, ``frames.csv`` and ``session.json``.

    Args:
        source: an open source or the virtual rig.
        config: models, sheets, target and further settings.
        out: the session folder, which must not contain a session yet, except to resume it.
        viewers: show the session and pass on the user's commands.
        on_frame: called with each analysis and its annotated picture, (H, W, 3) RGB uint8; return False to end the session.
        resume: continue the session in ``out`` with the steps of its plan that are open.

    Returns:
        ``out``.

    Raises:
        InputError: if ``out`` already contains a session; to resume it, if it cannot be resumed, or with other settings.
        PhyspatchError: if the source fails or the disk is full; everything recorded until then is kept and readable. A new
            session that recorded nothing leaves no files.
    """
    with claimed(out):
        earlier = _earlier(out, resume)
        record = _describe(config).changed(scenes=_scenes(source), files=_files(source))
        if resume:
            earlier.require_same(record, out)
            same_files = not source.live and record.source is not None and record.source == earlier.record.source
            earlier = replace(earlier, same_files=same_files)
            if same_files and isinstance(source, FolderSource):
                source = source.behind(earlier.record.files)
            record, source = earlier.continued(_files(source)), ContinuedSource(source, earlier)
        session = _Session(source, config, viewers, on_frame, earlier)
        try:
            _record(session, record, source.fps, out, earlier)
        except PhyspatchError:
            if earlier.is_new and not session.status.frames:  # such as a region outside the frame, to be given again
                for name in (SESSION_DATABASE, SESSION_FILE, "frames.csv"):
                    (out / name).unlink(missing_ok=True)
            raise
    return out


def _earlier(out: Path, resume: bool) -> Earlier:
    if resume:
        return Earlier.read(out)
    if (out / SESSION_DATABASE).exists():
        raise refused_folder(out)
    return Earlier()


def _record(session: "_Session", record: SessionRecord, fps: float, out: Path, earlier: Earlier) -> None:
    """Run the session, and finish its files however it ends."""
    status = "ended"
    with ExitStack() as files:
        store = files.enter_context(SessionStore(out / SESSION_DATABASE, resume=not earlier.is_new))
        recorder = files.enter_context(Recorder(out, fps, session.config.keep, earlier.part, earlier.begins_s))
        try:
            record.changed(status="recording").save(out / SESSION_FILE)
            if not session.run(store, recorder):
                status = "stopped by the person"
        except Terminated:
            status = "interrupted"
            raise
        except KeyboardInterrupt:
            status = "interrupted"
        except BaseException:
            status = "failed"
            raise
        finally:
            failed = status == "failed"  # what then goes wrong with the files follows from what was reported already
            with finishing():
                with suppress(*(PhyspatchError, OSError) if failed else ()):
                    store.add([], session.events())
                with suppress(*(OSError,) if failed else ()):
                    record.changed(status=status, **session.account()).save(out / SESSION_FILE)
                with suppress(*(OSError,) if failed else ()):
                    export_csv(out)
                files.__exit__(*sys.exc_info())  # the video's last pictures belong to it


class _Session:
    """The state of a running session."""

    def __init__(
        self,
        source: Source,
        config: SessionConfig,
        viewers: Sequence[Viewer],
        on_frame: OnFrame,
        earlier: Earlier,
    ) -> None:
        self._source, self.config, self._viewers, self._on_frame = source, config, viewers, on_frame
        self._earlier = earlier
        self._director = Director(config.protocol, earlier.done, earlier.skipped) if config.protocol else None
        self._labeller = FrameLabeller(self._director, config.condition, config.light, earlier.next_clip)
        target = None if config.target is None else str(config.target["name"])
        self.status = SessionStatus(
            Tally(target, config.protocol, _scenes(source)),
            PoseMap(self._director.grid if self._director else EVERYWHERE),
            target,
            str(config.region),
            self._director,
            light=config.light,
        )
        self._events: list[Event] = []
        self._stopped = False
        self._finished: deque[float] = deque(maxlen=_FPS_WINDOW)
        self._paused_frames = 0
        self._gaps: list[float] = []
        self._unreadable = 0
        self._lost_at: float | None = None
        self._captured: float | None = None  # when a live source took the last frame, by time.monotonic
        self._delays = (0, 0.0, 0.0)  # number, sum, longest
        self._time_s = earlier.begins_s
        self._shape: tuple[int, ...] | None = None
        self._begun = time.monotonic()
        self._pipeline: Pipeline | None = None
        self._show_earlier()

    def _show_earlier(self) -> None:
        """Count what was filmed before, for viewers."""
        earlier = self._earlier
        if earlier.is_new:
            return
        self.status.tally.add(earlier.rows)
        for row in earlier.rows:
            if row.model == self.config.classifier.name:  # as while filming: one row a frame
                self._map_pose(row)
        self._note(CONTINUED, f"after frame {earlier.last_frame}, on {time.strftime('%Y-%m-%d at %H:%M')}")

    def run(self, store: SessionStore, recorder: Recorder) -> bool:
        """Run until the source ends (returns True) or the user stops the session (returns False)."""
        config, status = self.config, self.status
        self._announce_step()
        with (
            open_analyser(
                config.classifier,
                config.detector,
                config.layouts,
                config.lens,
                config.target,
                with_cam=config.grad_cam,
                rule=config.region,
                label=config.label,
                further=config.defended,
                goal=config.goal,
                scope=config.scope,
            ) as analyser,
            Pipeline(
                self._source,
                analyser,
                overlap=config.classifier.device.type != "cpu",
                every=config.every,
                max_fps=config.max_fps,
                max_frames=config.max_frames,
                after=self._source.analysed if isinstance(self._source, ContinuedSource) else None,
            ) as pipeline,
        ):
            self._pipeline = pipeline
            for analysis in pipeline.analyses(_TICK_S):
                status.trouble = self._source.status()
                if analysis is not None:
                    self._take(analysis, store, recorder)
                elif events := self.events():
                    store.add([], events)
                for viewer in self._viewers:
                    for command in viewer.poll(status):
                        self._obey(command, analyser)
                if self._stopped:
                    return False
        if not status.frames and not self._paused_frames and self._earlier.is_new:
            raise PhyspatchError("the source ended before its first frame")
        return True

    def _take(self, analysis: Analysis, store: SessionStore, recorder: Recorder) -> None:
        """Label, store, draw, record and show one frame."""
        status, director = self.status, self._director
        frame = analysis.frame
        if self._shape is None:
            self.config.region.check(frame.image.shape)
        self._time_s, self._shape, self._captured = frame.time_s, frame.image.shape, frame.captured
        self._finished.append(time.monotonic())
        lasted = self._finished[-1] - self._finished[0]
        status.fps = (len(self._finished) - 1) / lasted if lasted > 0 else 0.0
        if status.recording:
            before = director.step if director else None
            analysis = self._labeller.label(analysis)
            if director is not None and director.step is not before:
                self._note("done", str(before and before.number))
                self._announce_step()
            store.add(analysis.rows, self.events())  # before it is counted: what an interruption leaves agrees
            status.frames += 1
            status.tally.add(analysis.rows)
            self._map_pose(analysis.rows[0])
        else:
            self._paused_frames += 1
            if events := self.events():  # a pause may be long
                store.add([], events)
        self._account_delay(analysis)
        condition = analysis.rows[0].condition
        status.hint = director.hint(condition, analysis.pose) if director else ""
        status.dropped = self._source.dropped
        picture = annotate(analysis, status)
        if status.recording:
            recorder.add(analysis, picture)
        if not self._on_frame(analysis, picture):
            self._stopped = True
        for viewer in self._viewers:
            viewer.show(analysis, picture, status)

    def _map_pose(self, row: FrameRow) -> None:
        """Count a row in the map of poses, if the tally counts it."""
        if is_counted(row, self.config.protocol):
            self.status.poses.add(row)

    def _obey(self, command: Command, analyser: Analyser) -> None:
        """Execute a command of the user, and record it as an event."""
        status, director = self.status, self._director
        match command.do:
            case "stop":
                self._stopped = True
            case "pause" | "resume":
                status.recording = command.do == "resume"
                self._labeller.clips.cut()
            case "region":
                rule = RegionRule.parse(command.value)
                try:
                    if self._shape is not None:
                        rule.check(self._shape)
                except InputError as error:
                    return self._note("refused", str(error))
                analyser.rule, status.region = rule, str(rule)
            case "condition":
                self._labeller.condition = command.value
            case "light":
                self._labeller.light = status.light = command.value or None
                self._labeller.clips.cut()
            case "skip" | "back" | "confirm" if director is not None:
                {"skip": director.skip, "back": director.back, "confirm": director.confirm}[command.do]()
                status.light = director.light
        self._note(command.do, command.value)
        if director is not None and command.do in ("skip", "back"):
            self._announce_step()

    def _announce_step(self) -> None:
        if self._director is not None and self._director.step is not None:
            self._note("step", f"{self._director.step.number}: {self._director.step}")

    def _note(self, kind: str, words: str = "") -> None:
        self._events.append(Event(round(self._time_s, 3), kind, words))

    def events(self) -> list[Event]:
        """Return the events since the last call, those of the source first."""
        for event in (of_source := self._source.take_events()):
            if event.kind == "lost":
                self._lost_at = event.time_s
            elif event.kind == "back" and self._lost_at is not None:
                self._gaps.append(event.time_s - self._lost_at)
                self._lost_at = None
            self._unreadable += event.kind == UNREADABLE
        own, self._events = self._events, []
        return of_source + own

    def _account_delay(self, analysis: Analysis) -> None:
        if analysis.frame.captured is not None:
            self.status.delay_s = delay = time.monotonic() - analysis.frame.captured
            n, total, longest = self._delays
            self._delays = (n + 1, total + delay, max(longest, delay))

    def account(self) -> dict[str, Any]:
        """Return the frame counts and times for ``session.json``.

        ``dropped`` frames arrived while the models were busy; ``passed_over`` frames were skipped by ``every`` and
        ``max_fps``, and ``unreadable`` ones were damaged. One or two frames may have been in progress when the session ended.
        """
        n, total, longest = self._delays
        director = self._director
        gaps = list(self._gaps)
        if self._lost_at is not None:  # it never came back
            gaps.append(0.0 if self._captured is None else time.monotonic() - self._captured)
        progress = {"steps_done": sorted(director.done), "steps_skipped": sorted(director.skipped)} if director else {}
        account = {
            "captured": self._source.captured,
            "frames": self.status.frames,
            "frames_while_paused": self._paused_frames,
            "dropped": self._source.dropped,
            "passed_over": self._pipeline.passed_over if self._pipeline else 0,
            "seconds": round(time.monotonic() - self._begun, 2),
            "unreadable": self._unreadable,
            "gaps": len(gaps),
            "gap_seconds": round(sum(gaps), 2),
            "delay_s": {"mean": round(total / n, 4), "longest": round(longest, 4)} if n else None,
        }
        return (account if self._earlier.is_new else self._earlier.added_to(account)) | progress


def _describe(config: SessionConfig) -> SessionRecord:
    models = [m for m in (config.classifier, *config.defended, config.detector) if m is not None]
    return SessionRecord(
        physpatch_session=2,
        begun=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        target=None if config.target is None else str(config.target["name"]),
        label=config.label,
        light=config.light,
        region=str(config.region),
        every=config.every,
        max_fps=config.max_fps,
        keep=config.keep.which if config.keep.which != "every" else config.keep.every,
        models=[_describe_model(model, defended=model in config.defended) for model in models],
        device=device_name(config.classifier.device),
        sheets=[
            SessionSheet(kind=s.kind, id=s.patch_id, size_mm=s.patch.width_mm, scale=s.scale) for s in config.layouts
        ],
        intrinsics=config.intrinsics,
        intrinsics_assumed=config.intrinsics is None or config.intrinsics.assumed,
        hfov_deg=config.hfov_deg,
        undistorted=config.intrinsics is not None and config.intrinsics.distorts,
        versions=versions(),
        plan=PlanRecord.of(config.protocol),
    ).changed(**(config.notes or {}))


def _files(source: Source) -> list[str]:
    return source.files if isinstance(source, FolderSource) else []


def _scenes(source: Source) -> list[int]:
    return list(source.scenes) if isinstance(source, StagedScenes) else []


def _describe_model(model: Victim, *, defended: bool) -> SessionModel:
    described = SessionModel(
        name=model.name,
        task=model.task,
        source=model.weights.source,
        sha256=model.weights.sha256,
        loaded_as=model.loaded_as,
        loaded_with=dict(model.loaded_with),
        threshold=model.threshold or None,
    )
    return described.changed(defence=model.name.rpartition("+")[2]) if defended else described


def new_session_folder() -> Path:
    """Return an unused folder name under ``sessions/``, from the current time."""
    stem = time.strftime("%Y%m%d-%H%M%S")
    names = chain([stem], (f"{stem}-{n}" for n in count(2)))
    return next(SESSIONS_FOLDER / name for name in names if not (SESSIONS_FOLDER / name).exists())
