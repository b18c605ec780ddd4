"""The plots of a report as pictures. Sheets differ in shape and line, so that plots can be printed in black and white."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from captures.gap.decomposition import Gap
from captures.report.blocks import PLOT_DPI, Chart, PoseTable
from captures.report.wording import short_interval
from physpatch.evaluation.figures.plots import AIM, BAD, GOOD
from physpatch.stats.intervals import Rate
from physpatch.stats.rates import points

_MARKS = {
    "patch": ("o", BAD),
    "grey": ("s", "0.55"),
    "random": ("^", GOOD),
    "shuffled": ("D", "0.25"),
    "none": ("x", "0.4"),
    "1": ("o", BAD),  # what is not a sheet
    "2": ("s", GOOD),
    "3": ("^", "0.25"),
    "4": ("D", "0.55"),
}
_LINES = {"none": "", "solid": "-", "dashed": "--"}


def chart_plot(chart: Chart) -> bytes:
    """Plot a chart for paper, as PNG."""
    rows = len(chart.ticks)
    size = (6.4, 1.1 + 0.62 * rows) if chart.across else (max(4.6, 1.5 + 0.5 * rows), 3.4)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.add_subplot()
    apart = 0.17 if chart.across else 0.012 * (chart.span[1] - chart.span[0])
    for i, series in enumerate(chart.series):
        mark, color = _MARKS.get(series.look, ("x", AIM))
        aside = apart * (i - (len(chart.series) - 1) / 2)
        shown = [(point.at + aside, point.rate) for point in series.marks if point.rate.rate is not None]
        line = _LINES[series.line]
        places, shares = [at for at, _ in shown], [100 * (rate.rate or 0.0) for _, rate in shown]
        along = (shares, places) if chart.across else (places, shares)
        axis.plot(*along, line, marker=mark, color=color, linewidth=1, markersize=4, label=series.name)
        for at, rate in shown:
            _point(axis, rate, at, mark, color, across=chart.across)
    places, labels = [at for at, _ in chart.ticks], [label for _, label in chart.ticks]
    if chart.across:
        axis.set_yticks(places, labels, fontsize=8)
        axis.set(xlim=(-2, 102), xlabel="% (95 % interval)", ylim=chart.span[::-1])
    else:
        axis.set_xticks(places, labels, fontsize=8)
        axis.set(ylim=(-3, 103), ylabel="% (95 % interval)", xlim=chart.span, xlabel=chart.axis)
    axis.set_title(textwrap.fill(chart.title, 60), fontsize=9)
    axis.grid(axis="x" if chart.across else "y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(3, len(chart.series)), frameon=False, fontsize=8)
    return _png(figure)


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


def gap_plot(gap: Gap) -> bytes:
    """Plot the rate at each step from training to the camera, and the losses between them, as PNG."""
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axis = figure.add_subplot()
    for x, step in enumerate(gap.steps):
        _point(axis, step.rate, x, "o", AIM)
        if step.loss is not None and step.loss.difference is not None:
            before, here = gap.steps[x - 1].rate.rate or 0.0, step.rate.rate or 0.0
            named = step.name in (gap.cause, gap.second)
            axis.plot(
                [x - 1, x], [100 * before, 100 * here], "-", color=BAD if named else "0.6", linewidth=3 if named else 1
            )
            axis.annotate(
                points(-step.loss.difference, 0),
                (x - 0.5, 50 * (before + here)),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                fontweight="bold" if named else "normal",
            )
    words = [_folded(step.shown) for step in gap.steps]
    axis.set_xticks(range(len(gap.steps)), words, fontsize=7.5)
    axis.set(ylim=(-4, 108), xlim=(-0.4, len(gap.steps) - 0.6), ylabel="% (95 % interval)")
    axis.grid(axis="y", alpha=0.3)
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


def _point(axis: Axes, rate: Rate, at: float, mark: str, color: str, *, across: bool = False) -> None:
    """Draw a rate with its interval, if it has one."""
    if rate.rate is None:
        return
    value = 100 * rate.rate
    low, high = (value, value) if rate.ci95 is None else (100 * end for end in rate.ci95)
    spread = [[max(0.0, value - low)], [max(0.0, high - value)]]
    x, y = (value, at) if across else (at, value)
    errors = {"xerr" if across else "yerr": spread}
    axis.errorbar(x, y, fmt=mark, color=color, markersize=5, capsize=2, elinewidth=1, **errors)  # type: ignore[arg-type]


def _folded(words: str, width: int = 17) -> str:
    return textwrap.fill(words, width)


def _png(figure: Figure) -> bytes:
    packed = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(packed, dpi=PLOT_DPI)
    return packed.getvalue()
