"""Networks whose answers take other forms than a batch of logits, or that accept only so many images at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.common.errors import InputError, first_line

_LEAST_PROBABILITY = 1e-12
_SUM_TOLERANCE = 1e-3  # by which the probabilities of all classes may miss 1, such as in half precision


class _Logits(nn.Module):
    """A network whose output is an object with ``logits``, or a tuple that begins with them, as one that gives logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return _logits_in(self.network(images))


class _LogProbabilities(nn.Module):
    """A network that ends in a softmax, as one that gives logits: a softmax of the logarithms gives its probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).clamp(min=_LEAST_PROBABILITY).log()


def with_logits(network: nn.Module, size: int) -> tuple[nn.Module, int]:
    """Let a network answer with logits, whatever its output; also return its number of classes.

    Raises:
        InputError: the network does not accept an image of this size, or its output is no batch of logits.
    """
    probes = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            output: Any = network(probes)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(f"the network does not accept images (B, 3, {size}, {size}): {first_line(error)}") from error
    if not isinstance(output, Tensor):
        network, output = _Logits(network), _logits_in(output)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(probes) or output.shape[1] < 2:
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"a classifier must answer with logits (B, K) for images (B, 3, {size}, {size}), got {form}")
    if bool((output >= 0).all()) and bool(((output.double().sum(dim=1) - 1).abs() < _SUM_TOLERANCE).all()):
        network = _LogProbabilities(network)
    return network, output.shape[1]


def _logits_in(output: Any) -> Any:
    found = getattr(output, "logits", output)
    if isinstance(found, (tuple, list)) and found:
        return _logits_in(found[0])
    return found


@dataclass(frozen=True)
class Queries:
    """What was sent to a model elsewhere: requests, and images in them."""

    requests: int
    images: int


class CountsQueries(Protocol):
    """Counts what it sends to a model elsewhere."""

    @property
    def queries(self) -> Queries:
        """Return what was sent so far."""


class FixedBatch(nn.Module):
    """A network for batches of exactly ``size`` images: others are divided, and the last part is filled up."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, images: Tensor) -> Tensor:
        missing = -len(images) % self.size
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        answers = torch.cat([_logits_in(self.network(part)) for part in filled.split(self.size)])
        return answers[: len(images)]


class Predictions(nn.Module):
    """A function outside of torch as a network without gradients.

    ``predict`` maps (b, 3, H, W) float32 to (b, K) with b up to ``most``; the batch is divided. ``client`` counts what is
    sent elsewhere for it, if anything is.
    """

    def __init__(
        self,
        predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        most: int,
        client: CountsQueries | None = None,
    ) -> None:
        super().__init__()
        self.predict, self.most, self.client = predict, most, client

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        parts = images.float().cpu().contiguous().split(self.most)
        answers = [torch.from_numpy(self.predict(part.numpy())) for part in parts]
        return torch.cat(answers).to(images.device)
