"""A session: frames through the models into a folder, until the source ends or the person does."""

import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import DEFAULT_HFOV_DEG, Intrinsics
from calibration.errors import InputError, PhyspatchError
from calibration.files import write_json
from calibration.sheet import SheetLayout
from captures.analyse import NO_SHEET, Analysis, open_analyser
from captures.frame import Frame
from captures.overlay import annotate
from captures.sources import Source
from captures.store import SessionStore, export_csv
from captures.virtual import VirtualRig
from physpatch.environment import device_name, versions
from physpatch.pictures import open_video
from physpatch.victims.base import Victim
from physpatch.victims.ultralytics_detectors import YoloVictim

SESSIONS_FOLDER = Path("sessions")
_FPS_WINDOW = 15
_RESERVE_BYTES = 20_000_000
_LONGEST_HOLD_S = 5.0
_KEPT_EVERY_S = 1.0  # a key frame a second, and the first of each clip and condition

OnFrame = Callable[[Analysis, NDArray[np.uint8]], bool]


@dataclass(frozen=True, eq=False)
class SessionPlan:
    """What a session looks with and for.

    Attributes:
        layouts: the printed sheets that may show; empty when none was printed.
        intrinsics: of the camera; None assumes ``hfov_deg``, or a typical field of view.
        target: the class aimed at, ``{"index": int, "name": str}`` as in a patch file, or None.
        label: the class truly before the camera, where the person says so.
        condition: which sheet is shown in frames where no markers are seen.
        notes: free JSON for ``session.json``, such as the run and the PDF.
    """

    classifier: Victim
    detector: YoloVictim | None = None
    layouts: Sequence[SheetLayout] = ()
    intrinsics: Intrinsics | None = None
    hfov_deg: float | None = None
    target: dict[str, Any] | None = None
    label: str | None = None
    condition: str | None = None
    grad_cam: bool = True
    max_frames: int | None = None
    notes: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.intrinsics is None:
            self.lens((1, 1))  # a field of view that cannot be is refused before anything is opened

    def lens(self, shape: tuple[int, ...]) -> Intrinsics:
        """The intrinsics for frames of (height, width, ...): the given ones at that size, else from the field of view."""
        height, width = shape[:2]
        if self.intrinsics is None:
            return Intrinsics.from_hfov(width, height, self.hfov_deg or DEFAULT_HFOV_DEG)
        return self.intrinsics.resized(width, height)


def run_session(
    source: Source | VirtualRig, plan: SessionPlan, out: Path, *, on_frame: OnFrame = lambda *_: True
) -> Path:
    """Record a session into the folder ``out``: ``session.db`` as it goes, video, key frames, ``frames.csv``, ``session.json``.

    Args:
        source: an opened source or the virtual rig.
        plan: models, sheets and target.
        out: the session folder; it must not hold a session yet.
        on_frame: called with each analysis and its annotated (H, W, 3) RGB picture; returning False ends the session.

    Returns:
        ``out``.

    Raises:
        InputError: ``out`` holds a session already.
        PhyspatchError: the source failed or the disk is full; what was captured is kept and readable.
    """
    if (out / "session.db").exists():
        raise InputError(f"{out} holds a session already; give another --out")
    record = _describe(plan)
    frames: Iterator[Frame] = islice(iter(source), plan.max_frames)
    status, done, started = "ended", 0, time.monotonic()
    with SessionStore(out / "session.db") as store, _Recorder(out, source.fps) as recorder:
        write_json(out / "session.json", record | {"status": "recording"})
        try:
            with closing(_analysed(frames, plan)) as analysed:
                for analysis, picture in analysed:
                    store.add(analysis.rows)
                    done += 1
                    recorder.add(analysis, picture)
                    if not on_frame(analysis, picture):
                        status = "stopped by the person"
                        break
        except KeyboardInterrupt:
            status = "interrupted"
        except BaseException:
            status = "failed"
            raise
        finally:
            export_csv(out)
            seconds = round(time.monotonic() - started, 2)
            ended = {"status": status, "frames": done, "dropped": getattr(source, "dropped", 0), "seconds": seconds}
            write_json(out / "session.json", record | ended)
    return out


