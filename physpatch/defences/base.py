"""What every defence offers."""

from collections.abc import Callable
from dataclasses import dataclass

from physpatch.victims.protocol import Guard, Task, Victim


@dataclass(frozen=True)
class Defence:
    """One row of ``--defence list``.

    Attributes:
        summary: one line, with its source.
        guard_for: makes what cleans this victim's images: (B, 3, H, W) RGB in [0, 1] to the same, each image by itself.
        tasks: of the victims that it can defend.
    """

    summary: str
    guard_for: Callable[[Victim], Guard]
    tasks: tuple[Task, ...] = ("classify", "detect")
