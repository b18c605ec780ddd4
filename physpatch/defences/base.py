"""The interface of defences."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.victims.protocol import Task, Victim


class Defence(ABC):
    """A defence cleans the images that a victim receives. It is created for one victim.

    Attributes:
        name: as in ``--defence NAME``.
        summary: one line for ``--defence list``, with its source.
        tasks: the tasks of victims that it can defend.
        needs_heat: whether it looks at the victim's Grad-CAM.
        suspects: whether it leaves images alone that do not look suspicious.
        certifies: whether it can prove of an image that no patch changes its answer, see :meth:`certified`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "detect")
    needs_heat: ClassVar[bool] = False
    suspects: ClassVar[bool] = False
    certifies: ClassVar[bool] = False

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

    def defended(self) -> Victim:
        """Put the victim behind this defence, as a new victim."""
        return replace(self.victim, guard=self.guard)

    def guard(self, images: Tensor) -> Tensor:
        """Clean images; the backward pass treats the defence as the identity (BPDA, Athalye et al. 2018, section 4.1)."""
        return self(images.detach()) + (images - images.detach())

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Prepare images (B, 3, H, W) for an attacker who knows the defence, with a gradient that means something.

        By default what :meth:`guard` does, which is right for a defence that changes images little. One with a gradient of
        its own returns that. One that covers what looks suspicious returns the images as they are, with their suspicion: to
        remain uncovered is then a term of the loss of its own (Tramèr et al. 2020, section 4). One that looks at several
        versions of an image chooses one of them by ``draws`` (B,), in [0, 1).
        """
        return Attacked(self.guard(images))

    def certified(self, images: Tensor, labels: Tensor) -> Tensor:
        """Tell which clean images (B, 3, H, W) no patch of the size defended against can have answered wrongly, (B,) bool."""
        raise NotImplementedError(f"{self.name} has no certificate")
