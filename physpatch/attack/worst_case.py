"""The worst views of a batch: a mean hides a printing condition under which a patch fails."""

import math

import torch
from torch import Tensor

from physpatch.attack.objectives import Objective


@torch.no_grad()
def worst_views(objective: Objective, scores: Tensor, labels: Tensor, share: float) -> Tensor:
    """Select the views with the highest losses, whose mean is the conditional value at risk (Rockafellar and Uryasev 2000).

    Args:
        objective: whose terms are means over the views.
        scores: (B, K).
        labels: (B,) true classes.
        share: of the batch, above 0 and up to 1; at least one view is selected.

    Returns:
        Their rows (N,), in the order of the batch.
    """

    def loss(own_scores: Tensor, label: Tensor) -> Tensor:
        return torch.stack(list(objective.terms(own_scores[None], label[None]).values())).sum()

    losses = torch.func.vmap(loss)(scores.detach(), labels)
    return losses.topk(math.ceil(share * len(losses))).indices.sort().values
