"""Cover what the network looks at too narrowly: the saliency half of digital watermarking (Hayes 2018), by Grad-CAM.

A patch draws most of the heat into one small window; on clean photographs little of it lies in any.
"""

import torch
from torch import Tensor

from physpatch.defences.base import Defence
from physpatch.defences.masking import covered, densest_window
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.victims.protocol import Guard, Victim

SHARE = 0.45  # of the heat inside the window, from which on it is covered


def _guard_for(victim: Victim) -> Guard:
    def cover_heat(images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1]; those whose heat crowds in one window are covered there."""
        with grad_cam(victim) as mapper:
            _, maps = mapper.top(images)
        heat = torch.from_numpy(maps).to(images)[:, None]
        window = densest_window(heat)
        total = heat.sum(dim=(1, 2, 3))
        found = (heat * window).sum(dim=(1, 2, 3)) > SHARE * total
        return torch.where(found[:, None, None, None], covered(images, window), images)

    return cover_heat


HEAT = Defence("cover the window that draws most of the Grad-CAM heat (after Hayes 2018)", _guard_for, ("classify",))
