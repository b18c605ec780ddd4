"""The worst views of a batch: a mean hides a printing condition under which a patch fails."""

import math

import torch
from torch import Tensor

from physpatch.attack.objectives import Objective


@torch.no_grad()
def terms_by_view(objective: Objective, scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the terms of an objective for each view by itself: (B, T), for scores (B, K) and true labels (B,)."""

    def terms(own_scores: Tensor, label: Tensor) -> Tensor:
        return torch.stack(list(objective.terms(own_scores[None], label[None]).values()))

    by_view: Tensor = torch.func.vmap(terms)(scores.detach(), labels)
    return by_view


@torch.no_grad()
def worst_views(
    objective: Objective, scores: Tensor, labels: Tensor, share: float, suspicion: Tensor | None = None
) -> Tensor:
    """Select the views with the highest losses, whose mean is the conditional value at risk (Rockafellar and Uryasev 2000).

    Args:
        objective: whose terms are means over the views.
        scores: (B, K).
        labels: (B,) true classes.
        share: of the batch, above 0 and up to 1; at least one view is selected.
        suspicion: (B,), what a defence's suspicion adds to the loss of each view; None for nothing.

    Returns:
        Their rows (N,), in the order of the batch.
    """
    losses = terms_by_view(objective, scores, labels).sum(dim=1)
    if suspicion is not None:
        losses = losses + suspicion
    return losses.topk(math.ceil(share * len(losses))).indices.sort().values
