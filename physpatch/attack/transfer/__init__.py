"""Methods that make a patch fool networks that it was not trained on: one per module here, or behind an entry point.

They disturb what the victims see while the patch is trained, so they go with every technique that uses gradients, and with
each other. The entry points' group is ``physpatch.transfer``.
"""

from calibration.common.registry import Registry
from physpatch.attack.transfer.base import TransferMethod

TRANSFERS = Registry("transfer method", TransferMethod, __name__, "physpatch.transfer")

__all__ = ["TRANSFERS", "TransferMethod"]
