"""The windows around patches: what lies outside them is left as it is, which saves most of the pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_GROUPS = 3  # on a CPU; on a GPU, further launches cost more than pixels


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal size in some images of a batch.

    Attributes:
        images: (N,) which of the images.
        corners: (N, 2) x and y, in pixels, of the windows' top left corners.
        size: width and height in pixels.
    """

    images: Tensor
    corners: Tensor
    size: tuple[int, int]

    def rows_columns(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """List the rows (N, h) and columns (N, w) of the windows' pixels."""
        width, height = self.size
        down = self.corners[:, 1, None] + torch.arange(height)
        across = self.corners[:, 0, None] + torch.arange(width)
        return down.to(device), across.to(device)

    def views(self, images: Tensor) -> list[Tensor]:
        """Return views (C, h, w) of a batch (B, C, H, W)."""
        width, height = self.size
        corners = zip(self.images.tolist(), self.corners.tolist(), strict=True)
        return [images[image, :, y : y + height, x : x + width] for image, (x, y) in corners]

    def cut(self, images: Tensor) -> Tensor:
        """Copy the windows of a batch (B, C, H, W) into pictures (N, C, h, w)."""
        return torch.stack(self.views(images))


def windows_around(corners: Tensor, reach: Tensor, image_wh: tuple[int, int], block: int, groups: int) -> list[Windows]:
    """Find small windows that contain what lies within some distance of corners, those of similar size together.

    Args:
        corners: (B, N, 2) pixels.
        reach: (B,) distance in pixels.
        image_wh: size of all images, multiples of ``block``.
        block: windows begin and end at multiples of it, so that JPEG's blocks lie where they do in the whole image.
        groups: the number of sizes, at most.

    Returns:
        Windows in which each image occurs once.
    """
    limits = torch.tensor(image_wh)
    distance = reach[:, None]
    first = ((corners.amin(dim=1) - distance).clamp(min=0) / block).floor().long() * block
    first = first.minimum(limits - block)
    last = ((corners.amax(dim=1) + distance).ceil().minimum(limits - 1) // block).long() * block + block
    last = last.maximum(first + block)  # what lies outside of the picture, to the left or above
    sizes = last - first
    order = sizes.prod(dim=1).argsort(stable=True)
    windows: list[Windows] = []
    for images in order.tensor_split(min(groups, len(order))):
        size = sizes[images].amax(dim=0)
        if windows and windows[-1].size == image_wh:  # a further group of whole images would save no pixel
            images = torch.cat([windows.pop().images, images])
        windows.append(Windows(images, first[images].minimum(limits - size), (int(size[0]), int(size[1]))))
    return windows


def group_count(device: torch.device) -> int:
    """Return how many sizes of windows are worth their overhead on a device."""
    return _GROUPS if device.type == "cpu" else 1


def paste(canvas: Tensor, windows: Sequence[Windows], pictures: Sequence[Tensor]) -> Tensor:
    """Paste pictures, (N, C, h, w) for each of the windows, into a copy of images (B, C, H, W); gradients flow to pictures."""
    pasted: Tensor = _Paste.apply(canvas, windows, *pictures)
    return pasted


class _Paste(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, windows: Sequence[Windows], *pictures: Tensor) -> Tensor:
        ctx.windows = windows
        pasted = canvas.clone()
        for group, group_pictures in zip(windows, pictures, strict=True):
            torch._foreach_copy_(group.views(pasted), list(group_pictures.unbind()))
        return pasted

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(group.cut(gradient) for group in ctx.windows)
