"""Grad-CAM (Selvaraju et al. 2017) as pictures and as numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physpatch.victims.base import Victim, untouched

if TYPE_CHECKING:  # it takes seconds to import
    from pytorch_grad_cam import GradCAM


class HeatMapper:
    """Heat maps of one victim, while the block of :func:`grad_cam` lasts."""

    def __init__(self, cam: "GradCAM") -> None:
        self._cam = cam

    def __call__(self, images: Tensor, classes: Sequence[int]) -> NDArray[np.float32]:
        """Heat maps (B, H, W) in [0, 1] of images (B, 3, H, W) for B class indices."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=[ClassifierOutputTarget(int(c)) for c in classes])
        return np.asarray(maps, dtype=np.float32)

    def top(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
        """The victim's scores (B, C) and the heat maps of its own answers, for one forward pass."""
        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=None)
        return self._cam.outputs.detach(), np.asarray(maps, dtype=np.float32)


class _Scores(nn.Module):
    """A victim as the plain module that pytorch-grad-cam expects."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.network = victim.module  # registered, so that its parameters and device are found

    def forward(self, images: Tensor) -> Tensor:
        return self.victim.scores(images)


@contextmanager
def grad_cam(victim: Victim) -> Iterator[HeatMapper]:
    """Yield a :class:`HeatMapper`.

    The victim is left as it was found: hooks, mode, gradients. The backward pass stops at the target layer, because
    the victim's parameters are frozen and the layer's output is made the leaf of the graph.
    """
    from pytorch_grad_cam import GradCAM

    with untouched(victim):
        # The copy lets a network that goes on in place (DenseNet) do so: a leaf may not be changed.
        cut = victim.cam_layer.register_forward_hook(
            lambda _layer, _in, output: output.detach().requires_grad_().clone()
        )
        cam = GradCAM(_Scores(victim), [victim.cam_layer])
        try:
            yield HeatMapper(cam)
        finally:  # not `with GradCAM(...)`: it swallows every IndexError of the block
            cam.activations_and_grads.release()
            cut.remove()


def heat_share(heat: NDArray[np.float32], coverage: NDArray[np.float32]) -> float:
    """Share of a heat map (H, W) that lies inside a mask (H, W) in [0, 1]; 0 where there is no heat at all."""
    total = float(heat.sum())
    return float((heat * coverage).sum()) / total if total > 0 else 0.0


def heat_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson correlation of two heat maps of one shape, in [-1, 1]; 0 where one of them is flat."""
    a, b = one.ravel() - one.mean(), other.ravel() - other.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0
