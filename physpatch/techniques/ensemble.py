"""Several victims at once."""

from typing import ClassVar

from torch import Tensor

from physpatch.techniques.adam import Adam


class Ensemble(Adam):
    """Adam on all victims' losses, each weighed by how much it still resists: a softmax over the losses.

    A plain mean, which any other technique takes when it is given several models, is content to fool the weakest victim;
    the softmax is a smooth worst case, as in min-max ensemble attacks (Wang et al. 2021, section 3).
    """

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "adam on several --model at once, the most resistant weighing most"
    needs_several_victims: ClassVar[bool] = True

    def weigh(self, losses: Tensor) -> Tensor:
        return losses.detach().softmax(dim=0)
