"""What weighs the views of a batch: a mean hides the printing condition under which a patch fails."""

import math
from typing import Protocol

import torch
from torch import Tensor

from physpatch.attack.objectives import Objective


class ViewWeights(Protocol):
    """Weighs the views of a batch by their losses, for one victim."""

    def of(self, losses: Tensor, prints: Tensor, *, learn: bool) -> Tensor:
        """Weigh a whole batch, which several processes may hold in parts.

        Args:
            losses: (B,) of the views.
            prints: (B,) the numbers of the printing conditions that they show.
            learn: change what is carried from batch to batch, as where a gradient is computed.

        Returns:
            (B,), 0 or above: 1 each where views weigh the same.
        """
        ...


class WorstViews:
    """Weights of the views with the highest losses, whose mean is the conditional value at risk.

    Rockafellar and Uryasev 2000.
    """

    def __init__(self, share: float) -> None:
        """Weigh this share of a batch, above 0 and up to 1, and at least one view."""
        self._share = share

    @torch.no_grad()
    def of(self, losses: Tensor, prints: Tensor, *, learn: bool) -> Tensor:
        """Weigh the views that are selected alike, and the others 0."""
        worst = losses.topk(math.ceil(self._share * len(losses))).indices
        return torch.zeros_like(losses).index_fill(0, worst, len(losses) / len(worst))


class PrintWeights:
    """Weights of printing conditions, which grow with the losses of the views that show them.

    This is group distributionally robust optimisation (Sagawa et al. 2020, algorithm 1), for batches whose views belong to
    several groups: the sum of a group's losses, divided by the number of views that it has on average, takes the place of the
    loss of the group that is drawn.

    Attributes:
        weights: (K,) of the conditions, with the sum 1.
    """

    def __init__(self, prints: int, rate: float) -> None:
        """Weigh all conditions alike; ``rate`` is the step size of the logarithms of their weights, for losses in nats."""
        self._rate = rate
        self.weights = torch.full((prints,), 1 / prints)

    @torch.no_grad()
    def of(self, losses: Tensor, prints: Tensor, *, learn: bool) -> Tensor:
        """Weigh each view as its condition, after the weights have learned from the batch."""
        weights = self.weights.to(losses)
        if learn:
            usual = len(losses) / len(weights)
            by_print = torch.zeros_like(weights).index_add(0, prints, losses / usual)
            weights = self.weights = (weights.log() + self._rate * by_print).softmax(dim=0)
        return len(weights) * weights[prints]


def terms_by_view(objective: Objective, scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the terms of an objective for each view by itself: (B, T), for scores (B, K) and true labels (B,)."""

    def terms(own_scores: Tensor, label: Tensor) -> Tensor:
        return torch.stack(list(objective.terms(own_scores[None], label[None]).values()))

    by_view: Tensor = torch.func.vmap(terms)(scores, labels)
    return by_view


def whole_batch(losses: Tensor) -> tuple[Tensor, int]:
    """Return the losses (B,) of a batch that one process holds, and that its own rows begin at 0."""
    return losses, 0
