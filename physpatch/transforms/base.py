"""The interface of transforms for expectation over transformation. Torch-free, so that settings are read without it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from calibration.colour.colour_map import Print

if TYPE_CHECKING:
    from torch import Tensor

Range = tuple[float, float]
PRESETS = ("mild", "desk", "outdoor")
DEFAULT_PRESET = "desk"


@dataclass(frozen=True)
class Parameter:
    """A number that is drawn uniformly from a range.

    Attributes:
        neutral: the value that changes nothing.
        limits: the lowest and highest value that a range may include.
        presets: ranges by the names in :data:`PRESETS`; a missing one contains only the neutral value.
    """

    neutral: float
    limits: Range
    presets: Mapping[str, Range]

    def preset(self, name: str) -> Range:
        """Return the range of a preset."""
        return self.presets.get(name, (self.neutral, self.neutral))

    def clipped(self, low: float, high: float) -> Range:
        """Clip the ends of a range to the limits."""
        least, most = self.limits
        return min(max(low, least), most), min(max(high, least), most)


class Draw(Protocol):
    """Random numbers for a batch of B images from a seeded generator."""

    lights: int  # number of measured lights

    def uniform(self, bounds: Range, *shape: int) -> "Tensor":
        """Draw (B, *shape) numbers uniformly."""
        ...

    def uniform_if_wide(self, bounds: Range) -> "Tensor":
        """Draw (B,) numbers uniformly; for a range of a single value, repeat it without drawing."""
        ...

    def full(self, value: float) -> "Tensor":
        """Repeat a number: (B,)."""
        ...


class Params(Protocol):
    """One draw for a batch of B images: tensors with a row per image, by name."""

    prints: tuple[Print, ...]

    def __getitem__(self, name: str) -> "Tensor": ...


class Transform(ABC):
    """A change of the patch between its cells and the picture. Its parameters are sampled first and applied later.

    The base class determines the stage: :class:`CellTransform`, :class:`LightTransform`, :class:`SurfaceTransform` or
    :class:`PictureTransform`. The camera's geometry, lens, sensor and JPEG, which ``physpatch.rendering.compositing`` applies
    by name, derive from this class directly.

    Attributes:
        name: of the transform.
        summary: one line.
        rank: the order in which transforms are sampled, and applied within a stage; those of physpatch have 10 to 190.
        parameters: its ranges in a configuration, by their names there.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rank: ClassVar[int] = 200
    parameters: ClassVar[Mapping[str, Parameter]]

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        """Draw the parameters of a batch from the ranges of :attr:`parameters`.

        Returns:
            Tensors (B, ...) by name, usually that of the parameter.
        """
        return {name: draw.uniform_if_wide(ranges[name]) for name in self.parameters}

    def is_idle(self, params: Params) -> bool:
        """Tell whether the transform would change no image of the batch, so that it need not be applied."""
        return all(bool((params[name] == parameter.neutral).all()) for name, parameter in self.parameters.items())


class CellTransform(Transform):
    """A change of the cells' colours in print."""

    @abstractmethod
    def apply(self, cells: "Tensor", params: Params) -> "Tensor":
        """Change cells ([B,] 3, rows, columns), sRGB in [0, 1]; return (B, 3, rows, columns) or the input's shape."""


class LightTransform(Transform):
    """A change of the colour or strength of the light on the whole patch."""

    @abstractmethod
    def factors(self, params: Params) -> "Tensor":
        """Compute factors (B, 3) on red, green and blue in linear light."""


class SurfaceTransform(Transform):
    """A change of the lit patch that varies over its surface."""

    @abstractmethod
    def apply(self, light: "Tensor", x: "Tensor", y: "Tensor", params: Params) -> "Tensor":
        """Change linear light (B, 3, h, w) at patch coordinates ``x`` (1, 1, w) and ``y`` (1, h, 1) in [-0.5, 0.5]."""


class PictureTransform(Transform):
    """A change of the picture around the patch, after the camera's tone curve and before JPEG."""

    @abstractmethod
    def apply(self, picture: "Tensor", coverage: "Tensor", params: Params) -> "Tensor":
        """Change pictures (B, 3, h, w), sRGB in [0, 1]; ``coverage`` (B, 1, h, w) in [0, 1] is the opacity of the patch."""
