"""What every way of choosing a target class offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.victims.protocol import Victim


@dataclass(frozen=True)
class TargetChoice:
    """A target class, or None for untargeted, with the reason in words and the candidates that were tried."""

    index: int | None
    how: str
    tried: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


class TargetRule(ABC):
    """A way of choosing the class, for which ``--target`` is given the rule's name instead of a class's.

    Attributes:
        name: as in ``--target NAME``.
        summary: one line.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        """Choose a class of ``victim``, or none; ``say`` receives what a person wants to know meanwhile."""
