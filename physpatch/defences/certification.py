"""What a defence proves: the share of photographs that no patch of its size can have answered wrongly."""

from collections.abc import Callable

import torch

from physpatch.data.photographs import UNLABELLED, Photographs
from physpatch.defences.base import Defence
from physpatch.stats.intervals import Rate, rate_by_unit
from physpatch.victims.freezing import untouched

_MOST = 60  # photographs; each takes as long as a hundred answers and more


def certified_accuracy(
    defence: Defence,
    photographs: Photographs,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rate | None:
    """Measure certified accuracy on clean labelled photographs, at most 60, drawn by ``seed``; None without a certificate.

    The interval is over photographs, or over the clips that they are frames of.
    """
    if not defence.certifies:
        return None
    labelled = (photographs.labels != UNLABELLED).nonzero()[:, 0]
    order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(seed))
    certified: list[bool] = []
    with untouched(defence.victim):
        chosen = labelled[order[:_MOST]]
        for done, row in enumerate(chosen, start=1):
            image = photographs.images[row][None].to(defence.victim.device).float() / 255
            certified.append(bool(defence.certified(image, photographs.labels[row][None]).all()))
            progress(done, len(chosen))
    return rate_by_unit(certified, photographs.units[chosen].numpy())
