"""The worst views of a batch: a mean hides a printing condition under which a patch fails."""

import math
from collections.abc import Callable

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


def whole_batch(losses: Tensor) -> tuple[Tensor, int]:
    """Return the losses (B,) of a batch that one process holds, and that its own rows begin at 0."""
    return losses, 0


@torch.no_grad()
def worst_views(
    objective: Objective,
    scores: Tensor,
    labels: Tensor,
    share: float,
    suspicion: Tensor | None = None,
    gather: Callable[[Tensor], tuple[Tensor, int]] = whole_batch,
) -> tuple[Tensor, float]:
    """Select the views with the highest losses, whose mean is the conditional value at risk (Rockafellar and Uryasev 2000).

    Args:
        objective: whose terms are means over the views.
        scores: (B, K).
        labels: (B,) true classes.
        share: of the batch, above 0 and up to 1; at least one view is selected.
        suspicion: (B,), what a defence's suspicion adds to the loss of each view; None for nothing.
        gather: returns the losses of a batch (P * B,) from those of a part of it (B,), where P processes hold a part each, and
            at which row of it this part begins.

    Returns:
        Their rows (N,) in this part, in its order, and the weight of their mean, so that the mean over the processes is that
        of all selected views: 1 for a single process. A part with none of them has one row, of weight 0.
    """
    losses = terms_by_view(objective, scores, labels).sum(dim=1)
    if suspicion is not None:
        losses = losses + suspicion
    all_losses, first = gather(losses)
    selected = all_losses.topk(math.ceil(share * len(all_losses))).indices.sort().values - first
    rows = selected[(selected >= 0) & (selected < len(losses))]
    if not len(rows):
        return losses.argmax()[None], 0.0
    return rows, len(rows) / len(selected) * len(all_losses) / len(losses)
