"""The interface of rules that choose a target class."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.victims.protocol import Victim


@dataclass(frozen=True)
class TargetChoice:
    """A target class, or None for untargeted, with the reason in words and the candidates tried."""

    index: int | None
    how: str
    tried: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Convert the choice to JSON values."""
        return asdict(self)


Progress = Callable[[int, int, str], None]


class TargetRule(ABC):
    """A rule that chooses the target class, where ``--target`` gives its name instead of a class.

    Attributes:
        name: as in ``--target NAME``.
        summary: one line.
        others: further victims to fool at the same time, with the same classes.
        starts: the patches that the training begins with.
        progress: called by rules that take long, with the work done, all of it, and the stage in words.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    others: tuple[Victim, ...] = ()
    starts: tuple[Patch, ...] = ()
    progress: Progress = staticmethod(lambda done, total, words: None)

    @abstractmethod
    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        """Choose a class of ``victim``, or none; ``say`` receives lines about the progress."""
