"""The blocks of a report, from which both HTML and PDF are written."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from captures.protocol.plan import PoseGrid
from captures.results.aggregation import MapCell
from physpatch.stats.intervals import Rate

PLOT_DPI = 130  # of pictures without a relative width


@dataclass(frozen=True)
class Heading:
    """A heading: level 1 for a chapter, which HTML folds if the document says so, level 2 for a section of it."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph.

    ``kind`` is ``plain``, ``soft`` for explanations, or ``lead`` for key statements; on the first screen also ``question`` and
    ``verdict``.
    """

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of text. ``strong`` holds the indices of emphasised rows; ``caption`` explains the table."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: frozenset[int] = frozenset()
    caption: str = ""

    @classmethod
    def by_model(
        cls,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        strong: frozenset[int] = frozenset(),
        caption: str = "",
    ) -> "Table":
        """Build a table whose first column is the model; if there is one only, the caption names it, which saves room."""
        models = {row[0] for row in rows}
        if len(models) != 1:
            return cls(headings, rows, strong, caption)
        return cls(headings[1:], [row[1:] for row in rows], strong, f"Model: {models.pop()}. {caption}".rstrip())


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG file. ``share`` is its share of the page width, None its own size; ``pixelated`` keeps cells sharp."""

    data: bytes
    caption: str
    share: float | None = None
    pixelated: bool = False

    @property
    def kind(self) -> str:
        """Return the format, ``png`` or ``jpeg``."""
        return "png" if self.data.startswith(b"\x89PNG") else "jpeg"

    @property
    def width_px(self) -> int:
        """Return the width of the picture in pixels."""
        with Image.open(io.BytesIO(self.data)) as opened:
            return opened.width


@dataclass(frozen=True)
class Gallery:
    """Small pictures side by side."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Details:
    """Machine-readable text, collapsed if the format supports it."""

    summary: str
    text: str


@dataclass(frozen=True)
class Links:
    """Links to files: description and path relative to the report."""

    files: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Number:
    """A number in large type: its value, its interval, and what it is."""

    value: str
    certainty: str
    label: str


@dataclass(frozen=True)
class Numbers:
    """Numbers side by side."""

    items: Sequence[Number]


@dataclass(frozen=True)
class NextSteps:
    """What to do next: why, and the command for it."""

    steps: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Mark:
    """A rate in a chart.

    Attributes:
        at: where on the chart's axis.
        place: the same in words.
        rate: with its interval.
        frames: how many frames it is of; 0 if that is not counted.
    """

    at: float
    place: str
    rate: Rate
    frames: int = 0


@dataclass(frozen=True)
class Series:
    """The marks of one sheet, session or model.

    Attributes:
        name: in the legend.
        marks: in the order of the axis.
        look: a kind of sheet, or a number from 1 to 4 as text, for what is not one.
        line: joins the marks: ``none``, ``solid`` or ``dashed``.
    """

    name: str
    marks: Sequence[Mark]
    look: str
    line: str = "none"


@dataclass(frozen=True)
class Chart:
    """Rates along an axis, in per cent.

    Attributes:
        title: above it.
        axis: what is along its axis, with the unit.
        span: the axis' ends.
        ticks: places on the axis and their labels.
        series: what is drawn.
        across: whether rates run across the page and the axis down, as fits long labels.
        slider: the words of a slider along the axis that reads the rates; empty for none.
    """

    title: str
    axis: str
    span: tuple[float, float]
    ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    across: bool = False
    slider: str = ""


@dataclass(frozen=True)
class Charts:
    """Charts side by side, and what holds for all of them."""

    items: Sequence[Chart]
    caption: str


@dataclass(frozen=True)
class PoseTable:
    """Rates by distance (rows) and yaw (columns).

    Attributes:
        title: above it.
        grid: all pose cells.
        cells: those with frames, by row and column of the grid.
        whole: whether cells at the edges are shown where they have no frames, as those of a plan.
    """

    title: str
    grid: PoseGrid
    cells: Mapping[tuple[int, int], MapCell]
    whole: bool = False

    @property
    def rows(self) -> range:
        """Return the rows of the grid that are shown."""
        return range(len(self.grid.distances_m)) if self.whole else _between(row for row, _ in self.cells)

    @property
    def columns(self) -> range:
        """Return the columns of the grid that are shown."""
        return range(len(self.grid.yaws_deg)) if self.whole else _between(column for _, column in self.cells)


@dataclass(frozen=True)
class PoseTables:
    """Tables of rates by pose side by side, and what holds for all; where a report has a film, they choose its frames."""

    items: Sequence[PoseTable]
    caption: str


@dataclass(frozen=True)
class Shot:
    """A frame of a film.

    Attributes:
        annotated: with heat and outlines, a JPEG file.
        plain: as the camera saw it, a JPEG file; None if it was not kept.
        caption: which frame, and of what.
        facts: what was seen in it, as names and values.
        sheet: that it shows.
        cell: row and column of its pose in the report's :class:`PoseTable`; None if it has none.
        success: of the patch or the control; None if it cannot be determined.
    """

    annotated: bytes
    plain: bytes | None
    caption: str
    facts: Sequence[tuple[str, str]]
    sheet: str
    cell: tuple[int, int] | None
    success: bool | None


@dataclass(frozen=True)
class Film:
    """Frames in order of time, to move along; without scripts, and on paper, pictures side by side."""

    shots: Sequence[Shot]
    caption: str


@dataclass(frozen=True)
class Columns:
    """Blocks side by side, under a title each."""

    items: Sequence[tuple[str, Sequence["Block"]]]


Block = (
    Heading
    | Text
    | Bullets
    | Table
    | Picture
    | Gallery
    | Details
    | Links
    | Numbers
    | NextSteps
    | Charts
    | PoseTables
    | Film
    | Columns
)


def _between(places: Iterable[int]) -> range:
    indices = list(places)
    return range(min(indices), max(indices) + 1)


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title, subtitle: at its top.
        blocks: of all chapters.
        lead: the first screen, before the chapters; with one, HTML folds the chapters.
    """

    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    lead: Sequence[Block] = field(default_factory=tuple)

    @property
    def chapters(self) -> list[tuple[str, list[Block]]]:
        """Return the blocks under each heading of level 1; the first title is empty if blocks precede all headings."""
        chapters: list[tuple[str, list[Block]]] = []
        for block in self.blocks:
            if isinstance(block, Heading) and block.level == 1:
                chapters.append((block.text, []))
            else:
                if not chapters:
                    chapters.append(("", []))
                chapters[-1][1].append(block)
        return chapters
