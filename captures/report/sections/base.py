"""The base class of a report's sections."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from captures.gap.decomposition import Gap
from captures.report.blocks import Block
from captures.results.recorded_session import RecordedSession


@dataclass(frozen=True)
class Material:
    """The input of a section.

    Attributes:
        session: the recorded session.
        gaps: results of the replay, one per replayed model.
        troubles: reasons why other models were not replayed, in words.
        path: of the report.
    """

    session: RecordedSession
    gaps: Sequence[Gap]
    troubles: Sequence[str]
    path: Path


class ReportSection(ABC):
    """A section of a session's report.

    Attributes:
        name: of the section.
        summary: one line about its content.
        heading: title of the section.
        rank: sections with a lower rank come first; built-in sections have 10 to 80.
        level: of the heading; 2 continues the previous chapter.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    heading: ClassVar[str]
    rank: ClassVar[int] = 100
    level: ClassVar[int] = 1

    @abstractmethod
    def blocks(self, material: Material) -> Iterator[Block]:
        """Yield the blocks of the section; a section without blocks is omitted with its heading."""
