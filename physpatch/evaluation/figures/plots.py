"""Plots of a run: the loss, panels of captioned pictures, the evolution of the patch."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from calibration.common.files import atomic_path
from physpatch.evaluation.figures.pictures import VideoFile

_VIDEO_SIDE_PX = 480
_VIDEO_FPS = 15
_HOLD_FRAMES = 15  # the finished patch stays on screen for a second
_DPI = 110
_TILE_PX, _GAP_PX = 236, 8  # side of a picture in a panel, and the space around it
_LINE_PX = 16  # of a caption
_MAGNIFIED = 3.0  # from here on single pixels are to be seen
GOOD, BAD, AIM = "#0072B2", "#D55E00", "#000000"  # from Okabe and Ito's palette for colour-blind readers


@dataclass(frozen=True)
class Tile:
    """One picture of a panel: (H, W, 3) RGB uint8, its caption, and whether the caption states a wrong answer."""

    picture: NDArray[np.uint8]
    caption: str
    wrong: bool = False


def save_loss_plot(path: Path, rows: Sequence[dict[str, Any]], trial_ends: Sequence[int] = ()) -> None:
    """Plot the loss and the share of fooled training images over the steps.

    Args:
        path: of the picture.
        rows: of ``metrics.csv``.
        trial_ends: the steps after which another start begins, or the best one goes on; a line marks each.
    """
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    loss_axis = figure.add_subplot()
    loss_axis.set(xlabel="step", ylabel="loss")
    success_axis = loss_axis.twinx()
    success_axis.set(ylabel="share of the batch fooled", ylim=(-0.02, 1.02))
    lines: list[Line2D] = []
    for after, until in itertools.pairwise((0, *trial_ends, math.inf)):
        part = [row for row in rows if after < row["step"] <= until]
        if not part:
            continue
        steps, losses = [row["step"] for row in part], [row["loss"] for row in part]
        loss_axis.plot(steps, losses, color=GOOD, alpha=0.3, linewidth=1)
        lines = [
            *loss_axis.plot(steps, _running_mean(losses), color=GOOD, label="loss (running mean)"),
            *success_axis.plot(
                steps,
                _running_mean([row["success"] for row in part]),
                color=BAD,
                linestyle="--",
                label="fooled, training batch",
            ),
        ]
        if after:
            loss_axis.axvline(after + 0.5, color="0.6", linewidth=0.8, linestyle=":")
    loss_axis.legend(
        handles=lines,
        loc="upper center",
        ncols=2,
        frameon=False,
        bbox_to_anchor=(0.5, 1.15),
    )
    save_figure(figure, path)


def save_panel(path: Path, rows: Sequence[Sequence[Tile]], *, headings: Sequence[str] = ()) -> None:
    """Draw a grid of captioned pictures, with ``headings`` above the columns."""
    if not rows:
        blank = np.full((64, 64, 3), 255, np.uint8)
        rows, headings = [[Tile(blank, "no photograph was recognised\nwith the grey control")]], ()
    columns = max(len(row) for row in rows)
    titles = [
        [_title(tile, headings, x if y == 0 else None) for x, tile in enumerate(row)] for y, row in enumerate(rows)
    ]
    above = [_GAP_PX + _LINE_PX * max(title.count("\n") + 1 for title in row) for row in titles]
    width, height = columns * (_TILE_PX + _GAP_PX) + _GAP_PX, sum(above) + (_TILE_PX + _GAP_PX) * len(rows)
    # One picture and loose text, because a set of axes for each tile takes longer than everything else in a short run.
    mosaic = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    top = 0
    for row, row_titles, space in zip(rows, titles, above, strict=True):
        top += space
        for x, (tile, title) in enumerate(zip(row, row_titles, strict=True)):
            left = _GAP_PX + x * (_TILE_PX + _GAP_PX)
            picture = _fitted(tile.picture, _TILE_PX)
            across, down = left + (_TILE_PX - picture.shape[1]) // 2, top + (_TILE_PX - picture.shape[0]) // 2
            mosaic[down : down + picture.shape[0], across : across + picture.shape[1]] = picture
            at = ((left + _TILE_PX / 2) / width, 1 - (down - _GAP_PX / 2) / height)
            colour = BAD if tile.wrong else AIM
            caption = figure.text(*at, title, fontsize=8, color=colour, ha="center", va="bottom", linespacing=1.2)
            caption.set_parse_math(False)  # names of classes are no formulas, whatever dollar signs they have
        top += _TILE_PX + _GAP_PX
    figure.figimage(mosaic)
    save_figure(figure, path)


def _title(tile: Tile, headings: Sequence[str], column: int | None) -> str:
    """Return the caption, below the heading of its column in the first row."""
    return tile.caption if column is None or column >= len(headings) else f"{headings[column]}\n{tile.caption}"


def _fitted(picture: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Resize the picture (h, w, 3) so that its longer side has ``side_px`` pixels."""
    height, width = picture.shape[:2]
    factor = side_px / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    kind = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR if factor < _MAGNIFIED else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=kind))


def save_evolution(path: Path, history: Sequence[NDArray[np.uint8]]) -> None:
    """Write an MP4 of the patch over the steps; ``history`` holds cells (rows, columns, 3), RGB uint8.

    Raises:
        PhyspatchError: the file cannot be written.
    """
    frames = [*history, *[history[-1]] * _HOLD_FRAMES]
    rows, columns = history[0].shape[:2]
    cell = max(1, _VIDEO_SIDE_PX // max(rows, columns))
    size = (columns * cell // 2 * 2, rows * cell // 2 * 2)  # encoders need even sides
    with atomic_path(path) as temporary, VideoFile(temporary, size, _VIDEO_FPS) as video:
        for cells in frames:
            video.add(cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST))


def _running_mean(values: Sequence[float], width: int = 15) -> NDArray[np.float64]:
    sums = np.cumsum(np.insert(np.asarray(values, dtype=np.float64), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with atomic_path(path) as temporary:
        # Higher levels take several times as long for a tenth of the size.
        FigureCanvasAgg(figure).print_figure(temporary, dpi=_DPI, pil_kwargs={"compress_level": 3})
