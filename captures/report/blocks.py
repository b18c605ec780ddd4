"""The blocks of a report, from which both HTML and PDF are written."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

PLOT_DPI = 130  # of pictures without a relative width


@dataclass(frozen=True)
class Heading:
    """A heading: level 1 for a chapter, level 2 for a section of it."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph. ``kind`` is ``plain``, ``soft`` for explanations, or ``lead`` for key statements."""

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


Block = Heading | Text | Bullets | Table | Picture | Gallery | Details | Links


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple)
