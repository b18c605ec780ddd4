"""Training batches of random photographs, randomly cropped and flipped."""

import torch
from torch import Tensor

from calibration.common.errors import InputError
from physpatch.data.photographs import UNLABELLED, Photographs
from physpatch.victims.protocol import Victim

_LABELLING_BATCH = 32


class BatchSource:
    """Draw batches for a victim from photographs that are at least as large as its input."""

    def __init__(self, victim: Victim, photographs: Photographs, batch: int) -> None:
        """Prepare to draw.

        Args:
            victim: the network whose input size the crops have.
            photographs: the pool.
            batch: number of images per batch.

        Raises:
            InputError: the photographs are smaller than the network's input.
        """
        side = photographs.images.shape[-1]
        if side < victim.preprocessing.size:
            raise InputError(
                f"photographs of {side} px are smaller than {victim.name}'s input of {victim.preprocessing.size} px"
            )
        self.victim, self.photographs, self.batch = victim, photographs, batch
        self._boxes = photographs.objects
        self._pool = photographs.images.permute(0, 2, 3, 1).contiguous()  # (N, S, S, 3)

    def draw(self, generator: torch.Generator, rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor | None]:
        """Draw a batch.

        Args:
            generator: of the random numbers, on the CPU.
            rows: the part of the batch to return; it does not change the numbers drawn.

        Returns:
            Images (B, 3, S, S) in [0, 1] on the victim's device; the photographs' indices (B,); and their objects (B, 4),
            left, top, right, bottom in pixels of the images, or None for photographs without objects.
        """
        pool, size = self._pool, self.victim.preprocessing.size
        chosen = torch.randint(len(pool), (self.batch,), generator=generator)
        offsets = torch.randint(pool.shape[1] - size + 1, (2, self.batch, 1), generator=generator)
        flipped = torch.rand(self.batch, 1, generator=generator) < 0.5
        chosen, offsets, flipped = chosen[rows], offsets[:, rows, 0], flipped[rows]
        # Channels_last. Views first, then one copy: indexing each pixel would cost as much as all of the compositing.
        crops = torch.stack(
            [
                pool[i, top : top + size, left : left + size]
                for i, top, left in zip(chosen.tolist(), *offsets.tolist(), strict=True)
            ]
        )
        crops = torch.where(flipped[:, :, None, None], crops.flip(2), crops).to(self.victim.device)
        return crops.float().div_(255).permute(0, 3, 1, 2), chosen, self._objects(chosen, offsets, flipped)

    def _objects(self, chosen: Tensor, offsets: Tensor, flipped: Tensor) -> Tensor | None:
        """Compute where the objects of these photographs lie in the crops."""
        if self._boxes is None:
            return None
        (top, left), size = offsets, self.victim.preprocessing.size
        boxes = (self._boxes[chosen] - torch.stack([left, top, left, top], dim=1)).clamp(0, size)
        mirrored = torch.stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]], dim=1)
        return torch.where(flipped, mirrored, boxes)


@torch.no_grad()
def completed_labels(victim: Victim, photographs: Photographs) -> Tensor:
    """Return the photographs' labels (N,), with the victim's answers for unlabelled ones."""
    labels = photographs.labels.clone()
    unknown = (labels == UNLABELLED).nonzero()[:, 0]
    if len(unknown):
        central = photographs.central(victim.preprocessing.size)
        for rows in unknown.split(_LABELLING_BATCH):
            labels[rows] = victim.scores(central[rows].to(victim.device).float() / 255).argmax(dim=1).cpu()
    return labels
