"""Expectation over transformation: parameters are sampled as data first and applied second, so a step can be replayed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calibration.colour.colour_map import Print
from physpatch.records.eot_config import EotConfig
from physpatch.transforms import Range, all_transforms

_SEED_RANK = 150  # among the transforms' ranks, where the grain's seed is drawn, as in all earlier versions


@dataclass(frozen=True, eq=False)
class EotParams(Mapping[str, Tensor]):
    """One draw for a batch of B images: the parameters from which the pictures are computed, by name, on the CPU.

    Each transform documents what it draws. ``params["blur_px"]`` and ``params.blur_px`` are the same.

    Attributes:
        tensors: (B, ...) each. Besides the transforms' parameters there is ``place`` (B, 2) in [0, 1]: the patch's position
            between its leftmost and rightmost, topmost and bottommost places.
        grain_seed: seed of the grain, so that a replay draws the same grain.
        prints: colour maps of the measured lights.
    """

    tensors: Mapping[str, Tensor]
    grain_seed: int
    prints: tuple[Print, ...] = ()

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
        """Return the number of images."""
        return len(self.tensors["place"])

    def changed(self, prints: tuple[Print, ...] | None = None, **tensors: Tensor) -> "EotParams":
        """Return the draw with some tensors, or the colour maps, replaced."""
        return replace(self, tensors={**self.tensors, **tensors}, prints=self.prints if prints is None else prints)

    def to(self, dtype: torch.dtype) -> "EotParams":
        """Return the draw in another precision."""
        return self._each(lambda tensor: tensor.to(dtype))

    def part(self, rows: slice | Tensor) -> "EotParams":
        """Return the draw of some of the images, such as those of one of several processes."""
        return self._each(lambda tensor: tensor[rows])

    def repeated(self, times: int) -> "EotParams":
        """Return the draw repeated ``times`` times, one batch after another."""
        return self._each(lambda tensor: tensor.repeat(times, *[1] * (tensor.ndim - 1)))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "EotParams":
        return replace(self, tensors={name: change(tensor) for name, tensor in self.tensors.items()})


class BatchDraw:
    """Random numbers for a batch from a seeded generator, see :class:`physpatch.transforms.Draw`."""

    def __init__(self, batch: int, generator: torch.Generator, lights: int) -> None:
        """Prepare to draw for ``batch`` images under ``lights`` measured lights."""
        self.batch, self.lights, self._generator = batch, lights, generator

    def uniform(self, bounds: Range, *shape: int) -> Tensor:
        """Draw (B, *shape) numbers uniformly."""
        low, high = bounds
        return low + (high - low) * torch.rand(self.batch, *shape, generator=self._generator)

    def uniform_if_wide(self, bounds: Range) -> Tensor:
        """Draw (B,) numbers uniformly; for a range of a single value, repeat it without drawing."""
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
    """Project the patch's corners into the image: (B, 4, 2) pixels, clockwise from the patch's own top left.

    The patch plane is rotated by R = Ry(yaw) Rx(pitch) Rz(roll), as in ``calibration/camera/sheet_pose.py``, projected by a
    pinhole camera with a focal length of 1.2 times the longer image side, and moved so that its bounding box lies inside the
    image. Pixel centres are at whole numbers. ``patch_wh`` and ``image_wh`` are in pixels.
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
