"""How a photograph becomes a network's input, and what a user says about a model that its file does not."""

import math
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from calibration.common.errors import InputError
from calibration.common.success import check_threshold

LARGEST_SIZE, LARGEST_RESIZE = 4096, 8192  # pixels
LEAST_STD = 1e-9  # what is smaller is a slip, and float32 would soon divide by 0

Task = Literal["classify", "detect"]
Interpolation = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Preprocessing:
    """From photograph to input: resize the shorter side, crop the central square, normalise as (x - mean) / std.

    ``resize`` and ``size`` are in pixels; ``mean`` and ``std`` are of RGB in [0, 1]. ``bgr``: the network expects the channels
    of the normalised image in the order blue, green, red, as OpenCV reads them. ``interpolation`` and ``squash`` are those of
    photographs from files; a camera's square is given by the session. ``squash``: both sides are resized to ``resize``, so that
    nothing but the shape of the photograph is lost.
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False
    interpolation: Interpolation = "bicubic"
    squash: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (("size", 1, LARGEST_SIZE), ("resize", 1, LARGEST_RESIZE)):
            object.__setattr__(self, name, _side(name, getattr(self, name), least, most))
        if self.resize < self.size:
            raise InputError(
                f"resize is {self.resize}, which leaves less than the central square of size {self.size}; expected {self.size} "
                "or more"
            )
        object.__setattr__(self, "mean", _channels("mean", self.mean))
        object.__setattr__(self, "std", _channels("std", self.std))
        if min(self.std) < LEAST_STD:
            raise InputError(
                f"std is {self.std}; expected three numbers above 0, because what is normalised is divided by it"
            )

    def normalise(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) RGB in [0, 1] into the network's input."""
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        normalised = (images - mean) / std
        ordered = normalised.flip(1) if self.bgr else normalised
        return ordered.contiguous(memory_format=torch.channels_last)


def _side(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise InputError(
            f"{name} is {value!r}; expected the side of a square in pixels, one whole number from {least} to {most}"
        )
    return int(value)


def _channels(name: str, values: Any) -> tuple[float, float, float]:
    """Check numbers for red, green and blue, in whatever sequence they are."""
    try:
        listed = [] if isinstance(values, str) else list(values)
    except TypeError:
        listed = []
    numbers = [float(v) for v in listed if not isinstance(v, bool) and isinstance(v, Real) and math.isfinite(v)]
    if len(listed) != 3 or len(numbers) != 3:
        raise InputError(f"{name} is {values!r}; expected three finite numbers, for red, green and blue")
    red, green, blue = numbers
    return red, green, blue


def as_published(usual: Preprocessing, interpolation: str | None, fit: str | None) -> tuple[Preprocessing, str]:
    """Add to a preprocessing how its library resizes photographs and fits them into the square.

    Args:
        usual: with the central square of the shorter side.
        interpolation: the library's name for it; None for its usual one.
        fit: timm's crop_mode, or open_clip's resize_mode; None for the usual one.

    Returns:
        The preprocessing, and what of it is done otherwise, in words; empty for nothing.
    """
    matches = [name for name in get_args(Interpolation) if name == interpolation]
    odd = []
    if interpolation is not None and not matches:
        odd.append(f"interpolation {interpolation}")
    if fit not in (None, "center", "shortest", "squash"):
        odd.append(f"fit {fit}")
    preprocessing = replace(usual, interpolation=matches[0] if matches else usual.interpolation, squash=fit == "squash")
    words, shape = " and ".join(odd), "the whole squashed to a square" if preprocessing.squash else "the central square"
    consequence = (
        f"{preprocessing.interpolation} interpolation and {shape} are used, so its accuracy may be lower than published"
    )
    return preprocessing, f"its own preprocessing has {words}; {consequence}" if odd else ""


PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std of a network that takes RGB in [0, 1] as it is
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Adaptation:
    """What a user says about a model, by options or in a ``model.toml``; None leaves what the model itself says.

    Attributes:
        labels: the names of its classes; see :func:`physpatch.victims.labels.read_labels`.
        size, resize, mean, std, bgr, interpolation, squash: of its :class:`Preprocessing`. A size alone is that of the shorter
            side, too.
        cam_layer: name of the layer for Grad-CAM.
        prompts: texts with ``{}`` for the class, for a model that compares pictures with texts.
        threshold: the lowest confidence, between 0 and 1, at which its answers count.
        task: what it is there for, which only a model that could be either needs to be told.
    """

    labels: str | Path | None = None
    size: int | None = None
    resize: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool | None = None
    interpolation: Interpolation | None = None
    squash: bool | None = None
    cam_layer: str | None = None
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    task: Task | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def preprocessing(self, usual: Preprocessing) -> Preprocessing:
        """Replace what was said in the preprocessing that the model has otherwise."""
        names = {field.name for field in fields(Preprocessing)} & {field.name for field in fields(self)}
        values = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.size is not None and self.resize is None:
            values["resize"] = self.size
        return replace(usual, **values)
