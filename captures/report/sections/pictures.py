"""The frames of a session, as a film to move along, and its sheet."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.pictures import read_picture
from calibration.common.success import MEASURES
from calibration.sheet.pdf_reader import rasterise
from captures.report.blocks import Block, Film, Heading, Picture, Shot
from captures.report.sections.base import Material, ReportSection
from captures.report.sections.places import mapped_measures
from captures.report.wording import SHEET_DPI, measures_of, packed
from captures.results.recorded_session import RecordedSession
from captures.results.success import boxes_of, frame_success
from captures.storage import FrameRow
from physpatch.stats.intervals import percent

_MOST_SHOTS = 60
_MOST_BYTES = 1_300_000  # of all shots, which take a third more in the page
_SHOT_QUALITY = 70
_FRAME_WIDTH_PX = 480
_KEY_FRAME = re.compile(r"([0-9]+)-(.+)\.jpg")  # number and kind of sheet
_MOST_BOXES = 4


class Pictures(ReportSection):
    """The frames, as a film, and the sheet."""

    name: ClassVar[str] = "pictures"
    summary: ClassVar[str] = "the frames, as a film, and the sheet"
    heading: ClassVar[str] = "Frame by frame"
    rank: ClassVar[int] = 31
    level: ClassVar[int] = 2

    def blocks(self, material: Material) -> Iterator[Block]:
        session = material.session
        shots = _thinned(list(_shots(session)))
        if shots:
            measure = _measure(session)
            marked = f" A thick orange line marks those in which {MEASURES[measure]}." if measure else ""
            tally = session.tally
            mapped = any(tally.by_pose(model, m) for model in tally.models for m in mapped_measures(tally, model))
            only = " A pose in the maps above shows its own frames only." if mapped else ""
            yield Film(shots, f"{len(shots)} key frames, spread over sheets and poses.{only}{marked}")
        if session.sheet is not None:
            yield Heading("The sheet", 2)
            yield Picture(packed(rasterise(session.sheet, SHEET_DPI), ".png"), "the sheet that was shown", 0.35)


def key_frames(session: Path) -> dict[tuple[int, str], Path]:
    """List a session's key frames in order, by number and kind of sheet; other files are passed over."""
    named = ((_KEY_FRAME.fullmatch(file.name), file) for file in sorted((session / "frames").glob("*.jpg")))
    return {(int(name[1]), name[2]): file for name, file in named if name is not None}


def read_key_frame(file: Path) -> NDArray[np.uint8] | None:
    """Read a key frame at the width that a report shows, (H, W, 3) RGB uint8; None if it is not whole."""
    try:
        picture = read_picture(file)
    except InputError:  # it was being written when the session was killed
        return None
    return _small(picture)


def _small(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height = round(picture.shape[0] * _FRAME_WIDTH_PX / picture.shape[1])
    return np.asarray(cv2.resize(picture, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)


def _shots(session: RecordedSession) -> Iterator[Shot]:
    """Yield key frames of the whole session in order, as many of each sheet and pose as fit."""
    rows: dict[int, list[FrameRow]] = defaultdict(list)
    for row in session.rows:
        rows[row.frame].append(row)
    alike: dict[tuple[str, tuple[int, int] | None], list[int]] = defaultdict(list)
    frames = key_frames(session.folder)
    for number, condition in frames:
        if number in rows:
            alike[condition, _cell(session, rows[number][0])].append(number)
    per_group = max(1, _MOST_SHOTS // max(1, len(alike)))
    chosen = {
        number: (condition, cell)
        for (condition, cell), numbers in alike.items()
        for number in _spread(numbers, per_group)
    }
    measure = _measure(session)
    for number in _spread(sorted(chosen), _MOST_SHOTS):
        condition, cell = chosen[number]
        annotated, plain = read_key_frame(frames[number, condition]), session.seen(rows[number][0])
        if annotated is not None:
            first = rows[number][0]
            yield Shot(
                packed(annotated, ".jpg", _SHOT_QUALITY),
                None if plain is None else packed(_small(plain), ".jpg", _SHOT_QUALITY),
                f"frame {number}: {condition}, clip {first.clip}, {first.time_s:.1f} s",
                list(_facts(rows[number], session.target)),
                condition,
                cell,
                frame_success(first, session.target).get(measure),
            )


def _spread(numbers: Sequence[int], most: int) -> list[int]:
    """Choose at most so many of the numbers, from the first to the last."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[i] for i in np.linspace(0, len(numbers) - 1, most).round().astype(int)]


def _thinned(shots: Sequence[Shot]) -> list[Shot]:
    """Choose as many shots, from the first to the last, as the page may hold."""
    total = sum(len(shot.annotated) + len(shot.plain or b"") for shot in shots)
    most = len(shots) if total <= _MOST_BYTES else max(1, len(shots) * _MOST_BYTES // total)
    return [shots[i] for i in _spread(range(len(shots)), most)]


def _measure(session: RecordedSession) -> str:
    """Return the first outcome of the first model, which the film marks; empty without one."""
    tally = session.tally
    return next((measure for model in tally.models[:1] for measure in measures_of(tally, model)), "")


def _cell(session: RecordedSession, row: FrameRow) -> tuple[int, int] | None:
    return session.tally.grid.cell(row.distance_m, row.yaw_deg)


def _facts(rows: Sequence[FrameRow], target: str | None) -> Iterator[tuple[str, str]]:
    """Yield the answer of each model, and where the sheet was."""
    for row in rows:
        yield row.model, _answer(row, target)
    first = rows[0]
    if first.distance_m is not None:
        turns = {"yaw": first.yaw_deg, "pitch": first.pitch_deg, "roll": first.roll_deg}
        angles = [f"{name} {degrees:.0f}°" for name, degrees in turns.items() if degrees is not None]
        yield "pose", ", ".join([f"{first.distance_m:.2f} m", *angles])
    if first.px_per_cell is not None:
        yield "size", f"{first.px_per_cell:.1f} pixels per cell"
    heat = next((row.heat_in_patch for row in rows if row.heat_in_patch is not None), None)
    if heat is not None:
        yield "heat in the patch", percent(heat)
    if first.light:
        yield "light", first.light


def _answer(row: FrameRow, target: str | None) -> str:
    if row.boxes is not None:
        boxes = sorted(boxes_of(row), key=lambda box: -box.score)[:_MOST_BOXES]
        return ", ".join(f"{box.label} {percent(box.score)}" for box in boxes) or "nothing detected"
    words = f"{row.top1} {percent(row.top1_score)}"
    if target and row.target_score is not None and row.top1 != target:
        words += f"; {target} {percent(row.target_score)}"
    return words
