"""The choice of a target class, by its name or by a rule.

A rule is a module here with a ``TargetRule``, or a class behind an entry point ``physpatch.targets``.
"""

from collections.abc import Callable, Sequence

from calibration.common.registry import Registry
from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.training.targets.base import Progress, TargetChoice, TargetRule
from physpatch.victims.protocol import Victim

TARGETS = Registry("way of choosing a target", TargetRule, __name__, "physpatch.targets")

__all__ = ["TARGETS", "TargetChoice", "TargetRule", "require_target", "resolve_target"]


def require_target(text: str, victim: Victim) -> None:
    """Check ``--target`` before anything slow: that it is a rule's name, or the name or index of a class.

    Raises:
        InputError: no rule and no class of ``victim`` has that name.
    """
    if text not in TARGETS:
        victim.category_index(text)


def resolve_target(
    text: str,
    victim: Victim,
    photographs: Photographs,
    config: TrainConfig,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
    others: Sequence[Victim] = (),
    starts: Sequence[Patch] = (),
) -> TargetChoice:
    """Resolve ``--target`` by the rule of that name, or else as the name or index of a class.

    ``progress``, ``others`` and ``starts`` are those of :class:`TargetRule`.

    Raises:
        InputError: no rule and no class of ``victim`` has that name, or the rule cannot choose.
    """
    if text in TARGETS:
        rule = TARGETS[text]()
        rule.others, rule.starts = tuple(others), tuple(starts)
        if progress is not None:
            rule.progress = progress
        return rule.choose(victim, photographs, config, say)
    return TargetChoice(victim.category_index(text), "named")
