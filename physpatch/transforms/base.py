"""What every transform of the expectation over transformation offers. Torch-free: settings are read without it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from calibration.colour.colour_map import ColourMap

if TYPE_CHECKING:
    from torch import Tensor

Range = tuple[float, float]
PRESETS = ("mild", "desk", "outdoor")
DEFAULT_PRESET = "desk"


@dataclass(frozen=True)
class Parameter:
    """A number that is drawn uniformly from a range.

    Attributes:
        neutral: at which nothing is transformed.
        limits: least and most that a range may reach.
        presets: the range of each of :data:`PRESETS`; of one that is not named, the neutral value alone.
    """

    neutral: float
    limits: Range
    presets: Mapping[str, Range]

    def preset(self, name: str) -> Range:
        """Look up the range of a preset."""
        return self.presets.get(name, (self.neutral, self.neutral))

    def clipped(self, low: float, high: float) -> Range:
        """Bring the ends of a range within the limits."""
        least, most = self.limits
        return min(max(low, least), most), min(max(high, least), most)


class Draw(Protocol):
    """Draws numbers for a batch of B images from one seeded generator."""

    lights: int  # how many measured lights there are

    def uniform(self, bounds: Range, *shape: int) -> "Tensor":
        """Draw (B, *shape) numbers uniformly."""
        ...

    def uniform_if_wide(self, bounds: Range) -> "Tensor":
        """Draw (B,) numbers; where the range is one value, draw none and repeat it."""
        ...

    def full(self, value: float) -> "Tensor":
        """Repeat a number: (B,)."""
        ...


class Params(Protocol):
    """One draw for a batch of B images: tensors with a row an image, by name."""

    prints: tuple[ColourMap, ...]

    def __getitem__(self, name: str) -> "Tensor": ...


class Transform(ABC):
    """What happens to a patch between its cells and a picture. Its numbers are sampled first and applied second.

    What it derives from says at which stage it acts: :class:`CellTransform`, :class:`LightTransform`,
    :class:`SurfaceTransform` or :class:`PictureTransform`. The camera's own geometry, lens, sensor and code, which
    ``physpatch.rendering.compositing`` knows by name, derive from this class.

    Attributes:
        name: of the transform.
        summary: one line.
        rank: the order in which transforms are sampled, and applied within a stage; ours have 10 to 170.
        parameters: the ranges that it has in a configuration, by their names there.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    rank: ClassVar[int] = 200
    parameters: ClassVar[Mapping[str, Parameter]]

    def sample(self, ranges: Mapping[str, Range], draw: Draw) -> "dict[str, Tensor]":
        """Draw the numbers of a batch by the ranges of :attr:`parameters`.

        Returns:
            Tensors (B, ...) by names of their own; as a rule a parameter's number has its name.
        """
        return {name: draw.uniform_if_wide(ranges[name]) for name in self.parameters}

    def is_idle(self, params: Params) -> bool:
        """Tell whether nothing would change for any image of the batch, so that it need not be applied."""
        return all(bool((params[name] == parameter.neutral).all()) for name, parameter in self.parameters.items())


class CellTransform(Transform):
    """Changes the cells' colours as they are printed."""

    @abstractmethod
    def apply(self, cells: "Tensor", params: Params) -> "Tensor":
        """Change cells ([B,] 3, rows, columns), sRGB in [0, 1]; give back (B, 3, rows, columns) or the shape that came."""


class LightTransform(Transform):
    """Changes the colour or strength of the light on the whole patch."""

    @abstractmethod
    def factors(self, params: Params) -> "Tensor":
        """Give factors (B, 3) on red, green and blue in linear light."""


class SurfaceTransform(Transform):
    """Changes the lit patch from place to place."""

    @abstractmethod
    def apply(self, light: "Tensor", x: "Tensor", y: "Tensor", params: Params) -> "Tensor":
        """Change linear light (B, 3, h, w) at patch coordinates ``x`` (1, 1, w) and ``y`` (1, h, 1) in [-0.5, 0.5]."""


class PictureTransform(Transform):
    """Changes the picture around the patch, as the camera has developed it and before it is coded."""

    @abstractmethod
    def apply(self, picture: "Tensor", coverage: "Tensor", params: Params) -> "Tensor":
        """Change sRGB (B, 3, h, w) in [0, 1]; ``coverage`` (B, 1, h, w) in [0, 1] tells where the patch is."""
