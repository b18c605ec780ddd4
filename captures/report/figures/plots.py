"""The plots of a report that are pictures."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from captures.report.blocks import PLOT_DPI, PoseTable
from captures.report.wording import short_interval
from physpatch.evaluation.figures.plots import AIM


def pose_plot(table: PoseTable) -> bytes:
    """Plot rates by distance (rows) and yaw (columns), as PNG, with interval and n in each cell; empty cells are hatched."""
    grid, cells = table.grid, table.cells
    rows, columns = len(table.rows), len(table.columns)
    figure = Figure(figsize=(max(4.4, 1.4 + 0.95 * columns), 1.3 + 0.62 * rows), layout="constrained")
    axis = figure.add_subplot()
    for row, distance in enumerate(table.rows):
        for column, yaw in enumerate(table.columns):
            cell = cells.get((distance, yaw))
            rate = None if cell is None else cell.rate.rate
            box = (column - 0.5, row - 0.5)
            if cell is None or rate is None:
                axis.add_patch(Rectangle(box, 1, 1, facecolor="white", edgecolor="0.8", hatch="////"))
                axis.text(column, row, "empty", ha="center", va="center", fontsize=7, backgroundcolor="white")
                continue
            axis.add_patch(Rectangle(box, 1, 1, facecolor=str(1 - 0.75 * rate), edgecolor="0.8"))
            text = f"{100 * rate:.0f} %\n{short_interval(cell.rate)}\nn = {cell.rate.n}, {cell.frames} fr."
            axis.text(
                column, row, text, ha="center", va="center", fontsize=7, color="white" if rate > 0.55 else "black"
            )
    axis.set_xticks(range(columns), [f"{grid.yaws_deg[i]:g}°" for i in table.columns])
    axis.set_yticks(range(rows), [f"{grid.distances_m[i]:g} m" for i in table.rows])
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xlabel="yaw", ylabel="distance")
    axis.set_title(textwrap.fill(table.title, 60), fontsize=9)
    return _png(figure)


def prediction_plot(predicted: Sequence[float], measured: Sequence[float], unit: str) -> bytes:
    """Plot captured against predicted shares of the units, as PNG; coinciding points are drawn as one larger circle."""
    figure = Figure(figsize=(3.8, 3.6), layout="constrained")
    axis = figure.add_subplot()
    points, counts = np.unique(np.round(np.column_stack([predicted, measured]), 3), axis=0, return_counts=True)
    axis.plot([0, 100], [0, 100], "--", color="0.6", linewidth=1)
    axis.scatter(100 * points[:, 0], 100 * points[:, 1], s=22 * counts, facecolor="none", edgecolor=AIM)
    for (x, y), count in zip(points, counts, strict=True):
        if count > 1:
            axis.annotate(str(count), (100 * x, 100 * y), ha="center", va="center", fontsize=7)
    axis.set(xlim=(-8, 108), ylim=(-8, 108), xlabel="% predicted by the replay", ylabel="% captured")
    axis.set_title(f"numbers: {unit}s per circle", fontsize=9)
    return _png(figure)


def strip_plot(pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> bytes:
    """Draw pictures, (H, W, 3) RGB uint8, side by side with captions above, as PNG."""
    figure = Figure(figsize=(1.6 * len(pictures), 2.3), layout="constrained")
    for axis, (words, picture) in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        axis.imshow(picture, interpolation="antialiased")
        axis.set_title(_folded(words, 22), fontsize=7)
        axis.set_axis_off()
    return _png(figure)


def _folded(words: str, width: int = 17) -> str:
    return textwrap.fill(words, width)


def _png(figure: Figure) -> bytes:
    packed = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(packed, dpi=PLOT_DPI)
    return packed.getvalue()
