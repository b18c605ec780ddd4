"""Write a report as PDF with reportlab."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from matplotlib import get_data_path
from PIL import Image as Pillow
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch, mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    KeepTogether,
    ListFlowable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
)
from reportlab.platypus import Table as Grid

from calibration.common.files import atomic_path
from captures.report.blocks import (
    PLOT_DPI,
    Block,
    Bullets,
    Charts,
    Columns,
    Document,
    Film,
    Gallery,
    Heading,
    Links,
    NextSteps,
    Numbers,
    Picture,
    PoseTables,
    Table,
    Text,
)
from captures.report.figures.paper import paper_chart
from captures.report.figures.plots import pose_plot
from captures.report.wording import CODE_SPAN

_FONT, _BOLD = "DejaVuSans", "DejaVuSans-Bold"  # from matplotlib; the standard PDF fonts lack many characters
_MARGIN_MM = 18.0
_ACROSS, _CHARTS_ACROSS = 3, 2  # pictures, and charts, per row
_MOST_SHOTS = 12
_FRAME_PADDING = 6  # reportlab's, in points
_CELL_PADDING = 5
_ROOM_MM = {1: 75, 2: 40}  # below a heading, by level: a chapter begins with a chart, as a rule
_TALLEST, _TALLEST_CHART = 0.55, 0.85  # largest heights of a picture and a chart, as shares of the page's
_PICTURE_SIDE_PX = 1400  # sufficient for print at these sizes
_SOFT, _MARK = colors.HexColor("#555555"), colors.HexColor("#005a91")


def write_pdf(document: Document, path: Path) -> None:
    """Write the document as PDF, atomically, without the blocks that HTML collapses."""
    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, str(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(_FONT, normal=_FONT, bold=_BOLD)
    with atomic_path(path) as temporary:
        sides = {f"{side}Margin": _MARGIN_MM * mm for side in ("left", "right", "top", "bottom")}
        words = f"{document.title} {document.subtitle}"
        template = SimpleDocTemplate(str(temporary), pagesize=A4, title=words, author="physpatch", **sides)
        width = template.width - 2 * _FRAME_PADDING  # as of text
        story = [_words(document.title, "title"), _words(document.subtitle, "soft")]
        for block in (*document.lead, *document.blocks):
            story += _flowables(block, width, template.height)
        template.build(story, onFirstPage=_number_page, onLaterPages=_number_page)


def _flowables(block: Block, width: float, height: float) -> list[Flowable]:
    match block:
        case Heading(text, level):
            return [CondPageBreak(_ROOM_MM[level] * mm), _words(text, f"heading {level}")]
        case Text(text, kind):
            return [_words(text, kind)]
        case Numbers(items):
            cells = [[_words(n.value, "value"), _words(n.certainty, "soft"), _words(n.label, "plain")] for n in items]
            return [
                Grid(
                    [cells],
                    hAlign="LEFT",
                    colWidths=[width / max(1, len(items))] * len(items),
                    style=[("VALIGN", (0, 0), (-1, -1), "TOP")],
                )
            ]
        case NextSteps(steps):
            return [
                _words("What to do next", "heading 2"),
                _list(_words(f"{why}: {command}", "plain") for why, command in steps),
            ]
        case Bullets(items):
            return [_list(_words(item, "plain") for item in items)]
        case Links(files):
            return [_list(_words(f"{path}: {words}", "plain") for words, path in files)]
        case Table():
            return _table(block, width)
        case Picture():
            return [_image(block, width, _TALLEST * height), _words(block.caption, "soft")]
        case Gallery(pictures):
            return _gallery(pictures, width, height)
        case Charts(charts, caption):
            across = width / _CHARTS_ACROSS
            drawn: list[list[Flowable]] = [
                [paper_chart(chart, across - 10, _TALLEST_CHART * height, _FONT)] for chart in charts
            ]
            return _captioned(_side_by_side(drawn, width, _CHARTS_ACROSS), caption)
        case PoseTables(tables, caption):
            plots = [_plot(Picture(pose_plot(table), ""), width, height) for table in tables]
            return _captioned(plots, caption)
        case Film(shots):
            few = shots[:: -(-len(shots) // _MOST_SHOTS) or 1]
            return _gallery([Picture(shot.annotated, shot.caption) for shot in few], width, height)
        case Columns(items):
            return [
                flowable
                for title, blocks in items
                for inner in (Heading(title, 2), *blocks)
                for flowable in _flowables(inner, width, height)
            ]
        case _:
            return []


def _words(text: str, style: str) -> Paragraph:
    return Paragraph(CODE_SPAN.sub(r'<font face="Courier">\1</font>', escape(text)), _STYLES[style])


def _list(items: Iterable[Paragraph]) -> Flowable:
    return ListFlowable(list(items), bulletType="bullet", start="•", leftIndent=10, bulletFontName=_FONT)


def _table(table: Table, width: float) -> list[Flowable]:
    """Build a table, in columns that fit their texts."""
    rows = [[_words(text, "head") for text in table.headings]]
    rows += [
        [_words(text, "strong" if number in table.strong else "cell") for text in row]
        for number, row in enumerate(table.rows)
    ]
    lines: list[Any] = [
        ("LINEBELOW", (0, 0), (-1, 0), 1, colors.black),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, colors.lightgrey),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), _CELL_PADDING),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    grid = Grid(
        rows,
        hAlign="LEFT",
        colWidths=_column_widths(table, width),
        repeatRows=1,
        splitInRow=1,  # a row that is taller than a page goes on in the next one
        style=lines,
        spaceAfter=3,
    )
    return [grid, *([_words(table.caption, "soft")] if table.caption else []), Spacer(1, 3 * mm)]


def _column_widths(table: Table, width: float) -> list[float]:
    """Return widths of which none breaks a word, if there is room; what is left is shared by the length of the texts."""
    columns = list(zip(table.headings, *table.rows, strict=True))
    words = [[word for text in column for word in text.split()] for column in columns]
    least = [max((_text_width(word) for word in column), default=0.0) + _CELL_PADDING for column in words]
    if sum(least) > width:
        return [width * own / sum(least) for own in least]
    extras = [max(map(_text_width, column)) + _CELL_PADDING - own for column, own in zip(columns, least, strict=True)]
    room = width - sum(least)
    share = min(1.0, room / sum(extras)) if sum(extras) else 0.0
    return [own + share * more for own, more in zip(least, extras, strict=True)]


def _text_width(text: str) -> float:
    width: float = pdfmetrics.stringWidth(text, _BOLD, _STYLES["head"].fontSize)
    return width


def _plot(picture: Picture, width: float, height: float) -> Flowable:
    return _image(picture, width, _TALLEST * height)


def _gallery(pictures: Sequence[Picture], width: float, height: float) -> list[Flowable]:
    across = width / _ACROSS
    cells = [[_image(picture, across - 6, _TALLEST * height), _words(picture.caption, "soft")] for picture in pictures]
    return _side_by_side(cells, width, _ACROSS)


def _side_by_side(cells: Sequence[list[Flowable]], width: float, columns: int) -> list[Flowable]:
    rows: list[list[Any]] = [list(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    rows = [row + [""] * (columns - len(row)) for row in rows]
    lines = [("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    return [Grid([row], hAlign="LEFT", colWidths=[width / columns] * columns, style=lines) for row in rows]


def _captioned(flowables: Sequence[Flowable], caption: str) -> list[Flowable]:
    """Put a caption on the page of what is above it."""
    return [*flowables[:-1], KeepTogether([*flowables[-1:], _words(caption, "soft")])]


def _image(picture: Picture, width: float, tallest: float) -> Flowable:
    with Pillow.open(io.BytesIO(picture.data)) as opened:
        pixels = opened.convert("RGB")
    if picture.pixelated:
        times = max(1, _PICTURE_SIDE_PX // max(pixels.size))
        pixels = pixels.resize((pixels.width * times, pixels.height * times), Pillow.Resampling.NEAREST)
    pixels.thumbnail((_PICTURE_SIDE_PX, _PICTURE_SIDE_PX))
    packed = io.BytesIO()
    pixels.save(packed, "PNG" if picture.kind == "png" else "JPEG")
    packed.seek(0)
    wanted_width = width * picture.share if picture.share else inch * picture.width_px / PLOT_DPI
    across = min(width, wanted_width, tallest * pixels.width / pixels.height)
    return Image(packed, across, across * pixels.height / pixels.width, hAlign="LEFT")


def _number_page(canvas: Any, template: Any) -> None:
    canvas.setFont(_FONT, 8)
    canvas.setFillColor(_SOFT)
    canvas.drawRightString(A4[0] - _MARGIN_MM * mm, 0.5 * _MARGIN_MM * mm, f"page {template.page}")


def _style(name: str, size: float, **settings: Any) -> ParagraphStyle:
    font = settings.pop("fontName", _FONT)
    return ParagraphStyle(name, fontName=font, fontSize=size, leading=1.35 * size, **settings)


_STYLES: dict[str, ParagraphStyle] = {
    style.name: style
    for style in (
        _style("title", 18, fontName=_BOLD),
        _style("heading 1", 13, fontName=_BOLD, spaceBefore=14, spaceAfter=4, textColor=_MARK, keepWithNext=1),
        _style("heading 2", 10.5, fontName=_BOLD, spaceBefore=8, spaceAfter=3, keepWithNext=1),
        _style("question", 10.5, spaceBefore=6, textColor=_SOFT),
        _style("verdict", 20, fontName=_BOLD, spaceAfter=4),
        _style("value", 18, fontName=_BOLD, textColor=_MARK),
        _style("lead", 10.5, fontName=_BOLD, spaceAfter=4),
        _style("plain", 9.5, spaceAfter=4),
        _style("soft", 8, spaceAfter=5, textColor=_SOFT),
        _style("head", 7.5, fontName=_BOLD),
        _style("cell", 7.5),
        _style("strong", 7.5, fontName=_BOLD),
    )
}
