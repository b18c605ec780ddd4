"""No class at all."""

from collections.abc import Callable
from typing import ClassVar

from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.training.targets.base import TargetChoice, TargetRule
from physpatch.victims.protocol import Victim


class Untargeted(TargetRule):
    """Away from what is truly there."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "untargeted: any wrong answer will do, and a detector is to find nothing"

    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        return TargetChoice(None, "untargeted")
