"""The blocks of a report, from which both HTML and PDF are written."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

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


Block = Heading | Text | Bullets | Table | Picture | Gallery | Details | Links | Numbers | NextSteps


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
