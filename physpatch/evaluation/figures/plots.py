"""Plots of a run: the loss, panels of captioned pictures, the evolution of the patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibration.common.files import atomic_path
from physpatch.evaluation.figures.pictures import VideoFile

_VIDEO_SIDE_PX = 480
_VIDEO_FPS = 15
_HOLD_FRAMES = 15  # the finished patch stays on screen for a second
GOOD, BAD, AIM = "#0072B2", "#D55E00", "#000000"  # from Okabe and Ito's palette for colour-blind readers


@dataclass(frozen=True)
class Tile:
    """One picture of a panel: (H, W, 3) RGB uint8, its caption, and whether the caption states a wrong answer."""

    picture: NDArray[np.uint8]
    caption: str
    wrong: bool = False


def save_loss_plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Plot the loss and the share of fooled training images over the steps; ``rows`` are those of ``metrics.csv``."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    steps = [row["step"] for row in rows]
    left = figure.add_subplot()
    left.plot(steps, [row["loss"] for row in rows], color=GOOD, alpha=0.3, linewidth=1)
    left.plot(steps, _running_mean([row["loss"] for row in rows]), color=GOOD, label="loss (running mean)")
    left.set(xlabel="step", ylabel="loss")
    right = left.twinx()
    right.plot(
        steps,
        _running_mean([row["success"] for row in rows]),
        color=BAD,
        linestyle="--",
        label="fooled, training batch",
    )
    right.set(ylabel="share of the batch fooled", ylim=(-0.02, 1.02))
    left.legend(
        handles=[*left.get_lines()[1:], *right.get_lines()],
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
    figure = Figure(figsize=(2.3 * columns, 2.65 * len(rows) + 0.3), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for y, row in enumerate(rows):
        for x in range(columns):
            axis = axes[y][x]
            axis.set_axis_off()
            axis.set(xticks=[], yticks=[])  # otherwise matplotlib makes room for ticks that it does not draw
            if x < len(row):
                axis.imshow(row[x].picture)
                heading = f"{headings[x]}\n" if y == 0 and x < len(headings) else ""
                axis.set_title(heading + row[x].caption, fontsize=8, color=BAD if row[x].wrong else AIM)
    save_figure(figure, path)


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
        FigureCanvasAgg(figure).print_figure(temporary, dpi=110)
