"""What an attacker who knows a defence needs of it; :class:`physpatch.defences.base.Defence` provides it."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Attacked(NamedTuple):
    """What an attacker who knows a defence takes gradients of.

    Attributes:
        images: (B, 3, H, W) for the network to score.
        suspicion: (B,), the logarithm of what the defence measures over its threshold: above 0 it interferes. Given by
            a :class:`KnownDefence` that ``suspects``, None for others.
    """

    images: Tensor
    suspicion: Tensor | None = None


class KnownDefence(Protocol):
    """A defence that an attacker knows.

    Attributes:
        name: as in ``--defence NAME``.
        suspects: whether it leaves images alone that do not look suspicious.
    """

    @property
    def name(self) -> str: ...

    @property
    def suspects(self) -> bool: ...

    def attacked(self, images: Tensor, draws: Tensor) -> Attacked:
        """Prepare images (B, 3, H, W), RGB in [0, 1], with a gradient that means something.

        ``draws`` (B,), in [0, 1), are those of the views, by which a defence that does one of several things chooses.
        """
