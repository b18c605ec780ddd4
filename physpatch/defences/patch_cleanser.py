"""PatchCleanser (Xiang et al. 2022, "PatchCleanser", USENIX Security): two rounds of masks, with a certificate."""

from functools import cached_property
from itertools import combinations_with_replacement
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from physpatch.attack.known_defence import Attacked
from physpatch.defences.base import Defence
from physpatch.defences.masking import SIDE, masked, one_of
from physpatch.victims.protocol import Task

MASKS = 4  # places of a mask along a side; the paper has six, for patches of a fiftieth of the picture
_AT_ONCE = 64  # masked pictures


class PatchCleanser(Defence):
    """Mask the picture in every place in turn, and believe the answer that a second mask does not change.

    Whatever square of :attr:`side` of the picture's side a patch fills, one of the masks covers all of it (section 3.2). Where
    the answers under single masks disagree, an answer of the minority counts if every second mask leaves it (algorithm 1);
    if there is none, the majority's does.

    Attributes:
        side: of the largest patch that is certified against, as a share of the picture's side.
        places: of a mask, along a side.
    """

    name: ClassVar[str] = "patch-cleanser"
    summary: ClassVar[str] = (
        f"two rounds of {MASKS}x{MASKS} masks, with a certificate: PatchCleanser (Xiang et al. 2022)"
    )
    tasks: ClassVar[tuple[Task, ...]] = ("classify",)
    certifies: ClassVar[bool] = True
    side: ClassVar[float] = SIDE
    places: ClassVar[int] = MASKS

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Mask each image (B, 3, H, W) so that the victim's own answer is the defence's."""
        return torch.cat([self._cleansed(image) for image in images.split(1)])

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Mask each image in one of the places, see :func:`one_of`: an attacker has to succeed under all of the first round."""
        return Attacked(masked(images, one_of(self._masks(images), draws)))

    @torch.no_grad()
    def certified(self, images: Tensor, labels: Tensor) -> Tensor:
        """Tell which clean images (B, 3, H, W) all pairs of masks leave the right answer of, (B,) bool (theorem 1)."""
        pairs, labels = self._pairs.to(images), labels.to(images.device)
        return torch.stack(
            [(self._answers(image, pairs) == label).all() for image, label in zip(images.split(1), labels, strict=True)]
        )

    def _cleansed(self, image: Tensor) -> Tensor:
        masks = self._masks(image)
        answers = self._answers(image, masks)
        majority = answers.mode().values
        for number in (answers != majority).nonzero()[:, 0]:
            once = masked(image, masks[number])
            if (self._answers(once, masks) == answers[number]).all():
                return once
        return masked(image, masks[(answers == majority).nonzero()[0, 0]])

    def _answers(self, image: Tensor, masks: Tensor) -> Tensor:
        """Return the victim's answers (M,) to an image (1, 3, H, W) under each of the masks (M, 1, H, W).

        An answer below its threshold is the class after the last, and no right one.
        """
        scores = (self.victim.scores(masked(image, part)) for part in masks.split(_AT_ONCE))
        return torch.cat([self.victim.judged(part).argmax(dim=1) for part in scores])

    def _masks(self, images: Tensor) -> Tensor:
        return self._covering_masks.to(images)

    @cached_property
    def _covering_masks(self) -> Tensor:
        """Make the masks (M, 1, H, W), 1 where they cover, of which one covers any patch (section 3.2, equations 1 and 2)."""
        size = self.victim.preprocessing.size
        patch = round(self.side * size)
        stride = ceil((size - patch + 1) / self.places)
        side = patch + stride - 1
        starts = [min(number * stride, size - side) for number in range(self.places)]
        masks = torch.zeros(self.places**2, 1, size, size)
        for mask, (top, left) in zip(masks, [(top, left) for top in starts for left in starts], strict=True):
            mask[:, top : top + side, left : left + side] = 1
        return masks

    @cached_property
    def _pairs(self) -> Tensor:
        """Join each pair of the masks into one mask: (M * (M + 1) / 2, 1, H, W)."""
        masks = self._covering_masks
        first, second = torch.tensor(list(combinations_with_replacement(range(len(masks)), 2))).T
        return torch.maximum(masks[first], masks[second])
