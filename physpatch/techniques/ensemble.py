"""Optimisation against several victims at once."""

from typing import ClassVar

from torch import Tensor

from physpatch.techniques.adam import Adam


class Ensemble(Adam):
    """Adam on all victims' losses, weighted by a softmax over the losses, so that the most resistant victim counts most.

    The plain mean, which the other techniques use for several models, can be lowered by fooling the weakest victim alone;
    the softmax is a smooth worst case, as in min-max ensemble attacks (Wang et al. 2021, section 3).
    """

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "Adam on several --model at once, the most resistant counting most"
    needs_several_victims: ClassVar[bool] = True

    def weigh(self, losses: Tensor) -> Tensor:
        return losses.detach().softmax(dim=0)
