"""Draw charts on paper, as vectors of reportlab."""

from collections.abc import Iterator, Sequence

from reportlab.graphics.shapes import Circle, Group, Line, Polygon, PolyLine, Rect, Shape, String
from reportlab.graphics.shapes import Drawing as Canvas
from reportlab.lib import colors
from reportlab.pdfbase.pdfmetrics import stringWidth

from captures.report.blocks import Chart
from captures.report.figures.geometry import Placed, draw
from physpatch.evaluation.figures.plots import BAD, GOOD

_COLOURS = {"patch": BAD, "grey": "#767676", "random": GOOD, "shuffled": "#00805c", "drawing": "#8f3a7d"}
_SHAPES = ("patch", "grey", "random", "shuffled")  # of the looks 1 to 4
_COLOURED = ("patch", "random", "shuffled", "grey")  # like which they are coloured
_GREY, _LINE = colors.HexColor("#555555"), colors.HexColor("#cfcfcf")
_TITLE, _LEGEND, _SIZE = 20, 14, 11  # heights of the title and of a line of the legend, and the size of text
_LEGENDS_ACROSS = 3


def paper_chart(chart: Chart, width: float, tallest: float, font: str) -> Canvas:
    """Draw a chart with its title and legend.

    Args:
        chart: to draw.
        width: in points.
        tallest: its largest height, in points, for which a chart of many rows becomes narrower.
        font: of all text, registered with reportlab.
    """
    drawing = draw(chart)
    longest = max((stringWidth(series.name, font, _SIZE) for series in drawing.series), default=0.0) + 24
    across = max(1, min(_LEGENDS_ACROSS, int(drawing.width // longest)))
    below = _LEGEND * -(-len(drawing.series) // across) + 6
    height = _TITLE + drawing.height + below
    scale = min(width / drawing.width, tallest / height)
    canvas = Canvas(scale * drawing.width, scale * height)
    fitting = min(1.0, drawing.width / max(1.0, stringWidth(chart.title, font, _SIZE)))
    shapes: list[Shape] = [_text(0, 12, chart.title, font, "start", fitting * _SIZE)]
    for x1, y1, x2, y2 in drawing.grid:
        shapes.append(Line(x1, y1 + _TITLE, x2, y2 + _TITLE, strokeColor=_LINE, strokeWidth=0.7))
    for label in drawing.labels:
        for i, words in enumerate(label.lines):
            shapes.append(_text(label.x, label.y + _TITLE + 13 * i, words, font, label.anchor))
    for series in drawing.series:
        shapes += _series(series)
    for i, series in enumerate(drawing.series):
        x = 8 + (i % across) * drawing.width / across
        y = _TITLE + drawing.height + _LEGEND * (i // across) + 6
        shapes += [_dot(series, x, y), _text(x + 10, y + 4, series.name, font, "start")]
    canvas.add(Group(*shapes, transform=(scale, 0, 0, -scale, 0, scale * height)))  # from the top down
    return canvas


def _series(series: Placed) -> Iterator[Shape]:
    color = _color(series)
    dashes = [5, 4] if series.dashed else None
    if series.band:
        yield Polygon(_lowered(series.band), strokeColor=None, fillColor=color.clone(alpha=0.12))
    if len(series.line) > 1:
        yield PolyLine(_lowered(series.line), strokeColor=color, strokeWidth=1.2, strokeDashArray=dashes)
    for point in series.points:
        if series.whiskers:
            ends = (point.low[0], point.low[1] + _TITLE, point.high[0], point.high[1] + _TITLE)
            yield Line(*ends, strokeColor=color, strokeWidth=1.2)
        yield _dot(series, point.x, point.y + _TITLE)


def _lowered(ends: Sequence[tuple[float, float]]) -> list[float]:
    """Move points below the title, and return them as one list."""
    return [at for x, y in ends for at in (x, y + _TITLE)]


def _dot(series: Placed, x: float, y: float) -> Shape:
    look = {"strokeColor": _color(series), "fillColor": colors.white if series.dashed else _color(series)}
    match _shape(series):
        case "grey":
            return Rect(x - 4, y - 4, 8, 8, **look)
        case "random":
            return Polygon([x, y - 5, x + 5, y + 4, x - 5, y + 4], **look)
        case "shuffled":
            return Polygon([x, y - 5.5, x + 5.5, y, x, y + 5.5, x - 5.5, y], **look)
        case "drawing":
            return Polygon([x, y + 5, x - 5, y - 4, x + 5, y - 4], **look)
        case "none":
            diagonal, antidiagonal = [x - 4, y - 4, x + 4, y + 4, x, y], [x - 4, y + 4, x + 4, y - 4]
            return PolyLine(diagonal + antidiagonal, strokeColor=_color(series), strokeWidth=1.5)
        case _:
            return Circle(x, y, 4.5, **look)


def _shape(series: Placed) -> str:
    return _SHAPES[int(series.look) - 1] if series.look.isdecimal() else series.look


def _color(series: Placed) -> colors.Color:
    like = _COLOURED[int(series.look) - 1] if series.look.isdecimal() else series.look
    return colors.HexColor(_COLOURS.get(like, "#1b1b1b"))


def _text(x: float, y: float, words: str, font: str, anchor: str, size: float = _SIZE) -> Shape:
    """Draw a line of text, turned over once more, because the canvas is upside down."""
    shape = String(0, 0, words, fontName=font, fontSize=size, textAnchor=anchor, fillColor=_GREY)
    return Group(shape, transform=(1, 0, 0, -1, x, y))
