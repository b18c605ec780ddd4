"""Admix."""

from typing import ClassVar

import torch
from torch import Tensor

from physpatch.attack.transfer.base import TransferMethod

_SHARE = 0.2
_HALVINGS = 5  # the paper's copies, of which each photograph gets one


class Admix(TransferMethod):
    """Add a share of another photograph to each scene, and darken the sum (Wang et al. 2021b, algorithm 1)."""

    name: ClassVar[str] = "admix"
    summary: ClassVar[str] = "a share of another photograph over each scene (Admix, Wang et al. 2021)"

    def scenes(self, composites: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        batch = len(images)
        other_images = images[torch.randperm(batch, generator=generator).to(images.device)]
        halvings = torch.randint(_HALVINGS, (batch, 1, 1, 1), generator=generator)
        return (composites + _SHARE * other_images) * (0.5**halvings).to(composites)
