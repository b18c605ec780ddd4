"""A defence that covers a window with most of the Grad-CAM heat: the saliency part of digital watermarking (Hayes 2018).

A patch draws most of the heat into a small window; on clean photographs the heat is spread more widely.
"""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.protocol import Task

SHARE = 0.45  # of the heat inside the window, above which it is covered


class CoverHeat(Defence):
    """Defence that covers the window with the most heat, if it holds more than :data:`SHARE`."""

    name: ClassVar[str] = "heat"
    summary: ClassVar[str] = "cover the window that draws most of the Grad-CAM heat (after Hayes 2018)"
    tasks: ClassVar[tuple[Task, ...]] = ("classify",)
    needs_heat: ClassVar[bool] = True

    def __call__(self, images: Tensor) -> Tensor:
        with grad_cam(self.victim) as mapper:
            _, maps = mapper.top(images)
        heat = torch.from_numpy(maps).to(images)[:, None]
        window = densest_window(heat)
        total = heat.sum(dim=(1, 2, 3))
        crowded = (heat * window).sum(dim=(1, 2, 3)) > SHARE * total
        return torch.where(crowded[:, None, None, None], covered(images, window), images)
