"""The plots of a report. Series differ in shape and line, so that plots can be printed in black and white."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from captures.gap.decomposition import Gap
from captures.protocol.plan import PoseGrid
from captures.report.blocks import PLOT_DPI
from captures.results.aggregation import MapCell
from captures.results.sequence_summary import distance_middle_m
from physpatch.evaluation.figures.plots import AIM, BAD, GOOD
from physpatch.stats.intervals import Rate
from physpatch.stats.rates import points

_MARKS = {
    "patch": ("o", BAD),
    "grey": ("s", "0.55"),
    "random": ("^", GOOD),
    "shuffled": ("D", "0.25"),
    "none": ("x", "0.4"),
}
_DISTANCE_TICKS_M = (0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 10)


def effect_plot(rates: Mapping[str, Mapping[str, Rate]]) -> bytes:
    """Plot rates by sheet, one row per model and measure, as PNG.

    Args:
        rates: by row and sheet.
    """
    figure = Figure(figsize=(7.6, 1.1 + 0.62 * len(rates)), layout="constrained")
    axis = figure.add_subplot()
    shown = list(dict.fromkeys(condition for row in rates.values() for condition in row))
    for y, row in enumerate(rates.values()):
        for i, condition in enumerate(shown):
            if condition in row:
                mark, color = _MARKS.get(condition, ("x", AIM))
                _point(axis, row[condition], y + (i - (len(shown) - 1) / 2) * 0.17, mark, color, across=True)
    for condition in shown:
        mark, color = _MARKS.get(condition, ("x", AIM))
        axis.plot([], [], mark, color=color, label=condition if condition != "patch" else "the patch", linestyle="none")
    axis.set_yticks(range(len(rates)), list(rates), fontsize=8)
    axis.set(xlim=(-2, 102), xlabel="% (95 % interval)", ylim=(len(rates) - 0.4, -0.6))
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(shown), frameon=False, fontsize=8)
    return _png(figure)


def pose_plot(grid: PoseGrid, cells: Mapping[tuple[int, int], MapCell], words: str) -> bytes:
    """Plot rates by distance (rows) and yaw (columns), as PNG, with interval and n in each cell; empty cells are hatched.

    Args:
        grid: the pose cells.
        cells: rates by row and column.
        words: the title.
    """
    rows, columns = len(grid.distances_m), len(grid.yaws_deg)
    figure = Figure(figsize=(max(4.4, 1.4 + 0.95 * columns), 1.3 + 0.62 * rows), layout="constrained")
    axis = figure.add_subplot()
    for row in range(rows):
        for column in range(columns):
            cell = cells.get((row, column))
            rate = None if cell is None else cell.rate.rate
            box = (column - 0.5, row - 0.5)
            if cell is None or rate is None:
                axis.add_patch(Rectangle(box, 1, 1, facecolor="white", edgecolor="0.8", hatch="////"))
                axis.text(column, row, "empty", ha="center", va="center", fontsize=7, backgroundcolor="white")
                continue
            axis.add_patch(Rectangle(box, 1, 1, facecolor=str(1 - 0.75 * rate), edgecolor="0.8"))
            interval = (
                "one clip" if cell.rate.ci95 is None else "{:.0f} to {:.0f}".format(*(100 * e for e in cell.rate.ci95))
            )
            text = f"{100 * rate:.0f} %\n{interval}\nn = {cell.rate.n}, {cell.frames} fr."
            axis.text(
                column, row, text, ha="center", va="center", fontsize=7, color="white" if rate > 0.55 else "black"
            )
    axis.set_xticks(range(columns), [f"{yaw:g}°" for yaw in grid.yaws_deg])
    axis.set_yticks(range(rows), [f"{distance:g} m" for distance in grid.distances_m])
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xlabel="yaw", ylabel="distance")
    axis.set_title(words, fontsize=9)
    return _png(figure)


def bins_plot(bins: Mapping[str, Mapping[str, MapCell]], label: str, words: str) -> bytes:
    """Plot rates by bin (across), one mark per sheet, as PNG.

    Args:
        bins: rates by sheet and name of the bin.
        label: of the horizontal axis.
        words: the title.
    """
    names = list(dict.fromkeys(name for cells in bins.values() for name in cells))
    figure = Figure(figsize=(max(4.5, 1.5 + 0.95 * len(names)), 3.1), layout="constrained")
    axis = figure.add_subplot()
    for i, (condition, cells) in enumerate(bins.items()):
        mark, color = _MARKS.get(condition, ("x", AIM))
        for x, name in enumerate(names):
            if name in cells:
                _point(axis, cells[name].rate, x + (i - (len(bins) - 1) / 2) * 0.16, mark, color)
        axis.plot([], [], mark, color=color, linestyle="none", label="the patch" if condition == "patch" else condition)
    counts = [next((f"\nn = {cells[name].rate.n}" for cells in bins.values() if name in cells), "") for name in names]
    axis.set_xticks(
        range(len(names)), [f"{name}{count}" for name, count in zip(names, counts, strict=True)], fontsize=8
    )
    axis.set(ylim=(-3, 103), xlim=(-0.6, len(names) - 0.4), xlabel=label, ylabel="% (95 % interval)")
    axis.set_title(words, fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return _png(figure)


def distance_plot(bins: Mapping[str, Mapping[int, MapCell]], words: str) -> bytes:
    """Plot rates against the sheet's distance, one line per sheet, as PNG.

    Args:
        bins: rates by sheet and number of the bin, see ``success_by_distance``.
        words: the title.
    """
    figure = Figure(figsize=(5.0, 3.4), layout="constrained")
    axis = figure.add_subplot()
    for i, (condition, cells) in enumerate(bins.items()):
        mark, color = _MARKS.get(condition, ("x", AIM))
        # Beside the middle of the bin, so that intervals of several sheets can be told apart.
        at = {place: distance_middle_m(place) * 1.03 ** (i - (len(bins) - 1) / 2) for place in cells}
        shares = [100 * cell.rate.rate for cell in cells.values() if cell.rate.rate is not None]
        label = "the patch" if condition == "patch" else condition
        axis.plot(list(at.values()), shares, f"-{mark}", color=color, linewidth=1, markersize=5, label=label)
        for place, cell in cells.items():
            _point(axis, cell.rate, at[place], mark, color)
    middles = [distance_middle_m(place) for cells in bins.values() for place in cells]
    axis.set_xscale("log")
    ticks = [tick for tick in _DISTANCE_TICKS_M if 0.8 * min(middles) <= tick <= 1.25 * max(middles)]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set(ylim=(-3, 103), xlabel="distance, m", ylabel="% of the frames (95 % interval)")
    axis.set_title(textwrap.fill(words, 48), fontsize=9)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=len(bins), frameon=False, fontsize=9)
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
