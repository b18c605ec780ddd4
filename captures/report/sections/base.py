"""What every section of a session's report offers."""

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
    """What a section is written from.

    Attributes:
        session: as it was recorded.
        gaps: what the replay found, of each model and measure that it could replay.
        troubles: why it could not, in words.
        path: of the report itself.
    """

    session: RecordedSession
    gaps: Sequence[Gap]
    troubles: Sequence[str]
    path: Path


class ReportSection(ABC):
    """A chapter of a session's report.

    Attributes:
        name: of the section.
        summary: one line: what it tells.
        heading: over it.
        rank: the lower, the earlier it stands; ours have 10 to 70.
        level: of the heading; 2 continues the section before it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    heading: ClassVar[str]
    rank: ClassVar[int] = 100
    level: ClassVar[int] = 1

    @abstractmethod
    def blocks(self, material: Material) -> Iterator[Block]:
        """Write the section; one without blocks is left out, heading and all."""
