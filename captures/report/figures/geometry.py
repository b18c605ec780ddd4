"""Place the parts of a chart, in units that a page or a sheet of paper scales."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.common.text import number_of
from captures.report.blocks import Chart, Mark, Series
from captures.report.wording import rate_words

_WIDTH, _HEIGHT = 440, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 12, 12, 44
_ROW, _ROW_LABEL, _LINE = 15, 15, 13  # heights of a series in a row, of a line of the row's label, of a line of text
_APART, _APART_ON_LINES = 7, 4  # series at one place of the axis
_BANDS = 2
_FOLD, _MOST_LINES = 12, 3  # characters of a label that fit, and lines


@dataclass(frozen=True)
class Point:
    """A mark in place: its middle, the ends of its interval, and its values in words."""

    x: float
    y: float
    low: tuple[float, float]
    high: tuple[float, float]
    words: str
    place: str


@dataclass(frozen=True)
class Placed:
    """A series in place.

    Attributes:
        name, look: as the series'.
        dashed: whether its line is.
        line: the ends of its line; empty without one.
        band: the corners of the band of its intervals; empty without one.
        whiskers: whether each mark shows its interval.
        points: its marks.
    """

    name: str
    look: str
    dashed: bool
    line: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]]
    whiskers: bool
    points: Sequence[Point]


@dataclass(frozen=True)
class Label:
    """Lines of text and where they begin."""

    x: float
    y: float
    lines: Sequence[str]
    anchor: str


@dataclass(frozen=True)
class Drawing:
    """A chart in place.

    Attributes:
        width, height: of the whole.
        frame: the plot's left, top, right and bottom.
        grid: straight lines of round per cents, as x1, y1, x2, y2.
        labels: of both axes.
        series: what is drawn.
    """

    width: float
    height: float
    frame: tuple[float, float, float, float]
    grid: Sequence[tuple[float, float, float, float]]
    labels: Sequence[Label]
    series: Sequence[Placed]


def draw(chart: Chart) -> Drawing:
    """Place a chart's parts."""
    return _across(chart) if chart.across else _upright(chart)


def values_table(chart: Chart) -> tuple[list[str], list[list[str]]]:
    """Write a chart's values as headings and rows: one row for each place, one column for each series."""
    places = {mark.place: mark.at for series in chart.series for mark in series.marks}
    columns = [{mark.place: mark for mark in series.marks} for series in chart.series]
    rows = [
        [place, *(_words(marks[place]) if place in marks else "–" for marks in columns)]
        for place in sorted(places, key=lambda place: places[place])
    ]
    return [chart.axis, *(series.name for series in chart.series)], rows


def _upright(chart: Chart) -> Drawing:
    """Place a chart whose rates run up the page."""
    labels = [(at, _folded(label)) for at, label in chart.ticks]
    deepest = max((len(lines) for _, lines in labels), default=1)
    left, top, right, bottom = _LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    low, high = chart.span

    def x(at: float) -> float:
        return left + (at - low) / (high - low) * (right - left)

    def y(share: float) -> float:
        return bottom - share * (bottom - top)

    named = [Label(x(at), bottom + 6 + _LINE, lines, "middle") for at, lines in labels]
    named += [Label(left - 6, y(share / 100) + 4, [f"{share} %"], "end") for share in (0, 50, 100)]
    named.append(Label((left + right) / 2, bottom + 12 + (deepest + 1) * _LINE, [chart.axis], "middle"))
    placed = []
    for i, series in enumerate(chart.series):
        apart = 0 if chart.slider else _APART if series.line == "none" else _APART_ON_LINES
        aside = apart * (i - (len(chart.series) - 1) / 2)
        points = [
            _point(x(mark.at) + aside, y(share), [(x(mark.at) + aside, y(end)) for end in _ends(mark)], texts)
            for mark, share, texts in _shown(series)
        ]
        band = bool(chart.slider) and i < _BANDS  # of patch and grey: more cover one another
        placed.append(_placed(series, points, band=band, whiskers=not chart.slider and series.line != "dashed"))
    grid = [(left, y(share / 100), right, y(share / 100)) for share in (0, 25, 50, 75, 100)]
    return Drawing(
        _WIDTH,
        _HEIGHT + (deepest - 1) * _LINE,
        (left, top, right, bottom),
        grid,
        named,
        [p for p in placed if p.points],
    )


def _across(chart: Chart) -> Drawing:
    """Place a chart whose rates run across the page, each row under its label, and those of a row below one another."""
    left, top, right = 8, 4, _WIDTH - 20
    lines: dict[tuple[int, int], int] = {}  # of the marks, by row and series
    deepest: Counter[int] = Counter()
    for i, series in enumerate(chart.series):
        for row in (round(mark.at) for mark in series.marks):
            lines[row, i] = deepest[row]
            deepest[row] += 1
    folded = [label.split("\n") for _, label in chart.ticks]
    height = max((len(lines) for lines in folded), default=1) * _ROW_LABEL
    height += max(deepest.values(), default=1) * _ROW + 10
    bottom = top + height * len(folded)

    def x(share: float) -> float:
        return left + share * (right - left)

    def y(mark: Mark, i: int) -> float:
        row = round(mark.at)
        return top + row * height + len(folded[row]) * _ROW_LABEL + 8 + lines[row, i] * _ROW

    named = [Label(left, top + row * height + 12, label, "start") for row, label in enumerate(folded)]
    named += [Label(x(share / 100), bottom + 6 + _LINE, [f"{share} %"], "middle") for share in (0, 50, 100)]
    placed = [
        _placed(
            series,
            [
                _point(x(share), y(mark, i), [(x(end), y(mark, i)) for end in _ends(mark)], texts)
                for mark, share, texts in _shown(series)
            ],
        )
        for i, series in enumerate(chart.series)
    ]
    grid = [(x(share / 100), top, x(share / 100), bottom) for share in (0, 25, 50, 75, 100)]
    return Drawing(_WIDTH, bottom + 24, (left, top, right, bottom), grid, named, [p for p in placed if p.points])


def _shown(series: Series) -> list[tuple[Mark, float, tuple[str, str]]]:
    """List the marks that have a rate, with the rate and what is said of it."""
    return [
        (mark, mark.rate.rate, (f"{series.name}: {_words(mark)}", mark.place))
        for mark in series.marks
        if mark.rate.rate is not None
    ]


def _point(x: float, y: float, ends: Sequence[tuple[float, float]], texts: tuple[str, str]) -> Point:
    low, high = ends
    words, place = texts
    return Point(x, y, low, high, words, place)


def _words(mark: Mark) -> str:
    frames = f", {number_of(mark.frames, 'frame')}" if mark.frames else ""
    return f"{rate_words(mark.rate)}{frames}"


def _ends(mark: Mark) -> tuple[float, float]:
    return mark.rate.ci95 or (mark.rate.rate or 0.0, mark.rate.rate or 0.0)


def _placed(series: Series, points: Sequence[Point], *, band: bool = False, whiskers: bool = True) -> Placed:
    line = [(point.x, point.y) for point in points] if series.line != "none" else []
    around = [*(point.low for point in points), *(point.high for point in reversed(points))] if band else []
    return Placed(series.name, series.look, series.line == "dashed", line, around, whiskers, points)


def _folded(label: str) -> list[str]:
    """Fold a label into lines that fit under a tick; what people wrote may be longer and is cut."""
    lines = textwrap.wrap(label, _FOLD, break_long_words=True) or [""]
    return (
        lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1][: _FOLD - 1]}…"]
    )
