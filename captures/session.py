"""A session: frames through the models into a folder, until the source ends or the person does."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import DEFAULT_HFOV_DEG, Intrinsics
from calibration.errors import InputError
from calibration.files import write_json
from calibration.sheet import SheetLayout
from captures.analyse import Analysis, open_analyser
from captures.frame import Frame
from captures.overlay import annotate
from captures.sources import Source
from captures.store import SessionStore, export_csv
from captures.virtual import VirtualRig
from physpatch.plots import open_video
from physpatch.runs import device_name, versions
from physpatch.victims.base import Victim
from physpatch.victims.ultralytics_detectors import YoloVictim

SESSIONS_FOLDER = Path("sessions")
_FPS_WINDOW = 15
_LONGEST_HOLD_S = 5.0
_KEPT_EVERY_S = 1.0  # a key frame a second, and the first of each clip and condition

OnFrame = Callable[[Analysis, NDArray[np.uint8]], bool]


@dataclass(frozen=True, eq=False)
class SessionPlan:
    """What a session looks with and for.

    Attributes:
        layouts: the printed sheets that may show; empty when none was printed.
        intrinsics: of the camera; None assumes ``hfov_deg``, or a typical field of view.
        target: name of the class aimed at, or None.
        label: the class truly before the camera, where the person says so.
        condition: which sheet is shown, where the markers cannot tell.
        notes: free JSON for ``session.json``, such as the run and the PDF.
    """

    classifier: Victim
    detector: YoloVictim | None = None
    layouts: Sequence[SheetLayout] = ()
    intrinsics: Intrinsics | None = None
    hfov_deg: float | None = None
    target: str | None = None
    label: str | None = None
    condition: str | None = None
    grad_cam: bool = True
    max_frames: int | None = None
    notes: dict[str, Any] | None = None


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
    status, count, started = "ended", 0, time.monotonic()
    with SessionStore(out / "session.db") as store, _Recorder(out, source.fps) as recorder:
        write_json(out / "session.json", record | {"status": "recording"})
        try:
            with closing(_analysed(frames, plan)) as analysed:
                for analysis, picture in analysed:
                    store.add(analysis.rows)
                    count += 1
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
            write_json(out / "session.json", record | {"status": status, "frames": count, "seconds": seconds})
    return out


def _analysed(frames: Iterator[Frame], plan: SessionPlan) -> Generator[tuple[Analysis, NDArray[np.uint8]], None, None]:
    """Analysis and annotated picture of each frame; closing it takes the hooks off the classifier."""
    first = next(frames, None)
    if first is None:
        return
    height, width = first.image.shape[:2]
    intrinsics = plan.intrinsics or Intrinsics.from_hfov(width, height, plan.hfov_deg or DEFAULT_HFOV_DEG)
    finished: deque[float] = deque(maxlen=_FPS_WINDOW)
    with open_analyser(
        plan.classifier, plan.detector, plan.layouts, intrinsics, plan.target, with_cam=plan.grad_cam
    ) as analyser:
        for index, frame in enumerate(chain([first], frames), start=1):
            told = replace(frame, label=plan.label or frame.label, condition=plan.condition or frame.condition)
            analysis = analyser.analyse(index, told)
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
        "target": plan.target,
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
    """A fresh folder under ``sessions/``, named by the time."""
    stem = time.strftime("%Y%m%d-%H%M%S")
    folder, number = SESSIONS_FOLDER / stem, 2
    while folder.exists():
        folder, number = SESSIONS_FOLDER / f"{stem}-{number}", number + 1
    return folder