def _analysed(frames: Iterator[Frame], plan: SessionPlan) -> Generator[tuple[Analysis, NDArray[np.uint8]], None, None]:
    """Analysis and annotated picture of each frame; closing it takes the hooks off the classifier."""
    first = next(frames, None)
    if first is None:
        raise PhyspatchError("the source ended before its first frame")
    finished: deque[float] = deque(maxlen=_FPS_WINDOW)
    with open_analyser(
        plan.classifier,
        plan.detector,
        plan.layouts,
        plan.lens,
        plan.target,
        with_cam=plan.grad_cam,
        fallback=plan.condition or NO_SHEET,
    ) as analyser:
        for index, frame in enumerate(chain([first], frames), start=1):
            analysis = analyser.analyse(index, replace(frame, label=plan.label or frame.label))
            finished.append(time.monotonic())
            fps = (len(finished) - 1) / (finished[-1] - finished[0]) if len(finished) > 1 else 0.0
            yield analysis, annotate(analysis, fps)


class _Recorder:
    """Writes the annotated video and the key frames."""

    def __init__(self, out: Path, fps: float) -> None:
        self._out, self._fps = out, fps
        self._writer: cv2.VideoWriter | None = None
        self._written = 0
        self._last_kept: tuple[str, int, float] | None = None

    def __enter__(self) -> "_Recorder":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.release()

    def add(self, analysis: Analysis, picture: NDArray[np.uint8]) -> None:
        """Record one frame.

        Raises:
            PhyspatchError: the disk is nearly full; enough is left to finish what was begun.
        """
        free = shutil.disk_usage(self._out).free
        if free < _RESERVE_BYTES:  # a video writer does not tell when a disk is full, it only spoils the file
            raise PhyspatchError(f"only {free / 1e6:.0f} MB left on the disk of {self._out}; what was captured is kept")
        height, width = picture.shape[:2]
        if self._writer is None:
            self._size = (width // 2 * 2, height // 2 * 2)
            self._writer = open_video(self._out / "video.mp4", self._fps, self._size)
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        fitting = bgr if (width, height) == self._size else cv2.resize(bgr, self._size)
        row = analysis.rows[0]
        # A live source is analysed as fast as it goes: a frame is repeated until the next one's time is due.
        due = min(round(row.time_s * self._fps) + 1 - self._written, round(_LONGEST_HOLD_S * self._fps))
        for _ in range(max(1, due)):
            self._writer.write(fitting)
        self._written = max(self._written + 1, round(row.time_s * self._fps) + 1)
        last = self._last_kept
        if last is None or (row.condition, row.clip) != last[:2] or row.time_s - last[2] >= _KEPT_EVERY_S:
            self._last_kept = (row.condition, row.clip, row.time_s)
            folder = self._out / "frames"
            folder.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{row.frame:06d}-{row.condition}.jpg"), bgr)


def _describe(plan: SessionPlan) -> dict[str, Any]:
    models = [m for m in (plan.classifier, plan.detector) if m is not None]
    return {
        "physpatch_session": 1,
        "begun": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "target": plan.target and plan.target["name"],
        "label": plan.label,
        "models": [
            {"name": m.name, "task": m.task, "source": m.weights.source, "sha256": m.weights.sha256} for m in models
        ],
        "device": device_name(plan.classifier.device),
        "sheets": [{"kind": s.kind, "id": s.patch_id, "size_mm": s.patch.width_mm} for s in plan.layouts],
        "intrinsics_assumed": plan.intrinsics is None or plan.intrinsics.assumed,
        "versions": versions(),
    } | (plan.notes or {})


def new_session_folder() -> Path:
    """A name for a fresh folder under ``sessions/``, by the time."""
    stem = time.strftime("%Y%m%d-%H%M%S")
    names = chain([stem], (f"{stem}-{n}" for n in count(2)))
    return next(SESSIONS_FOLDER / name for name in names if not (SESSIONS_FOLDER / name).exists())
