"""The network that marks patches: a small U-Net (Ronneberger et al. 2015), which comes with physpatch."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from physpatch.victims.weights import fill_network, read_state

WEIGHTS = Path(__file__).parent / "segmenter.safetensors"
SIDE_PX = 128  # of a square input
STRIDE = 8  # pixels: sides of the input are multiples of it
_WIDTHS = (16, 32, 48, 64)
_MEAN, _SPREAD = 0.45, 0.25  # of photographs


class PatchSegmenter(nn.Module):
    """Map images (B, 3, h, w), RGB in [0, 1], to the logits (B, 1, h, w) of each pixel's being a patch's."""

    def __init__(self) -> None:
        """Create the network with random weights drawn from torch's global generator."""
        super().__init__()
        before = (3, *_WIDTHS[:-1])
        self.down = nn.ModuleList(_block(i, o, 1 if i == 3 else 2) for i, o in zip(before, _WIDTHS, strict=True))
        self.up = nn.ModuleList(
            _block(lower + upper, upper) for lower, upper in zip(_WIDTHS[:0:-1], _WIDTHS[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(_WIDTHS[0], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logits."""
        features, skipped = (images - _MEAN) / _SPREAD, []
        for block in self.down:
            features = block(features)
            skipped.append(features)
        for block, beside in zip(self.up, skipped[-2::-1], strict=True):
            features = F.interpolate(features, size=beside.shape[-2:], mode="bilinear")
            features = block(torch.cat([features, beside], dim=1))
        return self.head(features)


def _block(channels: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in (stride, 1):
        layers += [nn.Conv2d(channels, outputs, 3, step, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        channels = outputs
    return nn.Sequential(*layers)


def trained_segmenter(file: Path = WEIGHTS) -> PatchSegmenter:
    """Create the network with the weights of ``file``, as float32, in eval mode and frozen.

    Raises:
        InputError: the file is missing or damaged, or holds the weights of another network.
    """
    network = PatchSegmenter()
    state = {name: t.float() if t.is_floating_point() else t for name, t in read_state(file).items()}
    fill_network(network, state, file, "the segmenter of patches")
    return network.eval().requires_grad_(False)
