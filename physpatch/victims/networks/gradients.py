"""Whether gradients flow from a network's answer to its image, which its code may prevent."""

import torch
from torch import Tensor, nn

from calibration.common.errors import first_line

CUT = "no gradient reaches the image: the network detaches its answer, or computes it by whole numbers or outside of torch"


def without_gradients(why: str) -> str:
    """Word the remark of a model without gradients; empty for no reason."""
    return f"predictions only, without gradients, because {why}" if why else ""


def why_no_gradient(network: nn.Module, size: int) -> str:
    """Say why no gradient flows from a network's answer to its image, to follow "because"; empty where one does.

    A detector that finds nothing in the image that is tried may have no gradient there, and gets the benefit of the doubt.

    Args:
        network: frozen, and maps (B, 3, size, size) to logits (B, K) or a table of boxes (B, A, 4 + K).
        size: side of the image, in pixels.
    """
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    try:
        with torch.enable_grad():
            answer: Tensor = network(image * 1)  # no leaf, because a network may change its input in place
            if not answer.requires_grad:
                nothing_found = answer.ndim == 3 and not bool(answer[..., 4:].any())
                return "" if nothing_found else CUT
            (gradient,) = torch.autograd.grad(answer.sum(), image, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:  # such as of an operation without a derivative
        return f"torch cannot compute them ({first_line(error)})"
    return CUT if gradient is None else ""
