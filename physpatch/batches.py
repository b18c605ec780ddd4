"""Training batches: random photographs, cropped and flipped at random."""

import torch
from torch import Tensor

from calibration.errors import InputError
from physpatch.data import UNLABELLED, Photographs
from physpatch.victims.base import Victim

_LABELLING_BATCH = 32


class BatchSource:
    """Draws batches for a victim from photographs that are at least as large as its input."""

    def __init__(self, victim: Victim, photographs: Photographs, batch: int) -> None:
        """Keep the photographs at hand.

        Raises:
            InputError: photographs smaller than the network's input.
        """
        side = photographs.images.shape[-1]
        if side < victim.preprocessing.size:
            raise InputError(
                f"photographs of {side} px are smaller than {victim.name}'s input of {victim.preprocessing.size} px"
            )
        self.victim, self.photographs, self.batch = victim, photographs, batch

    def draw(self, generator: torch.Generator, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) in [0, 1] on the victim's device, and the photographs' indices (B,).

        ``part`` takes some of the batch; whatever it is, the same numbers are drawn.
        """
        pool, size = self.photographs.images, self.victim.preprocessing.size
        chosen = torch.randint(len(pool), (self.batch,), generator=generator)
        offsets = torch.randint(pool.shape[-1] - size + 1, (2, self.batch, 1), generator=generator)
        flipped = torch.rand(self.batch, 1, generator=generator) < 0.5
        chosen, offsets, flipped = chosen[part], offsets[:, part], flipped[part]
        along = torch.arange(size)
        rows = offsets[0] + along
        columns = offsets[1] + torch.where(flipped, along.flip(0), along)
        crops = pool[
            chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]
        ]  # (B, S, S, 3): channels_last for free
        return crops.to(self.victim.device).permute(0, 3, 1, 2).float() / 255, chosen

    @torch.no_grad()
    def labels(self) -> Tensor:
        """The photographs' labels (N,), with the victim's own answer where one has none."""
        labels = self.photographs.labels.clone()
        size = self.victim.preprocessing.size
        first = (self.photographs.images.shape[-1] - size) // 2
        unknown = (labels == UNLABELLED).nonzero()[:, 0]
        for part in unknown.split(_LABELLING_BATCH) if len(unknown) else ():
            images = self.photographs.images[part, :, first : first + size, first : first + size]
            labels[part] = self.victim.scores(images.to(self.victim.device).float() / 255).argmax(dim=1).cpu()
        return labels
