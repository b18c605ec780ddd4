"""How a photograph becomes a network's input, and what a user says about a model that its file does not."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from calibration.common.success import check_threshold

Task = Literal["classify", "detect"]


@dataclass(frozen=True)
class Preprocessing:
    """From photograph to input: resize the shorter side, crop the central square, normalise as (x - mean) / std.

    ``resize`` and ``size`` are in pixels; ``mean`` and ``std`` are of RGB in [0, 1]. ``bgr``: the network expects the channels
    of the normalised image in the order blue, green, red, as OpenCV reads them.
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False

    def normalise(self, images: Tensor) -> Tensor:
        """Turn (B, 3, H, W) RGB in [0, 1] into the network's input."""
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (self.mean, self.std))
        normalised = (images - mean) / std
        ordered = normalised.flip(1) if self.bgr else normalised
        return ordered.contiguous(memory_format=torch.channels_last)


PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std of a network that takes RGB in [0, 1] as it is
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Adaptation:
    """What a user says about a model, by options or in a ``model.toml``; None leaves what the model itself says.

    Attributes:
        labels: the names of its classes; see :func:`physpatch.victims.labels.read_labels`.
        size, resize, mean, std, bgr: of its :class:`Preprocessing`. A size alone is that of the shorter side, too.
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
    cam_layer: str | None = None
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    task: Task | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def preprocessing(self, usual: Preprocessing) -> Preprocessing:
        """Replace what was said in the preprocessing that the model has otherwise."""
        names = [field.name for field in fields(Preprocessing)]
        said = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.size is not None and self.resize is None:
            said["resize"] = self.size
        return replace(usual, **said)
