"""The transforms of expectation over transformation (Athalye et al. 2018, section 2), one per module.

A transform is a class here, or behind an entry point ``physpatch.transforms``. It declares its ranges by preset, their limits
and neutral values, how it is sampled and how it is applied. Nothing here loads torch until something is drawn.
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
    """Create one of each transform, in the order of their ranks."""
    return tuple(sorted((transform() for transform in TRANSFORMS.values()), key=lambda transform: transform.rank))


@cache
def transforms_of(stage: type[Stage]) -> tuple[Stage, ...]:
    """Select the transforms that act at a stage, in the order of their ranks."""
    return tuple(transform for transform in all_transforms() if isinstance(transform, stage))


@cache
def parameters() -> Mapping[str, Parameter]:
    """Return every parameter of the transforms, by name."""
    return {name: parameter for kind in all_transforms() for name, parameter in kind.parameters.items()}
