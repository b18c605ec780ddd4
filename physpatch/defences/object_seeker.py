"""ObjectSeeker (Xiang et al. 2023, "ObjectSeeker", IEEE S&P): look for objects again with each part of the picture masked."""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence
from physpatch.defences.masking import masked, one_of
from physpatch.victims.detector import Detector
from physpatch.victims.letterbox import Letterbox
from physpatch.victims.protocol import Task, Victim

LINES = 3  # across, and as many down; the paper has 30
CONFIDENCE = (
    0.5  # of a box that is found under a mask only: above a detector's usual threshold, so that few false ones come in
)
COVERED = 0.6  # share of such a box that lies in one of the whole picture, from which it is the same object
_MOST = 100  # boxes that are looked at under each mask


class ObjectSeeker(Defence):
    """Find boxes in the whole picture and with what lies on each side of each line masked, and keep those that are new.

    One of the masks covers the patch, wherever it lies, unless every line crosses it (section 3.2). Of the boxes found under
    masks, those that lie in a box of their class in the whole picture are dropped (section 3.3); overlapping ones are
    suppressed as in any detector, where the paper clusters them. A patch can still make boxes that are not there.
    """

    name: ClassVar[str] = "object-seeker"
    summary: ClassVar[str] = (
        f"look behind {4 * LINES} masks for objects that are hidden: ObjectSeeker (Xiang et al. 2023)"
    )
    tasks: ClassVar[tuple[Task, ...]] = ("detect",)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the images as they are: this defence changes what is made of a detector's answers, see :meth:`defended`."""
        return images

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Mask each image by one of the masks or none, see :func:`one_of`: an attacker has to succeed behind all of them."""
        masks = half_planes(images)
        return Attacked(masked(images, one_of(torch.cat([torch.zeros_like(masks[:1]), masks]), draws)))

    def defended(self) -> Victim:
        """Make a detector that answers with the boxes of the whole picture and of the masked ones."""
        assert isinstance(self.victim, Detector)
        shared = {field.name: getattr(self.victim, field.name) for field in fields(Detector)}
        return SeekingDetector(**shared | {"cam_layer": None, "cam_search": None}, inner=self.victim)


@dataclass(frozen=True, eq=False)
class SeekingDetector(Detector):
    """A detector that finds the boxes of another one, and those that it finds only where a part of the picture is masked."""

    inner: Detector | None = None

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert self.inner is not None
        boxes, probabilities = self.inner.predictions(images)
        all_boxes, all_probabilities = [boxes], [probabilities]
        whole = _most_certain(boxes, probabilities)
        for mask in half_planes(images):
            behind, certain = _most_certain(*self.inner.predictions(masked(images, mask[None])))
            all_boxes.append(behind)
            all_probabilities.append(_new(behind, certain, *whole, self.threshold))
        return torch.cat(all_boxes, dim=1), torch.cat(all_probabilities, dim=1)

    def letterboxed(self, frame: NDArray[np.uint8]) -> Letterbox:
        assert self.inner is not None
        return self.inner.letterboxed(frame)


def half_planes(images: Tensor) -> Tensor:
    """Return the masks (M, 1, H, W), 1 where they cover: both sides of each line across and down images (B, 3, H, W)."""
    height, width = images.shape[-2:]
    masks = []
    for axis, side in ((-2, height), (-1, width)):
        for line in range(1, LINES + 1):
            first = torch.arange(side, device=images.device) < round(side * line / (LINES + 1))
            shape = (-1, 1) if axis == -2 else (1, -1)
            masks += [part.view(shape).expand(height, width)[None] for part in (first, ~first)]
    return torch.stack(masks).to(images)


def _most_certain(boxes: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the most confident of boxes (B, A, 4) and their probabilities (B, A, K)."""
    best = probabilities.amax(dim=2).topk(min(_MOST, boxes.shape[1]), dim=1).indices[..., None]
    return tuple(part.gather(1, best.expand(-1, -1, part.shape[2])) for part in (boxes, probabilities))  # type: ignore[return-value]


def _new(boxes: Tensor, probabilities: Tensor, whole: Tensor, certain: Tensor, threshold: float) -> Tensor:
    """Set the probabilities (B, M, K) of boxes to 0 where they are not confident, or lie in one of the whole picture's.

    A box has its most probable class: if that one is known, the box is not new by its second.
    """
    new = probabilities * ((probabilities >= max(CONFIDENCE, threshold)) & _first(probabilities))
    lies_in = _share_inside(boxes, whole) >= COVERED  # (B, M, A)
    classes = (certain >= threshold) & _first(certain)
    is_known = torch.einsum("bma,bak->bmk", lies_in.float(), classes.float()) > 0
    return new * ~is_known


def _first(probabilities: Tensor) -> Tensor:
    """Tell which of the probabilities (B, A, K) of a box are its highest."""
    return probabilities == probabilities.amax(dim=2, keepdim=True)


def _share_inside(boxes: Tensor, outer_boxes: Tensor) -> Tensor:
    """Compute the share of each box (B, M, 4) that lies in each of the outer ones (B, A, 4): (B, M, A)."""
    first, second = boxes.detach().float()[:, :, None], outer_boxes.detach().float()[:, None]
    extent = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    area = (first[..., 2:] - first[..., :2]).clamp(min=0).prod(dim=-1)
    return extent.clamp(min=0).prod(dim=-1) / area.clamp(min=1e-9)
