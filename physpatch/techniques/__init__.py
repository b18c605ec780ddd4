"""Techniques of optimising the cells: one per module here, or a class behind an entry point ``physpatch.techniques``."""

from calibration.common.registry import Registry
from physpatch.techniques.base import GradientFree, Technique

TECHNIQUES = Registry("technique", Technique, __name__, "physpatch.techniques")

__all__ = ["TECHNIQUES", "GradientFree", "Technique"]
