"""Untargeted attacks."""

from collections.abc import Callable
from typing import ClassVar

from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.training.targets.base import TargetChoice, TargetRule
from physpatch.victims.protocol import Victim


class Untargeted(TargetRule):
    """Rule that chooses no class."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "untargeted: any wrong answer counts, and a detector should detect nothing"

    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        return TargetChoice(None, "untargeted")
