"""The photographs worth training on: success is counted only where the victim is right with a grey patch in the same pose."""

import torch
from torch import Tensor

from physpatch.attack.placement import Placement
from physpatch.data.batch_sampler import completed_labels
from physpatch.data.photographs import Photographs
from physpatch.records.config import TrainConfig
from physpatch.rendering.eot import sample
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

_FEWEST = 32  # with fewer photographs, a patch would learn these rather than what works on others
_DRAWS = 4
_BATCH = 32
_GREY = 0.5


def counted_photographs(victim: Victim, photographs: Photographs, config: TrainConfig) -> Photographs:
    """Select the photographs that a classifier recognises behind a grey patch in at least ``config.data.recognised`` of views.

    On the others, the victim is wrong with any patch, so their gradients teach what is never counted. All are kept for a
    detector, and where fewer than 32 would remain.
    """
    if victim.task != "classify" or config.data.recognised == 0 or len(photographs) < _FEWEST:
        return photographs
    counted = recognised_share(victim, photographs, config) >= config.data.recognised
    return photographs.subset(counted) if int(counted.sum()) >= _FEWEST else photographs


@torch.no_grad()
def recognised_share(victim: Victim, photographs: Photographs, config: TrainConfig) -> Tensor:
    """Measure in which share of random views (N,) a classifier recognises each photograph behind a grey patch.

    The views are drawn from the run's EOT ranges with its seed. Unlabelled photographs are recognised where the answer is the
    same as without a patch.
    """
    placement, size = Placement.of(config), victim.preprocessing.size
    images = photographs.central(size)
    generator = torch.Generator().manual_seed(config.optimisation.seed)
    grey = torch.full((3, *config.patch.grid), _GREY, device=victim.device)
    right = torch.zeros(len(photographs))
    with untouched(victim):
        labels = completed_labels(victim, photographs)
        for rows in torch.arange(len(photographs)).repeat(_DRAWS).split(_BATCH):
            pictures = images[rows].to(victim.device).float() / 255
            views = placement.compose(pictures, grey, sample(config.eot, len(rows), generator))
            answers = victim.judged(victim.scores(views)).argmax(dim=1).cpu()
            right.index_add_(0, rows, (answers == labels[rows]).float())
    return right / _DRAWS
