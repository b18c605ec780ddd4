"""What a report is made of, whatever it is written as: HTML and PDF draw the same blocks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

PLOT_DPI = 130  # of a picture that has its own width


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 for a chapter, 2 within one."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph. ``kind`` is ``plain``, ``soft`` for what explains, ``lead`` for what is to be read first."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Headings and rows of text; the rows whose numbers are in ``strong`` stand out. ``caption`` explains."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A packed PNG or JPEG. ``share`` is its part of the page's width, None its own size; ``pixelated`` keeps cells sharp."""

    data: bytes
    caption: str
    share: float | None = None
    pixelated: bool = False

    @property
    def kind(self) -> str:
        """``png`` or ``jpeg``."""
        return "png" if self.data.startswith(b"\x89PNG") else "jpeg"

    @property
    def width_px(self) -> int:
        """Of the picture itself."""
        with Image.open(io.BytesIO(self.data)) as opened:
            return opened.width


@dataclass(frozen=True)
class Gallery:
    """Small pictures side by side."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Details:
    """Text of a machine, folded away where that can be."""

    summary: str
    text: str


@dataclass(frozen=True)
class Links:
    """Files beside the report: what each is, and its path seen from the report."""

    files: Sequence[tuple[str, str]]


Block = Heading | Text | Bullets | Table | Picture | Gallery | Details | Links


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple)
