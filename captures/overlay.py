"""Drawing on a frame: heat, patch outline, boxes, labels, frames per second."""

import cv2
import numpy as np
from numpy.typing import NDArray

from captures.analyse import Analysis, central_square
from physpatch.pictures import heat_overlay

_WHITE = (255, 255, 255)
_ORANGE, _BLUE, _YELLOW = (213, 94, 0), (0, 114, 178), (240, 228, 66)  # Okabe and Ito's, RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE_PX = 22


def annotate(analysis: Analysis, fps: float) -> NDArray[np.uint8]:
    """The frame with everything drawn on it, (H, W, 3) RGB uint8; the analysed frame itself is left alone."""
    canvas = analysis.frame.image.copy()
    if analysis.heat is not None:
        left, top, side = central_square(canvas.shape[:2])
        square = canvas[top : top + side, left : left + side]
        canvas[top : top + side, left : left + side] = heat_overlay(square, analysis.heat)
    if analysis.pose is not None:
        outline = analysis.pose.patch_corners_px.round().astype(np.int32)
        cv2.polylines(canvas, [outline], isClosed=True, color=_YELLOW, thickness=2, lineType=cv2.LINE_AA)
    for name, box in analysis.boxes:
        x1, y1, x2, y2 = (round(edge) for edge in box.xyxy)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), _BLUE, 2)
        _label(canvas, f"{name} {box.score:.2f}", (x1, max(y1, _LINE_PX)), _BLUE)
    heads_up(canvas, _lines(analysis, fps))
    return canvas


def _lines(analysis: Analysis, fps: float) -> list[tuple[str, tuple[int, int, int]]]:
    """What is written at the top, each line with its colour."""
    row = analysis.rows[0]
    sheet = f"sheet: {row.condition}"
    if analysis.pose is not None:
        yaw = "?" if analysis.pose.yaw_deg is None else f"{analysis.pose.yaw_deg:.0f}"
        sheet += f"  {analysis.pose.distance_m:.2f} m  yaw {yaw} deg  {analysis.pose.px_per_cell:.1f} px/cell"
    lines = [(f"{row.model}: {row.top1} {100 * row.top1_score:.0f} %", _ORANGE if row.success else _WHITE)]
    if analysis.target is not None and row.target_score is not None:
        lines.append((f"target {analysis.target}: {100 * row.target_score:.1f} %", _ORANGE if row.success else _WHITE))
    if analysis.foreign is not None:
        sheet = f"this sheet shows patch {analysis.foreign.patch_id}, which is not this session's"
    lines.append((sheet, _YELLOW if analysis.foreign else _WHITE))
    return [*lines, (f"{fps:.1f} frames/s", _WHITE)] if fps else lines  # none is known after one frame


def heads_up(canvas: NDArray[np.uint8], lines: list[tuple[str, tuple[int, int, int]]]) -> None:
    """Write lines, each in its colour, over a darkened band at the top of ``canvas`` (H, W, 3) RGB uint8."""
    band = canvas[: _LINE_PX * len(lines) + 8]
    band[:] = (band * 0.45).astype(np.uint8)
    for number, (words, color) in enumerate(lines, start=1):
        cv2.putText(canvas, _ascii(words), (8, _LINE_PX * number - 4), _FONT, 0.55, color, 1, cv2.LINE_AA)


def _label(canvas: NDArray[np.uint8], words: str, corner: tuple[int, int], color: tuple[int, int, int]) -> None:
    (width, height), _ = cv2.getTextSize(_ascii(words), _FONT, 0.5, 1)
    x, y = corner
    cv2.rectangle(canvas, (x, y - height - 6), (x + width + 6, y), color, -1)
    cv2.putText(canvas, _ascii(words), (x + 3, y - 4), _FONT, 0.5, _WHITE, 1, cv2.LINE_AA)


def _ascii(words: str) -> str:
    """OpenCV's stroke font knows no other letters."""
    return words.encode("ascii", "replace").decode()
