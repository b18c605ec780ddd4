"""Networks whose answers take other forms than a batch of logits, or that accept only so many images at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.common.errors import InputError
from calibration.common.text import number_of
from physpatch.victims.own_code import in_one_line

_LEAST_PROBABILITY = 1e-12
_PROBES = 2  # images on which a network is tried: more than one, so that their answers can be told apart
_SUM_TOLERANCE = 1e-3  # by which the probabilities of all classes may miss 1, such as in half precision


class _Logits(nn.Module):
    """A network whose output is an object with ``logits``, or a tuple that begins with them, as one that gives logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return logits_in(self.network(images))


class _Floats(nn.Module):
    """A network that answers in whole numbers, as one that gives floats."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).float()


class _LogProbabilities(nn.Module):
    """A network that ends in a softmax, as one that gives logits: a softmax of the logarithms gives its probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).clamp(min=_LEAST_PROBABILITY).log()


@torch.no_grad()
def probe(network: nn.Module, size: int, count: int = _PROBES, seed: int = 0) -> Any:
    """Run a network on ``count`` random images of this side, uniform in [0, 1], and return whatever it answers.

    Raises:
        InputError: it does not accept them.
    """
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    with in_one_line(f"the network does not accept images (B, 3, {size}, {size})"):
        return network(images)


def with_logits(network: nn.Module, size: int) -> tuple[nn.Module, int]:
    """Let a network answer with logits, whatever its output; also return its number of classes.

    Raises:
        InputError: the network does not accept an image of this size, or its output is no batch of logits.
    """
    output = probe(network, size)
    if not isinstance(output, Tensor):
        network, output = _Logits(network), logits_in(output)
    if not isinstance(output, Tensor) or not _are_logits(output):
        if isinstance(output, Tensor) and output.numel() == _PROBES and not output.is_floating_point():
            raise InputError(
                "the network answers with a whole number for an image, such as a class; expected its logits"
            )
        if isinstance(output, Tensor) and output.numel() == _PROBES:  # the logit of the second of two classes
            raise InputError(
                "the network answers with one number for an image; expected a logit per class: for two classes, of which x is "
                "the second one's logit, torch.cat([-x / 2, x / 2], dim=1)"
            )
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"a classifier must answer with logits (B, K) for images (B, 3, {size}, {size}), got {form}")
    if not output.is_floating_point():
        network = _Floats(network)
    if not is_elsewhere(network):
        alone = probe(network, size, 1)
        if alone.shape != (1, output.shape[1]):
            got = tuple(alone.shape)
            raise InputError(f"a classifier must answer with (1, {output.shape[1]}) for one image, got {got}")
    if bool((output >= 0).all()) and bool(((output.double().sum(dim=1) - 1).abs() < _SUM_TOLERANCE).all()):
        network = _LogProbabilities(network)
    return network, output.shape[1]


def is_elsewhere(network: nn.Module) -> bool:
    """Tell whether any part of a network is outside of torch, where each image may cost something."""
    return any(isinstance(part, Predictions) for part in network.modules())


def _are_logits(output: Tensor) -> bool:
    return output.ndim == 2 and len(output) == _PROBES and output.shape[1] > 1 and not output.is_complex()


def logits_in(output: Any) -> Any:
    """Find the logits in a network's output; what has none is returned as it is, or its first part."""
    part = getattr(output, "logits", output)
    if isinstance(part, Mapping) and part:
        return logits_in(part.get("logits", next(iter(part.values()))))
    if isinstance(part, (tuple, list)) and part:
        return logits_in(part[0])
    return part


@dataclass(frozen=True)
class Queries:
    """What was sent to a model elsewhere: requests, and images in them."""

    requests: int
    images: int

    def words(self, name: str) -> str:
        """Say it of the model called ``name``."""
        pictures, requests = number_of(self.images, "picture"), number_of(self.requests, "request")
        return f"sent to {name}: {pictures} in {requests}"


class CountsQueries(Protocol):
    """Counts what it sends to a model elsewhere."""

    @property
    def queries(self) -> Queries:
        """Return what was sent so far."""


class FixedBatch(nn.Module):
    """A network for batches of so many images: larger ones are divided.

    ``filled``: it takes exactly ``size`` images, so that the last part is filled up with copies; otherwise up to ``size``.
    """

    def __init__(self, network: nn.Module, size: int, filled: bool = True) -> None:
        super().__init__()
        self.network, self.size, self.filled = network, size, filled

    @property
    def words(self) -> str:
        """Say how many images it takes."""
        if self.size == 1:
            return "one image at once; batches are divided"
        if self.filled:
            return (
                f"exactly {self.size} images at once; batches are divided, and the last part is filled up with copies"
            )
        return f"at most {self.size} images at once; larger batches are divided"

    def forward(self, images: Tensor) -> Tensor:
        missing = -len(images) % self.size if self.filled else 0
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        return joined([logits_in(self.network(part)) for part in filled.split(self.size)])[: len(images)]


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Join logits (b, K), or tables of boxes (b, A, 4 + K); shorter tables are filled up with boxes of probability 0."""
    if parts[0].ndim == 3:
        most = max(part.shape[1] for part in parts)
        parts = [F.pad(part, (0, 0, 0, most - part.shape[1])) for part in parts]
    return torch.cat(list(parts))


class Predictions(nn.Module):
    """A function outside of torch as a network without gradients.

    ``predict`` maps (B, 3, H, W) float32 to logits (B, K), a table of boxes (B, A, 4 + K), or several arrays by name. Whoever
    limits how many images it takes puts a :class:`FixedBatch` around it. ``client`` counts what is sent elsewhere for it, if
    anything is.
    """

    def __init__(
        self,
        predict: Callable[[NDArray[np.float32]], NDArray[Any] | dict[str, NDArray[Any]]],
        client: CountsQueries | None = None,
    ) -> None:
        super().__init__()
        self.predict, self.client = predict, client

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        answer = self.predict(images.float().cpu().contiguous().numpy())
        if isinstance(answer, dict):
            return {name: torch.from_numpy(values).to(images.device) for name, values in answer.items()}
        return torch.from_numpy(answer).to(images.device)
