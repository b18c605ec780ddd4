"""Expectation over transformation: parameters are sampled as data first and applied second, so a step can be replayed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from calibration.colour.colour_map import ColourMap
from physpatch.records.eot_config import EotConfig
from physpatch.transforms import Range, all_transforms

_SEED_RANK = 150  # of the transforms, where the grain's seed is drawn: as it always was, between jpeg and light
_PLAIN = ("grain_seed", "prints")  # what a draw holds besides tensors with a row an image


@dataclass(frozen=True, eq=False)
class EotParams(Mapping[str, Tensor]):
    """One draw for a batch of B images, on the CPU: the small numbers from which every picture is computed, by name.

    Each transform tells what it draws. ``params["blur_px"]`` and ``params.blur_px`` are the same.

    Attributes:
        tensors: (B, ...) each; ``place`` (B, 2) in [0, 1] besides what the transforms draw: where between the leftmost and
            rightmost, topmost and bottommost place the patch lies.
        grain_seed: seed of the grain, so that a replay draws the same.
        prints: the measured lights' colour maps.
    """

    tensors: Mapping[str, Tensor]
    grain_seed: int
    prints: tuple[ColourMap, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __getattr__(self, name: str) -> Tensor:
        tensors = self.__dict__.get("tensors", {})
        if name not in tensors:
            raise AttributeError(f"this draw holds no {name!r}")
        tensor: Tensor = tensors[name]
        return tensor

    @property
    def batch(self) -> int:
        """How many images it is for."""
        return len(self.tensors["place"])

    def changed(self, prints: tuple[ColourMap, ...] | None = None, **tensors: Tensor) -> "EotParams":
        """Give the same draw with some numbers, or the measured maps, replaced."""
        return replace(self, tensors={**self.tensors, **tensors}, prints=self.prints if prints is None else prints)

    def to(self, dtype: torch.dtype) -> "EotParams":
        """Give the same draw in another precision."""
        return self._each(lambda tensor: tensor.to(dtype))

    def part(self, rows: slice | Tensor) -> "EotParams":
        """Give the draw of some of the images: what each of several processes works on."""
        return self._each(lambda tensor: tensor[rows])

    def repeated(self, times: int) -> "EotParams":
        """Give the draw several times over, one batch after another."""
        return self._each(lambda tensor: tensor.repeat(times, *[1] * (tensor.ndim - 1)))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for a log or a replay."""
        plain = {name: tensor.tolist() for name, tensor in self.tensors.items()}
        return plain | {"grain_seed": self.grain_seed, "prints": [one.to_dict() for one in self.prints]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "EotParams":
        """Read :meth:`to_dict`'s output back; numbers of transforms that were not there yet are neutral."""
        tensors = {name: torch.tensor(numbers) for name, numbers in value.items() if name not in _PLAIN}
        batch = len(tensors["place"])
        absent = [one.parameters for one in all_transforms() if not one.parameters.keys() & tensors.keys()]
        neutral = {name: torch.full((batch,), one.neutral) for ranges in absent for name, one in ranges.items()}
        prints = tuple(ColourMap.from_dict(one) for one in value.get("prints", ()))
        return cls(neutral | tensors, value["grain_seed"], prints)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "EotParams":
        return replace(self, tensors={name: change(tensor) for name, tensor in self.tensors.items()})


class BatchDraw:
    """Draws numbers for a batch from a seeded generator, see :class:`physpatch.transforms.Draw`."""

    def __init__(self, batch: int, generator: torch.Generator, lights: int) -> None:
        """Draw for ``batch`` images; ``lights`` is how many measured lights there are."""
        self.batch, self.lights, self._generator = batch, lights, generator

    def uniform(self, bounds: Range, *shape: int) -> Tensor:
        """Draw (B, *shape) numbers uniformly."""
        low, high = bounds
        return low + (high - low) * torch.rand(self.batch, *shape, generator=self._generator)

    def uniform_if_wide(self, bounds: Range) -> Tensor:
        """Draw (B,) numbers; where the range is one value, draw none and repeat it."""
        low, high = bounds
        return self.uniform(bounds) if low < high else self.full(low)

    def full(self, value: float) -> Tensor:
        """Repeat a number: (B,)."""
        return torch.full((self.batch,), value)


def sample(config: EotConfig, batch: int, generator: torch.Generator) -> EotParams:
    """Draw parameters for ``batch`` images from a CPU ``generator``, transform by transform in the order of their ranks."""
    draw, ranges = BatchDraw(batch, generator, len(config.prints)), config.ranges
    tensors = {"place": draw.uniform((0.0, 1.0), 2)}
    for transform in all_transforms():
        if transform.rank < _SEED_RANK:
            tensors |= transform.sample(ranges, draw)
    grain_seed = int(torch.randint(2**31, (1,), generator=generator))
    for transform in all_transforms():
        if transform.rank >= _SEED_RANK:
            tensors |= transform.sample(ranges, draw)
    return EotParams(tensors, grain_seed, config.prints)


def patch_corners(params: EotParams, patch_wh: tuple[float, float], image_wh: tuple[int, int]) -> Tensor:
    """Where the patch's corners fall in the image: (B, 4, 2) pixels, clockwise from the patch's own top left.

    The patch plane is rotated by R = Ry(yaw) Rx(pitch) Rz(roll), as in ``calibration/camera/sheet_pose.py``, seen through a
    pinhole camera of focal length 1.2 times the longer image side, and moved so that its bounding box lies inside the
    image. Pixel centres are at whole numbers.
    """
    width, height = patch_wh
    square = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]) * torch.tensor([width, height])
    x, y = (square[None] * params.scale[:, None, None]).unbind(-1)  # (B, 4) each
    roll, yaw, pitch = (torch.deg2rad(a)[:, None] for a in (params.roll_deg, params.yaw_deg, params.pitch_deg))
    x, y = x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos()
    y, z = y * pitch.cos(), y * pitch.sin()
    x, z = x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin()
    depth = 1 + z / (1.2 * max(image_wh))
    corners = torch.stack([x / depth, y / depth], dim=-1)
    least, most = corners.amin(dim=1), corners.amax(dim=1)
    room = torch.tensor(image_wh) - (most - least)
    # A patch wider than the image is centred on it instead of being pushed to a random side.
    origin = torch.where(room > 0, params.place * room, room / 2)
    return corners - least[:, None] + origin[:, None] - 0.5
