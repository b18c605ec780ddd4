"""Read a session back from its folder: rows, record, sheets and original frames."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import DEFAULT_HFOV_DEG, Intrinsics
from calibration.camera.sheet_pose import SheetPose, find_sheet, make_detector
from calibration.common.errors import InputError
from calibration.common.pictures import open_picture, read_picture
from calibration.common.success import DETECTION_THRESHOLD, Edges
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts
from captures.inference.region import CropRegion
from captures.results.aggregation import CONTROL, Tally, Unit, tally_of
from captures.results.sequences import ClipSequence, sequences_of
from captures.results.session_record import SESSION_FILE, SessionRecord
from captures.results.success import boxes_of, middle_place, place_of
from captures.storage import (
    LOSSY_SUFFIX,
    RAW_FOLDER,
    SESSION_DATABASE,
    WHOLE_SUFFIX,
    FrameRow,
    read_exported_rows,
    read_rows,
)
from physpatch.records.run_paths import sheet_of
from physpatch.records.run_record import RUN_FILE

Kind = Literal["run", "session"]


def kind_of(folder: Path) -> Kind | None:
    """Tell a run from a session; None for neither. A session that has lost its database has its record and exported rows."""
    if (folder / SESSION_DATABASE).is_file() or all((folder / name).is_file() for name in (SESSION_FILE, "frames.csv")):
        return "session"
    return "run" if (folder / RUN_FILE).is_file() else None


def require_kind(folder: Path) -> Kind:
    """Tell a run from a session.

    Raises:
        InputError: the folder is neither.
    """
    kind = kind_of(folder)
    if kind is None:
        raise InputError(f"{folder} is neither a run ({RUN_FILE}) nor a session ({SESSION_DATABASE})")
    return kind


@dataclass(frozen=True, eq=False)
class Shown:
    """An original frame, as the classifier saw it, with its sheet located again."""

    row: FrameRow
    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    pose: SheetPose
    region: CropRegion


@dataclass(frozen=True, eq=False)
class RecordedSession:
    """A session on disk.

    Attributes:
        folder: of the session.
        record: content of ``session.json``; empty if the file is missing.
        rows: all rows, in order of frames.
    """

    folder: Path
    record: SessionRecord
    rows: Sequence[FrameRow]

    @classmethod
    def open(cls, folder: Path) -> "RecordedSession":
        """Open the session in ``folder``.

        Raises:
            InputError: if there is no session, or it is damaged.
        """
        rows = read_rows(folder)
        return cls(folder, SessionRecord.of(folder), rows)

    @classmethod
    def salvaged(cls, folder: Path) -> "tuple[RecordedSession, list[str]]":
        """Open what is whole of the session in ``folder``: rows also from ``frames.csv``, and the valid part of its record.

        Where the record has lost its sheet, that in the folder or beside it takes its place.

        Returns:
            The session, without its sheet if that is damaged, and what is not whole, in words.

        Raises:
            InputError: if there is no session, it is of a newer version, or all its rows are lost.
        """
        troubles = []
        try:
            rows = read_rows(folder)
        except InputError as error:
            rows = read_exported_rows(folder)
            if not rows:
                raise
            troubles.append(f"{error}; this uses frames.csv instead")
        path = folder / SESSION_FILE
        record, trouble = SessionRecord.salvaged(path) if path.is_file() else (SessionRecord(), "")
        try:
            _ = record.protocol
        except InputError as error:
            record, trouble = record.changed(plan=None), trouble or f"{path}: {error}"
        if trouble and record.sheet is None:  # that of a rig lies in the folder, that of a demo beside it
            places = (sheet_of(folder), sheet_of(folder.parent))
            record = record.changed(sheet=next((os.path.relpath(at, folder) for at in places if at.is_file()), None))
        session = cls(folder, record, rows)
        try:
            _ = session.layouts
        except InputError as error:
            session = cls(folder, record.changed(sheet=None), rows)
            troubles.append(str(error))
        return session, [*troubles, *filter(None, [trouble])]

    @property
    def target(self) -> str | None:
        """Return the name of the target class; None without a target."""
        return self.record.target

    @property
    def run(self) -> Path | None:
        """Return the folder of the run; None if it no longer exists."""
        path = self.folder / self.record.run if self.record.run else None
        return path if path is not None and (path / RUN_FILE).is_file() else None

    @property
    def sheet(self) -> Path | None:
        """Return the printed PDF; None if it no longer exists."""
        path = self.folder / self.record.sheet if self.record.sheet else None
        return path if path is not None and path.is_file() else None

    @cached_property
    def tally(self) -> Tally:
        """Return the counts of all rows."""
        return tally_of(self.rows, self.target, self.record.protocol, self.record.scenes)

    @cached_property
    def sequences(self) -> list[ClipSequence]:
        """Return the frames of each clip and sheet in order of time, for each model and measure."""
        return sequences_of(self.rows, self.target, self.record.protocol)

    @cached_property
    def _places(self) -> dict[tuple[str, Unit], Edges | None]:
        """Map model and unit to where a detector finds the object with the grey control."""
        boxes: dict[tuple[str, Unit], list[Edges]] = defaultdict(list)
        for row in self.rows:
            unit = self.tally.unit(row)
            if row.condition == CONTROL and row.label is not None and unit is not None:
                boxes[row.model, unit] += [box.xyxy for box in boxes_of(row) if box.label == row.label][:1]
        return {key: middle_place(places) for key, places in boxes.items()}

    def object_place(self, row: FrameRow) -> Edges | None:
        """Return the box of the object in a detector's row: that of its sign, or where it is found with the grey control."""
        unit = self.tally.unit(row)
        return place_of(row) or (None if unit is None else self._places.get((row.model, unit)))

    @cached_property
    def layouts(self) -> tuple[SheetLayout, ...]:
        """Return the sheets of the session; empty if the PDF no longer exists."""
        return printed_layouts(self.sheet) if self.sheet else ()

    def threshold(self, model: str) -> float:
        """Return the lowest confidence at which a detector's boxes counted, and from which on they are recorded."""
        recorded = (entry.threshold for entry in self.record.models if entry.name == model)
        return next((least for least in recorded if least is not None), DETECTION_THRESHOLD)

    @cached_property
    def frame_size(self) -> tuple[int, int] | None:
        """Return width and height of the frames, of one that was kept; None if none was."""
        for file in chain((self.folder / RAW_FOLDER).glob(f"*{LOSSY_SUFFIX}"), (self.folder / "frames").glob("*.jpg")):
            try:
                return open_picture(file).size
            except InputError:  # it was being written when the session was killed
                continue
        return None

    @cached_property
    def _detector(self) -> cv2.aruco.ArucoDetector:
        return make_detector()

    def lens(self, shape: tuple[int, ...]) -> Intrinsics:
        """Return the session's intrinsics for frames of ``shape`` (height, width, ...)."""
        height, width = shape[:2]
        noted, hfov_deg = self.record.intrinsics, self.record.hfov_deg or DEFAULT_HFOV_DEG
        return noted.resized(width, height) if noted else Intrinsics.from_hfov(width, height, hfov_deg)

    def keeps(self, row: FrameRow) -> bool:
        """Return whether the original frame of a row was kept."""
        return self.kept(row) is not None

    def frame(self, row: FrameRow) -> NDArray[np.uint8] | None:
        """Load the original frame of a row, (H, W, 3) RGB uint8; return None if it was not kept or is damaged."""
        path = self.kept(row)
        try:
            return None if path is None else read_picture(path)
        except InputError:
            return None

    def seen(self, row: FrameRow) -> NDArray[np.uint8] | None:
        """Load the frame of a row as its model saw it: for a classifier without the lens's distortion, if it was removed."""
        frame = self.frame(row)
        return frame if frame is None or not self._straightened(row) else self.lens(frame.shape).undistorted(frame)

    def _straightened(self, row: FrameRow) -> bool:
        detects = any(model.task == "detect" for model in self.record.models if model.name == row.model)
        return self.record.undistorted and not detects

    def pose(self, seen: NDArray[np.uint8], row: FrameRow) -> SheetPose | None:
        """Find the pose of the sheet in what :meth:`seen` returns of a row; return None if there is none."""
        lens = self.lens(seen.shape)
        if self._straightened(row):
            lens = lens.straight
        return find_sheet(seen, self.layouts, lens, self._detector) if self.layouts else None

    def shown(self, model: str, condition: str, rows: Iterable[FrameRow] | None = None) -> Iterator[Shown]:
        """Yield the kept original frames of one model and sheet in which the sheet can be located.

        ``rows`` are those of the session to look at, in this order; None for all.
        """
        for row in self.rows if rows is None else rows:
            if row.model != model or row.condition != condition or row.distance_m is None:
                continue
            frame = self.seen(row)
            if frame is None:
                continue
            pose = self.pose(frame, row)
            if pose is None or pose.layout.kind != condition:
                continue
            height, width = frame.shape[:2]
            region = CropRegion(*row.region_px) if row.region_px else CropRegion(0, 0, width, height)
            yield Shown(row, frame, pose, region)

    def kept(self, row: FrameRow) -> Path | None:
        """Return the file of the original frame of a row; None if it was not kept."""
        paths = (self.folder / RAW_FOLDER / f"{row.frame:06d}{suffix}" for suffix in (WHOLE_SUFFIX, LOSSY_SUFFIX))
        return next((path for path in paths if path.is_file()), None)
