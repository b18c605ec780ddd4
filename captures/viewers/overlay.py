"""Annotate frames with heat, patch outline, boxes, labels and instructions."""

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from captures.viewers.controls import SessionStatus
from physpatch.evaluation.figures.pictures import heat_overlay

if TYPE_CHECKING:
    from captures.inference.analyser import Analysis
    from captures.protocol.plan import Director

_WHITE = (255, 255, 255)
_ORANGE, _BLUE, _YELLOW, _GREEN = (213, 94, 0), (0, 114, 178), (240, 228, 66), (0, 158, 115)  # Okabe and Ito's, RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DRAWN_FOR_PX = 640  # width of a frame for which the sizes below are; larger frames have all of it larger
_LINE_PX = 22
_LABEL_PX = 180  # about as wide as a label
_INSET = 4  # of the frame's width and height
_CELL_PX, _CELL_GAP_PX = 14, 3

Line = tuple[str, tuple[int, int, int]]


def annotate(analysis: "Analysis", status: SessionStatus) -> NDArray[np.uint8]:
    """Draw all annotations on a copy of the frame, (H, W, 3) RGB uint8, without the lens's distortion if it is known.

    So the square shows just what the classifier sees, and its heat lies where it belongs.
    """
    located = analysis.located
    canvas, region = located.seen.copy(), located.region
    if analysis.heat is not None:
        part = region.cut(canvas)
        part[:] = heat_overlay(part, analysis.heat)
    if (region.width, region.height) != (canvas.shape[1], canvas.shape[0]):
        corner = (region.left + region.width - 1, region.top + region.height - 1)
        cv2.rectangle(canvas, (region.left, region.top), corner, _WHITE, _px(canvas, 1))
    if located.corners_px is not None:
        outline = located.corners_px.round().astype(np.int32)
        cv2.polylines(canvas, [outline], isClosed=True, color=_YELLOW, thickness=_px(canvas, 2), lineType=cv2.LINE_AA)
    _boxes(canvas, analysis)
    if analysis.detector_heat is not None:
        _inset(canvas, analysis)
    heads_up(canvas, _lines(analysis, status))
    if status.director is not None:
        _guide(canvas, status, status.director)
    return canvas


def _boxes(canvas: NDArray[np.uint8], analysis: "Analysis") -> None:
    """Draw boxes by descending confidence; a label that would cover another is moved below it."""
    labelled: list[tuple[int, int]] = []
    line, wide = _px(canvas, _LINE_PX), _px(canvas, _LABEL_PX)
    for name, box in analysis.boxes:
        x1, y1, x2, y2 = (round(edge) for edge in _straight(box.xyxy, analysis.located.lens))
        cv2.rectangle(canvas, (x1, y1), (x2, y2), _BLUE, _px(canvas, 2))
        corner = (x1, max(y1, line))
        while any(abs(corner[0] - x) < wide and abs(corner[1] - y) < line for x, y in labelled):
            corner = (corner[0], corner[1] + line)
        labelled.append(corner)
        _label(canvas, f"{name} {box.score:.2f}", corner, _BLUE)


def _straight(xyxy: tuple[float, float, float, float], lens: Intrinsics) -> list[float]:
    """Return the edges of what a box in the frame covers in the undistorted frame."""
    left, top, right, bottom = xyxy
    middle, centre = (left + right) / 2, (top + bottom) / 2
    edges = [(x, y) for x in (left, middle, right) for y in (top, centre, bottom)]
    moved = lens.undistorted_px(np.array(edges, np.float32))
    return [*moved.min(axis=0), *moved.max(axis=0)]


