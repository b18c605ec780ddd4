"""The interface of defences."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from physpatch.victims.protocol import Task, Victim


class Defence(ABC):
    """A defence cleans the images that a victim receives. It is created for one victim, as its guard.

    Attributes:
        name: as in ``--defence NAME``.
        summary: one line for ``--defence list``, with its source.
        tasks: the tasks of victims that it can defend.
        needs_heat: whether it looks at the victim's Grad-CAM.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "detect")
    needs_heat: ClassVar[bool] = False

    def __init__(self, victim: Victim) -> None:
        """Prepare to defend ``victim``."""
        self.victim = victim

    @classmethod
    def fits(cls, victim: Victim) -> bool:
        """Tell whether this defence can defend a victim."""
        return victim.task in cls.tasks and (victim.explains or not cls.needs_heat)

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Clean images (B, 3, H, W), RGB in [0, 1], each independently; return images in the same form."""
