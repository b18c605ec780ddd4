"""Expectation over transformation (Athalye et al. 2018, section 2), a transform a module.

A transform is one class here, or a class behind an entry point ``physpatch.transforms``: its ranges by preset, their limits
and neutral values, how it is sampled, and what it does. Nothing here loads torch before something is drawn.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from calibration.common.registry import Registry
from physpatch.transforms.base import (
    DEFAULT_PRESET,
    PRESETS,
    CellTransform,
    Draw,
    LightTransform,
    Parameter,
    Params,
    PictureTransform,
    Range,
    SurfaceTransform,
    Transform,
)

TRANSFORMS = Registry("transform", Transform, __name__, "physpatch.transforms")

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "TRANSFORMS",
    "CellTransform",
    "Draw",
    "LightTransform",
    "Parameter",
    "Params",
    "PictureTransform",
    "Range",
    "SurfaceTransform",
    "Transform",
    "all_transforms",
    "parameters",
    "transforms_of",
]

Stage = TypeVar("Stage", bound=Transform)


@cache
def all_transforms() -> tuple[Transform, ...]:
    """Give one of each transform, in the order of their ranks."""
    return tuple(sorted((transform() for transform in TRANSFORMS.values()), key=lambda transform: transform.rank))


@cache
def transforms_of(stage: type[Stage]) -> tuple[Stage, ...]:
    """Give those that act at a stage, in the order of their ranks."""
    return tuple(transform for transform in all_transforms() if isinstance(transform, stage))


@cache
def parameters() -> Mapping[str, Parameter]:
    """Give every range that a configuration has, by its name."""
    return {name: one for transform in all_transforms() for name, one in transform.parameters.items()}