def _inset(canvas: NDArray[np.uint8], analysis: "Analysis") -> None:
    """Draw a small copy of the frame with the detector's heat in the lower left corner."""
    assert analysis.detector_heat is not None
    height, width = (side // _INSET for side in canvas.shape[:2])
    small = cv2.resize(analysis.frame.image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    place = canvas[canvas.shape[0] - height :, :width]
    place[:] = heat_overlay(small, cv2.resize(analysis.detector_heat, (width, height)))
    cv2.rectangle(canvas, (0, canvas.shape[0] - height), (width - 1, canvas.shape[0] - 1), _BLUE, 1)
    _label(canvas, f"{analysis.rows[-1].model}: Grad-CAM", (0, canvas.shape[0] - height), _BLUE)


def _lines(analysis: "Analysis", status: SessionStatus) -> list[Line]:
    """List the lines of text at the top, with their colours."""
    row = analysis.rows[0]
    sheet = f"sheet: {row.condition}"
    if analysis.pose is not None:
        yaw = "?" if analysis.pose.yaw_deg is None else f"{analysis.pose.yaw_deg:.0f}"
        sheet += f"  {analysis.pose.distance_m:.2f} m  yaw {yaw} deg  {analysis.pose.px_per_cell:.1f} px/cell"
    lines: list[Line] = [(f"{row.model}: {row.top1} {100 * row.top1_score:.0f} %", _ORANGE if row.success else _WHITE)]
    if analysis.target is not None and row.target_score is not None:
        lines.append((f"target {analysis.target}: {100 * row.target_score:.1f} %", _ORANGE if row.success else _WHITE))
    foreign = analysis.located.foreign
    lines.append((foreign or sheet, _YELLOW if foreign else _WHITE))
    if not status.recording:
        lines.append(("paused: not recording", _YELLOW))
    elif status.fps:  # unknown after a single frame
        delay = f"  {1000 * status.delay_s:.0f} ms delay" if status.delay_s is not None else ""
        lines.append((f"{status.fps:.1f} frames/s{delay}", _WHITE))
    return lines


def _guide(canvas: NDArray[np.uint8], status: SessionStatus, director: "Director") -> None:
    """Draw the current step and instruction at the bottom, and the finished pose cells of its sheet at the right."""
    step = director.step
    ended = len(director.done) + len(director.skipped)
    words = "all steps are done: press q to end" if step is None else f"{ended + 1} of {len(director.steps)}: {step}"
    lines: list[Line] = [(words, _WHITE), (status.hint or f"hold still: {100 * director.held:.0f} %", _YELLOW)]
    heads_up(canvas, lines if step is not None else lines[:1], at_bottom=True)
    filled = director.filled()
    if step is None or step.condition not in filled:
        return
    rows, columns = len(director.grid.distances_m), len(director.grid.yaws_deg)
    cell = _px(canvas, _CELL_PX)
    pitch = cell + _px(canvas, _CELL_GAP_PX)
    left = canvas.shape[1] - columns * pitch - _px(canvas, 8)
    top = canvas.shape[0] - rows * pitch - _px(canvas, 2 * _LINE_PX + 20)
    current_cell = director.grid.cell(step.distance_m, step.yaw_deg)
    for (row, column), (done, total) in filled[step.condition].items():
        corner = (left + column * pitch, top + row * pitch)
        far = (corner[0] + cell, corner[1] + cell)
        share = done / total
        cv2.rectangle(canvas, corner, far, tuple(round(60 + share * (c - 60)) for c in _GREEN), -1)
        cv2.rectangle(canvas, corner, far, _YELLOW if (row, column) == current_cell else _WHITE, 1)


def heads_up(canvas: NDArray[np.uint8], lines: list[Line], *, at_bottom: bool = False) -> None:
    """Write lines of text on a darkened band at the top or bottom of ``canvas``, (H, W, 3) RGB uint8, in place.

    A line that is longer than the canvas is wide is written smaller.

    Args:
        canvas: to draw on.
        lines: texts with their colours.
        at_bottom: draw at the bottom rather than the top.
    """
    pitch, margin = _px(canvas, _LINE_PX), _px(canvas, 8)
    height = pitch * len(lines) + margin
    top = max(0, canvas.shape[0] - height) if at_bottom else 0
    band = canvas[top : top + height]
    cv2.convertScaleAbs(band, band, 0.45)
    weight = _px(canvas, 1)
    for number, (words, color) in enumerate(lines, start=1):
        text, place, size = _ascii(words), (margin, top + pitch * number - margin // 2), 0.55 * _scale(canvas)
        (width, _), _ = cv2.getTextSize(text, _FONT, size, weight)
        size *= min(1.0, (canvas.shape[1] - 2 * margin) / max(1, width))
        cv2.putText(canvas, text, place, _FONT, size, color, weight, cv2.LINE_AA)


def _scale(canvas: NDArray[np.uint8]) -> float:
    return max(1.0, canvas.shape[1] / _DRAWN_FOR_PX)


def _px(canvas: NDArray[np.uint8], length: int) -> int:
    """Scale a length for a frame of ordinary width to that of ``canvas``."""
    return round(length * _scale(canvas))


def _label(canvas: NDArray[np.uint8], words: str, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    size, weight, edge = 0.5 * _scale(canvas), _px(canvas, 1), _px(canvas, 3)
    (width, height), _ = cv2.getTextSize(_ascii(words), _FONT, size, weight)
    x, y = corner
    cv2.rectangle(canvas, (x, y - height - 2 * edge), (x + width + 2 * edge, y), color, -1)
    cv2.putText(canvas, _ascii(words), (x + edge, y - edge - 1), _FONT, size, _WHITE, weight, cv2.LINE_AA)


def _ascii(words: str) -> str:
    """Replace characters outside ASCII, which OpenCV's stroke font lacks."""
    return words.encode("ascii", "replace").decode()
