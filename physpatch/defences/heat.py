"""A defence that covers a window with most of the Grad-CAM heat: the saliency part of digital watermarking (Hayes 2018).

A patch draws most of the heat into a small window; on clean photographs the heat is spread more widely.
"""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window
from physpatch.evaluation.grad_cam import differentiable_heat, grad_cam
from physpatch.victims.protocol import Task

SHARE = 0.45  # of the heat inside the window, above which it is covered
_LEAST = 1e-6


class CoverHeat(Defence):
    """Defence that covers the window with the most heat, if it holds more than :data:`SHARE`."""

    name: ClassVar[str] = "heat"
    summary: ClassVar[str] = "cover the window that draws most of the Grad-CAM heat (after Hayes 2018)"
    tasks: ClassVar[tuple[Task, ...]] = ("classify",)
    needs_heat: ClassVar[bool] = True
    suspects: ClassVar[bool] = True

    def __call__(self, images: Tensor) -> Tensor:
        with grad_cam(self.victim) as mapper:
            _, maps = mapper.top(images)
        heat = torch.from_numpy(maps).to(images)[:, None]
        share, window = _share_in_window(heat)
        return torch.where((share > SHARE)[:, None, None, None], covered(images, window), images)

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Leave the images uncovered, and say by how much their heat crowds, through the gradient that Grad-CAM is made of."""
        share, _ = _share_in_window(differentiable_heat(self.victim, images)[:, None])
        return Attacked(images, (share.clamp(min=_LEAST) / SHARE).log())


def _share_in_window(heat: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the share of the heat (B, 1, H, W) in the window with most of it, (B,), and the window (B, 1, H, W)."""
    window = densest_window(heat.detach())
    return (heat * window).sum(dim=(1, 2, 3)) / heat.sum(dim=(1, 2, 3)).clamp(min=_LEAST), window
