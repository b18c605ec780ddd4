"""Expectation over transformation: parameters are sampled as data first and applied second, so a step can be replayed."""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from physpatch.config import EotConfig, Range


@dataclass(frozen=True)
class EotParams:
    """One draw for a batch of B images. Every tensor is float32 on the device of the images.

    Attributes:
        place: (B, 2) in [0, 1]: where between the leftmost and rightmost, topmost and bottommost place the patch lies.
        roll_deg, yaw_deg, pitch_deg, scale, gain, gamma, temperature, blur_px, noise: (B,), see :class:`EotConfig`.
        shadow: (B,) depth; shadow_angle: (B,) radians; shadow_offset: (B,) in patch sides from the centre.
        noise_seed: seed of the noise field, so that a replay draws the same grain.
    """

    place: Tensor
    roll_deg: Tensor
    yaw_deg: Tensor
    pitch_deg: Tensor
    scale: Tensor
    gain: Tensor
    gamma: Tensor
    temperature: Tensor
    shadow: Tensor
    shadow_angle: Tensor
    shadow_offset: Tensor
    blur_px: Tensor
    noise: Tensor
    noise_seed: int

    def __len__(self) -> int:
        return len(self.place)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "EotParams":
        """The same draw on another device, or in another precision."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "noise_seed"}
        return replace(self, **{name: tensor.to(device=device, dtype=dtype) for name, tensor in tensors.items()})


def sample(config: EotConfig, batch: int, generator: torch.Generator) -> EotParams:
    """Draw parameters for ``batch`` images from a CPU ``generator``."""

    def uniform(bounds: Range) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand(batch, generator=generator)

    return EotParams(
        place=torch.rand(batch, 2, generator=generator),
        roll_deg=uniform(config.rotation_deg),
        yaw_deg=uniform(config.tilt_deg),
        pitch_deg=uniform(config.tilt_deg),
        scale=uniform(config.scale),
        gain=uniform(config.gain),
        gamma=uniform(config.gamma),
        temperature=uniform(config.temperature),
        shadow=uniform(config.shadow),
        shadow_angle=uniform((0.0, 2 * math.pi)),
        shadow_offset=uniform((-0.4, 0.4)),
        blur_px=uniform(config.blur_px),
        noise=uniform(config.noise),
        noise_seed=int(torch.randint(2**31, (1,), generator=generator)),
    )


def patch_corners(params: EotParams, patch_wh: tuple[float, float], image_wh: tuple[int, int]) -> Tensor:
    """Where the patch's corners fall in the image: (B, 4, 2) pixels, clockwise from the patch's own top left.

    The patch plane is rotated by R = Ry(yaw) Rx(pitch) Rz(roll), as in ``calibration/pose.py``, seen through a pinhole
    camera of focal length 1.2 times the longer image side, and moved so that its bounding box lies inside the image.
    Pixel centres are at whole numbers.
    """
    width, height = patch_wh
    device = params.place.device
    square = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], device=device) * torch.tensor(
        [width, height], device=device
    )
    x, y = (square[None] * params.scale[:, None, None]).unbind(-1)  # (B, 4) each
    roll, yaw, pitch = (torch.deg2rad(a)[:, None] for a in (params.roll_deg, params.yaw_deg, params.pitch_deg))
    x, y = x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos()
    y, z = y * pitch.cos(), y * pitch.sin()
    x, z = x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin()
    depth = 1 + z / (1.2 * max(image_wh))
    corners = torch.stack([x / depth, y / depth], dim=-1)
    least, most = corners.amin(dim=1), corners.amax(dim=1)
    room = torch.tensor(image_wh, device=device) - (most - least)
    # A patch wider than the image is centred on it instead of being pushed to a random side.
    origin = torch.where(room > 0, params.place * room, room / 2)
    return corners - least[:, None] + origin[:, None] - 0.5
