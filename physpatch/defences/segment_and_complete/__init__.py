"""A defence that covers what a network takes for a patch: Segment and Complete (Liu et al. 2022, CVPR, section 3).

A small U-Net marks the pixels of patches, and what it marks is completed to the outline that a patch has. The paper's patches
are upright squares; printed ones are seen at an angle, so each connected part is completed to its convex hull.
"""

from functools import cached_property
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence
from physpatch.defences.masking import covered
from physpatch.defences.segment_and_complete.network import SIDE_PX, STRIDE, PatchSegmenter, trained_segmenter

LEAST_SHARE = 0.015  # of the picture that has to look like a patch, in sum, before anything is covered
_MARKED = 0.5  # probability
_LEAST_PART = 0.003  # of the picture: smaller connected parts stay
_BEYOND = 3  # pixels of the network's input that the outline is grown by, because of the patch's blurred edge


class SegmentAndComplete(Defence):
    """Defence that covers the outlines of what a network takes for patches, wherever they lie and however many there are."""

    name: ClassVar[str] = "sac"
    summary: ClassVar[str] = (
        "cover what a network takes for a patch, completed to its outline: Segment and Complete (Liu et al. 2022)"
    )
    suspects: ClassVar[bool] = True

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        probabilities = self._probabilities(images)
        masks = torch.zeros_like(probabilities)
        for row in (_share(probabilities) > LEAST_SHARE).nonzero()[:, 0]:
            masks[row, 0] = _completed(probabilities[row, 0])
        masks = F.interpolate(masks, size=images.shape[-2:], mode="nearest")
        return torch.where(masks.amax(dim=(1, 2, 3), keepdim=True) > 0, covered(images, masks), images)

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Leave the images uncovered, and say how much of them looks like a patch, with the network's own gradient."""
        return Attacked(images, (_share(self._probabilities(images)) / LEAST_SHARE).log())

    def _probabilities(self, images: Tensor) -> Tensor:
        """Compute how likely each pixel of the network's input is a patch's, (B, 1, h, w), for images (B, 3, H, W)."""
        short = min(images.shape[-2:])
        size = [STRIDE * max(1, round(side * SIDE_PX / short / STRIDE)) for side in images.shape[-2:]]
        smaller = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        return torch.sigmoid(self._network(smaller))

    @cached_property
    def _network(self) -> PatchSegmenter:
        return trained_segmenter().to(self.victim.device)


def _share(probabilities: Tensor) -> Tensor:
    """Compute the share of a picture (B, 1, h, w) that looks like a patch, (B,)."""
    return probabilities.mean(dim=(1, 2, 3)).clamp(min=1e-6)


def _completed(probabilities: Tensor) -> Tensor:
    """Fill the convex hulls of the connected parts that are marked in (h, w); return them as 0 and 1, (h, w)."""
    marked = (probabilities > _MARKED).to(torch.uint8).cpu().numpy()
    outlines, _ = cv2.findContours(marked, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hulls = [cv2.convexHull(outline) for outline in outlines]
    filled = np.zeros_like(marked)
    cv2.fillPoly(filled, [hull for hull in hulls if cv2.contourArea(hull) >= _LEAST_PART * marked.size], (1,))
    grown = cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _BEYOND + 1,) * 2))
    return torch.from_numpy(grown).to(probabilities)
