"""What every defence offers."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from physpatch.victims.protocol import Task, Victim


class Defence(ABC):
    """Cleans what a victim is shown. One is made for each victim, and is that victim's guard.

    Attributes:
        name: as in ``--defence NAME``.
        summary: one line for ``--defence list``, with its source.
        tasks: of the victims that it can defend.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "detect")

    def __init__(self, victim: Victim) -> None:
        """Prepare to defend ``victim``."""
        self.victim = victim

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Clean images (B, 3, H, W), RGB in [0, 1], each by itself; give back the same."""
