"""Build the charts of a report. Sheets differ in shape, line and colour, so that charts can be printed in black and white."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from captures.report.blocks import Chart, Mark, Series
from captures.results.aggregation import CONTROL, MapCell
from captures.results.curves import DISTANCE, Curve, CurvePoint, Factor
from captures.results.sequence_summary import distance_middle_m
from physpatch.stats.rates import Rate, bounds_words

_TICKS_M = (0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 10)
_MOST_TICKS = 7
_UNITS = {"distance_m": "m", "angle_deg": "degrees", "px_per_cell": "pixels", "object_distance": "sides"}
_LOOKS = 4
_MARGIN = 0.06  # of the axis, beyond the outermost marks


def rates_chart(title: str, axis: str, rates: Mapping[str, Mapping[str, Rate]]) -> Chart:
    """Draw rates by sheet across the page, one row for each name.

    Args:
        title, axis: of the chart, and what its rows are.
        rates: by row and sheet.
    """
    rows = list(rates)
    sheets = list(dict.fromkeys(sheet for row in rates.values() for sheet in row))
    series = [
        Series(
            sheet_name(sheet),
            [Mark(i, row.replace("\n", ": "), rates[row][sheet]) for i, row in enumerate(rows) if sheet in rates[row]],
            sheet,
        )
        for sheet in sheets
    ]
    return Chart(title, axis, (-0.5, len(rows) - 0.5), list(enumerate(rows)), series, across=True)


def steps_chart(title: str, steps: Sequence[tuple[str, Rate]], lossy: Collection[str]) -> Chart:
    """Draw rates down a way of steps.

    Args:
        title: of the chart.
        steps: in words, with the rate at each.
        lossy: those at which most is lost.
    """
    places = list(enumerate(name for name, _ in steps))
    marks = [Mark(i, name, rate) for i, (name, rate) in enumerate(steps)]
    series = [
        Series("with the patch", [mark for mark in marks if mark.place not in lossy], "patch"),
        Series("where most is lost", [mark for mark in marks if mark.place in lossy], "2"),
    ]
    return Chart(title, "step", (-0.5, len(steps) - 0.5), places, [s for s in series if s.marks], across=True)


def names_chart(title: str, axis: str, bins: Mapping[str, Mapping[str, MapCell]]) -> Chart:
    """Draw rates by sheet and name, such as that of a light."""
    names = list(dict.fromkeys(name for cells in bins.values() for name in cells))
    series = [
        Series(
            sheet_name(sheet),
            [Mark(names.index(name), name, cell.rate, cell.frames) for name, cell in cells.items()],
            sheet,
        )
        for sheet, cells in bins.items()
    ]
    return Chart(title, axis, (-0.5, len(names) - 0.5), list(enumerate(names)), series)


def way_chart(title: str, bins: Mapping[str, Mapping[int, MapCell]]) -> Chart:
    """Draw rates by sheet along a way, against the distance.

    Args:
        title: of the chart.
        bins: rates by sheet and number of the bin, see ``success_by_distance``.
    """
    series = [
        Series(
            sheet_name(sheet),
            [
                Mark(
                    math.log(distance_middle_m(place)),
                    bounds_words(*DISTANCE.bounds(place), "m"),
                    cell.rate,
                    cell.frames,
                )
                for place, cell in cells.items()
            ],
            sheet,
            "solid",
        )
        for sheet, cells in bins.items()
    ]
    span = _span(mark.at for s in series for mark in s.marks)
    return Chart(title, "distance, m", span, _ticks(_TICKS_M, span, ratios=True), series)


def curve_chart(title: str, factor: Factor, curves: Sequence[Curve], names: Sequence[str] = ()) -> Chart:
    """Draw success along a factor, of patch and grey control also that of all views, dashed, where it differs.

    Args:
        title: of the chart.
        factor: the curves' own.
        curves: of one model and measure; those of one sheet each, or, with names, of one sheet in several sessions.
        names: of the curves in the legend, if not those of their sheets.
    """
    series, ends = [], list[float]()
    for i, curve in enumerate(curves, 1):
        look = str((i - 1) % _LOOKS + 1) if names else curve.condition
        name = names[i - 1] if names else sheet_name(curve.condition)
        points = curve.comparable
        ends += [end for point in points for end in _ends(factor, point)]
        marks = [_mark(factor, point, point.right, point.frames) for point in points]
        series.append(Series(name, marks, look, "solid" if i <= _LOOKS or not names else "dashed"))
        if not names and curve.condition in ("patch", CONTROL) and any(point.right != point.every for point in points):
            marks = [_mark(factor, point, point.every, point.every_frames) for point in points]
            series.append(Series(f"{name}, all views", marks, look, "dashed"))
    span = _span(ends, margin=0.02)
    return Chart(title, factor.words, span, _ticks(factor.edges, span, ratios=factor.ratios), series)


def threshold_chart(title: str, curves: Sequence[Curve]) -> Chart:
    """Draw success by the confidence that is demanded, with a slider along it."""
    series = [
        Series(
            sheet_name(curve.condition),
            [
                Mark(point.low, f"confidence of {100 * point.low:.0f} % or more", point.right, point.frames)
                for point in curve.points
            ],
            curve.condition,
            "solid",
        )
        for curve in curves
    ]
    span = _span((mark.at for s in series for mark in s.marks), margin=0.02)
    ticks = [(tick / 100, f"{tick} %") for tick in range(0, 101, 20) if span[0] <= tick / 100 <= span[1]]
    return Chart(title, "least confidence that counts", span, ticks, series, slider="Least confidence that counts")


def sheet_name(sheet: str) -> str:
    """Return the name of a sheet in a legend."""
    return "the patch" if sheet == "patch" else sheet


def _mark(factor: Factor, point: CurvePoint, rate: Rate, frames: int) -> Mark:
    scale, unit = (100, "%") if max(factor.edges) < 1 else (1, _UNITS.get(factor.name, ""))
    low, high = scale * point.low, None if point.high is None else scale * point.high
    return Mark(sum(_ends(factor, point)) / 2, bounds_words(low, high, unit), rate, frames)


def _ends(factor: Factor, point: CurvePoint) -> tuple[float, float]:
    """Return a bin's ends on the axis; one without a lower or an upper end, in ratios, is as wide as its neighbour."""
    edges = factor.edges
    if not factor.ratios:
        return point.low, 2 * point.low - edges[-2] if point.high is None else point.high
    high = point.low * edges[-1] / edges[-2] if point.high is None else point.high
    return math.log(point.low or high * edges[0] / edges[1]), math.log(high)


def _span(places: Iterable[float], margin: float = _MARGIN) -> tuple[float, float]:
    positions = list(places)
    low, high = min(positions, default=0.0), max(positions, default=1.0)
    beyond = margin * (high - low) or 0.5
    return low - beyond, high + beyond


def _ticks(values: Sequence[float], span: tuple[float, float], *, ratios: bool) -> list[tuple[float, str]]:
    shares = max(values) < 1
    ticks = [
        (at, f"{100 * value:g} %" if shares else f"{value:g}")
        for value in (values if ratios else (0, *values))
        if span[0] <= (at := math.log(value) if ratios else value) <= span[1]
    ]
    return ticks[:: -(-len(ticks) // _MOST_TICKS) or 1]
