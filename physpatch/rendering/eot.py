"""Expectation over transformation: parameters are sampled as data first and applied second, so a step can be replayed."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from calibration.colour.colour_map import ColourMap
from physpatch.records.config import EotConfig, Range
from physpatch.rendering.transforms.lens import BEND_POINTS

_PLAIN = ("grain_seed", "prints")  # what a draw holds besides tensors with a row an image


@dataclass(frozen=True)
class EotParams:
    """One draw for a batch of B images, on the CPU: the small numbers from which every picture is computed.

    Attributes:
        place: (B, 2) in [0, 1]: where between the leftmost and rightmost, topmost and bottommost place the patch lies.
        roll_deg, yaw_deg, pitch_deg, scale, bend, gain, shadow, glare, blur_px, motion_px, temperature, tint, noise, gamma,
            jpeg: (B,), see :class:`EotConfig`.
        bend_shape: (B, 9, 2) in [-1, 1]: which way the paper's 3×3 lattice is drawn.
        shadow_angle: (B,) radians; shadow_offset: (B,) in patch sides from the centre.
        glare_place: (B, 2) in patch sides from the centre; glare_size: (B,) standard deviation in patch sides.
        motion_angle: (B,) radians.
        grain_place: (B, 2) in [0, 1]: which part of the step's grain this image gets.
        light: (B,) in [0, 1): under which of the measured lights the print is seen; 0 where none was measured.
        grain_seed: seed of the grain, so that a replay draws the same.
        prints: the measured lights' colour maps.
    """

    place: Tensor
    roll_deg: Tensor
    yaw_deg: Tensor
    pitch_deg: Tensor
    scale: Tensor
    bend: Tensor
    bend_shape: Tensor
    gain: Tensor
    shadow: Tensor
    shadow_angle: Tensor
    shadow_offset: Tensor
    glare: Tensor
    glare_place: Tensor
    glare_size: Tensor
    blur_px: Tensor
    motion_px: Tensor
    motion_angle: Tensor
    temperature: Tensor
    tint: Tensor
    noise: Tensor
    grain_place: Tensor
    gamma: Tensor
    jpeg: Tensor
    light: Tensor
    grain_seed: int
    prints: tuple[ColourMap, ...] = ()

    def __len__(self) -> int:
        return len(self.place)

    def to(self, dtype: torch.dtype) -> "EotParams":
        """The same draw in another precision."""
        return self._each(lambda tensor: tensor.to(dtype))

    def part(self, rows: slice | Tensor) -> "EotParams":
        """The draw of some of the images: what each of several processes works on."""
        return self._each(lambda tensor: tensor[rows])

    def repeated(self, times: int) -> "EotParams":
        """The draw several times over, one batch after another."""
        return self._each(lambda tensor: tensor.repeat(times, *[1] * (tensor.ndim - 1)))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for a log or a replay."""
        plain = {f.name: v.tolist() if isinstance(v := getattr(self, f.name), Tensor) else v for f in fields(self)}
        return plain | {"prints": [one.to_dict() for one in self.prints]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "EotParams":
        """Read :meth:`to_dict`'s output back."""
        tensors: dict[str, Any] = {k: torch.tensor(v) for k, v in value.items() if k not in _PLAIN}
        tensors.setdefault("tint", torch.ones_like(tensors["temperature"]))  # of draws from before there was one
        prints = tuple(ColourMap.from_dict(one) for one in value.get("prints", ()))
        return cls(grain_seed=value["grain_seed"], prints=prints, **tensors)

    def _each(self, change: Any) -> "EotParams":
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _PLAIN}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items()})


def sample(config: EotConfig, batch: int, generator: torch.Generator) -> EotParams:
    """Draw parameters for ``batch`` images from a CPU ``generator``."""

    def uniform(bounds: Range, *shape: int) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand(batch, *shape, generator=generator)

    def uniform_if_wide(bounds: Range) -> Tensor:
        low, high = bounds
        return uniform(bounds) if low < high else torch.full((batch,), low)

    circle = (0.0, 2 * math.pi)
    return EotParams(
        place=uniform((0.0, 1.0), 2),
        roll_deg=uniform(config.rotation_deg),
        yaw_deg=uniform(config.tilt_deg),
        pitch_deg=uniform(config.tilt_deg),
        scale=uniform(config.scale),
        bend=uniform(config.bend),
        bend_shape=uniform((-1.0, 1.0), BEND_POINTS, 2),
        gain=uniform(config.gain),
        shadow=uniform(config.shadow),
        shadow_angle=uniform(circle),
        shadow_offset=uniform((-0.4, 0.4)),
        glare=uniform(config.glare),
        glare_place=uniform((-0.6, 0.6), 2),
        glare_size=uniform((0.1, 0.3)),
        blur_px=uniform(config.blur_px),
        motion_px=uniform(config.motion_px),
        motion_angle=uniform(circle),
        temperature=uniform(config.temperature),
        noise=uniform(config.noise),
        grain_place=uniform((0.0, 1.0), 2),
        gamma=uniform(config.gamma),
        jpeg=uniform(config.jpeg),
        grain_seed=int(torch.randint(2**31, (1,), generator=generator)),
        # drawn last and only where they count, so that the draws of runs without them stay as they were
        light=uniform((0.0, 1.0)) if len(config.prints) > 1 else torch.zeros(batch),
        tint=uniform_if_wide(config.tint),
        prints=config.prints,
    )


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
