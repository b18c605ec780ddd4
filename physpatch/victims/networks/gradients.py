"""Whether gradients flow from a network's answer to its image, which its code may prevent."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.common.errors import first_line, lacks_memory
from calibration.sheet.road_signs import stop
from physpatch.victims.letterbox import PADDING_GREY

CUT = "no gradient reaches the image: the network detaches its answer, or computes it by whole numbers or outside of torch"
_COARSE = (4, 16)  # cells a side of pictures of coarse noise
_SIGNS = (0.25, 0.5, 0.9)  # sides of road signs, of the picture's


def without_gradients(why: str) -> str:
    """Word the remark of a model without gradients; empty for no reason."""
    return f"predictions only, without gradients, because {why}" if why else ""


def why_no_gradient(network: nn.Module, size: int) -> str:
    """Say why no gradient flows from a network's answer to its image, to follow "because"; empty where one does.

    A detector that finds nothing in a picture may have no gradient there, so that several are tried: noise, and road signs. One
    that finds nothing in any gets the benefit of the doubt: training tells.

    Args:
        network: frozen, and maps (B, 3, size, size) to logits (B, K) or a table of boxes (B, A, 4 + K).
        size: side of the image, in pixels.
    """
    for picture in _pictures(size):
        image = picture.requires_grad_()
        try:
            with torch.enable_grad():
                answer: Tensor = network(image * 1)  # no leaf, because a network may change its input in place
                if not answer.requires_grad:
                    if answer.ndim == 3 and not bool(answer[..., 4:].any()):
                        continue
                    return CUT
                (gradient,) = torch.autograd.grad(answer.sum(), image, allow_unused=True)
        except Exception as error:  # of an operation without a derivative, or of the user's own
            if lacks_memory(error):
                raise
            return f"torch cannot compute them ({first_line(error)})"
        return CUT if gradient is None else ""
    return ""


def _pictures(size: int) -> Iterator[Tensor]:
    """Yield pictures (1, 3, size, size) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    yield torch.rand(1, 3, size, size, generator=generator)
    for cells in _COARSE:
        yield F.interpolate(torch.rand(1, 3, cells, cells, generator=generator), size=(size, size), mode="nearest")
    for share in _SIGNS:
        yield _sign(size, max(1, round(share * size)))


def _sign(size: int, side: int) -> Tensor:
    """Draw a stop sign in the middle of a grey picture (1, 3, size, size)."""
    drawn = torch.from_numpy(stop().draw(side)).permute(2, 0, 1).float() / 255
    picture = torch.full((1, 3, size, size), PADDING_GREY / 255)
    start = (size - side) // 2
    place = picture[0, :, start : start + side, start : start + side]
    place.copy_(drawn[3] * drawn[:3] + (1 - drawn[3]) * place)
    return picture
