"""Grad-CAM (Selvaraju et al. 2017) as pictures and numbers: where the heat lies, and whether the answer depends on it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.common.errors import InputError
from physpatch.victims.boxes import Detection, best_scores
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.networks.outputs import FixedBatch
from physpatch.victims.protocol import Victim

if TYPE_CHECKING:  # importing it takes seconds
    from pytorch_grad_cam import GradCAM

_DELETION_STEPS = 10
_DELETION_BLUR = 1 / 16  # of the image's side: no cell of a patch is visible through it
_VIEWS_AT_ONCE = 32
_COARSE = 7  # side of Grad-CAM's map before upsampling, for common networks and image sizes

Target = Callable[[Tensor], Tensor]  # from the network's output for one image to the number that the heat explains
# From the detections to a class and, perhaps, a box (4,) of its object; None for no heat.
Aim = Callable[[list[Detection]], tuple[int, Tensor | None] | None]


class HeatMapper:
    """Heat maps of one victim, within the block of :func:`grad_cam`."""

    def __init__(self, cam: "GradCAM", victim: Victim) -> None:
        self._cam, self._victim = cam, victim
        self._most = _most_at_once(victim)

    def __call__(self, images: Tensor, classes: Sequence[int], about: Tensor | None = None) -> NDArray[np.float32]:
        """Compute heat maps (B, H, W) in [0, 1] of images (B, 3, H, W) for B class indices.

        For a detector, the heat explains the most confident box of the class; with ``about`` (B, 4), the most confident one
        of those on objects there, see :func:`physpatch.victims.boxes.best_scores`.
        """
        places = [None] * len(images) if about is None else about
        return self._maps(images, [self._target(int(c), place) for c, place in zip(classes, places, strict=True)])

    def top(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
        """Compute the victim's scores (B, C) and the heat maps (B, H, W) of its answers, in one forward pass."""
        if len(images) > self._most:
            scores, heat = zip(*(self.top(part) for part in images.split(self._most)), strict=True)
            return torch.cat(scores), np.concatenate(heat)
        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=None)
        return self._cam.outputs.detach(), np.asarray(maps, dtype=np.float32)[: len(images)]

    def found(self, images: Tensor, aim: Aim) -> tuple[list[Detection], NDArray[np.float32]]:
        """Detect boxes in one image (1, 3, H, W), and compute the heat (H, W) of the one that ``aim`` chooses.

        One forward pass does both. The heat is 0 where ``aim`` chooses none.
        """
        detector, detections = self._victim, list[Detection]()
        assert isinstance(detector, Detector)

        def target(output: Tensor) -> Tensor:
            detections.extend(detector.select(_apart(output.detach()[None]))[0])
            chosen = aim(detections)
            return output.sum() * 0 if chosen is None else self._target(*chosen)(output)

        (heat,) = self._maps(images, [target])
        return detections, heat

    def _target(self, index: int, about: Tensor | None) -> Target:
        if not isinstance(self._victim, Detector):
            return lambda scores: scores[index]
        return lambda output: best_scores(_apart(output[None]), None if about is None else about[None])[0, index]

    def _maps(self, images: Tensor, targets: list[Target]) -> NDArray[np.float32]:
        if len(images) > self._most:
            starts = range(0, len(images), self._most)
            parts = [(images[i : i + self._most], targets[i : i + self._most]) for i in starts]
            return np.concatenate([self._maps(*part) for part in parts])
        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=targets)
        return np.asarray(maps, dtype=np.float32)[: len(images)]


def _most_at_once(victim: Victim) -> int:
    """Return of how many images a layer's hooks see the maps.

    A program for a fixed number of images fills its batch up, and one for at most so many runs several times for more, but the
    hooks know one run only.
    """
    limits = [part for part in victim.module.modules() if isinstance(part, FixedBatch)]
    return min((1 if part.filled else part.size for part in limits), default=sys.maxsize)


def _apart(joined: Tensor) -> tuple[Tensor, Tensor]:
    """Split the boxes from the probabilities that :class:`_Output` joined."""
    return joined[..., :4], joined[..., 4:]


class _Output(nn.Module):
    """A victim as the plain module that pytorch-grad-cam expects; the output has a row per image."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.network = victim.module  # registered, so that pytorch-grad-cam finds its parameters and device

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(self.victim, Detector):
            return torch.cat(self.victim.predictions(images), dim=-1)
        return self.victim.scores(images)


@contextmanager
def grad_cam(victim: Victim) -> Iterator[HeatMapper]:
    """Yield a :class:`HeatMapper`; the victim's hooks, mode and gradients are restored afterwards.

    The backward pass stops at the target layer, because the victim's parameters are frozen and the layer's output is made
    the leaf of the graph.

    Raises:
        InputError: a victim without gradients, or without a layer for heat.
    """
    from pytorch_grad_cam import GradCAM

    heat_layer = victim.heat_layer
    if heat_layer is None:
        raise InputError(f"{victim.name} shows no heat: Grad-CAM needs gradients and a layer with a spatial map")
    with untouched(victim):
        # The copy is for networks that continue in place (DenseNet), which is forbidden on a leaf.
        cut = heat_layer.layer.register_forward_hook(
            lambda _layer, _in, output: output.detach().requires_grad_().clone()
        )
        cam = GradCAM(_Output(victim), [heat_layer.layer], reshape_transform=heat_layer.reshape)
        try:
            yield HeatMapper(cam, victim)
        finally:  # not `with GradCAM(...)`: it swallows every IndexError of the block
            cam.activations_and_grads.release()
            cut.remove()


def differentiable_heat(victim: Victim, images: Tensor) -> Tensor:
    """Compute Grad-CAM of a classifier's own answers so that it can itself be differentiated, for attacks on it.

    Args:
        victim: a classifier with heat.
        images: (B, 3, H, W) in [0, 1].

    Returns:
        (B, H, W), at least 0, with a gradient to ``images`` if they have one.

    Raises:
        InputError: a victim without heat.
    """
    most = _most_at_once(victim)
    if len(images) > most:
        return torch.cat([differentiable_heat(victim, part) for part in images.split(most)])
    heat_layer, outputs = victim.heat_layer, []
    if heat_layer is None:
        raise InputError(f"{victim.name} shows no heat: Grad-CAM needs a layer with a spatial map")

    def keep(_layer: nn.Module, _in: object, output: Tensor) -> Tensor:
        outputs.append(output)
        return output.clone()  # for networks that continue in place

    with torch.enable_grad():
        hook = heat_layer.layer.register_forward_hook(keep)
        try:
            scores = victim.scores(images if images.requires_grad else images.detach().requires_grad_())
        finally:
            hook.remove()
        (slopes,) = torch.autograd.grad(scores.amax(dim=1).sum(), outputs[-1], create_graph=True)
        reshape = heat_layer.reshape or (lambda values: values)
        weights = reshape(slopes).mean(dim=(2, 3), keepdim=True)
        maps = (weights * reshape(outputs[-1])).sum(dim=1, keepdim=True).relu()
        heat = _from_zero(maps[: len(images)])  # without those of the copies that fill up a fixed batch
        return _from_zero(F.interpolate(heat, size=images.shape[-2:], mode="bilinear"))[:, 0]


def _from_zero(heat: Tensor) -> Tensor:
    """Subtract from maps (B, 1, h, w) the least value of each, as pytorch-grad-cam does before and after it resizes them."""
    return heat - heat.amin(dim=(2, 3), keepdim=True)


def heat_share(heat: NDArray[np.float32], coverage: NDArray[np.float32]) -> float:
    """Compute the share of a heat map (H, W) that lies inside a mask (H, W) in [0, 1]; 0 for a map without heat."""
    total = float(heat.sum())
    return float((heat * coverage).sum()) / total if total > 0 else 0.0


def heat_similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Compute the Pearson correlation, in [-1, 1], of two heat maps of equal shape; 0 where either is flat."""
    a, b = first.ravel() - first.mean(), second.ravel() - second.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0


def points_inside(heat: NDArray[np.float32], mask: NDArray[np.float32]) -> bool:
    """Tell whether the hottest pixel of a heat map (H, W) lies inside a mask (H, W): the pointing game (Zhang et al. 2018).

    The mask is in [0, 1] and inside where it is above a half, without a margin. The result is False for a flat map.
    """
    return bool(heat.max() > heat.min() and mask.flat[heat.argmax()] > 0.5)


def deletion_auc(
    victim: Victim, images: Tensor, heat: NDArray[np.float32], classes: Tensor, about: Tensor | None = None
) -> Tensor:
    """Compute the area under the deletion curve (Petsiuk et al. 2018, RISE).

    Pixels are removed in order of heat, the hottest first, and the confidence of the class is averaged over removed shares
    of 5, 15, ... 95 %. A low area means that the answer depends on the pixels that the map marks; compare it with that of
    :func:`random_heat`. A removed pixel takes its value from a heavily blurred copy of the image: a hole of one colour would
    have hard edges, which a network may respond to, especially next to a patch of plain cells.

    Args:
        victim: the network; its state is restored.
        images: (B, 3, H, W) in [0, 1] on the victim's device.
        heat: (B, H, W); only the order of its values counts, equal ones go by rows from the top.
        classes: (B,) class indices.
        about: (B, 4), for a detector: only its boxes on objects there count.

    Returns:
        (B,) in [0, 1], on the CPU.
    """
    height, width = images.shape[-2:]
    hottest_first = torch.from_numpy(heat).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = (hottest_first.argsort(dim=1).view(-1, 1, height, width) / (height * width)).to(images.device)
    blurred = _blurred(images)
    removed = ((torch.arange(_DELETION_STEPS) + 0.5) / _DELETION_STEPS).to(images)[:, None, None, None]
    confidences = []
    with untouched(victim), torch.no_grad():
        for views in torch.arange(len(images) * _DELETION_STEPS).split(_VIEWS_AT_ONCE):
            image, step = views // _DELETION_STEPS, views % _DELETION_STEPS
            partial = torch.where(rank[image] < removed[step], blurred[image], images[image])
            scores = scores_about(victim, partial, None if about is None else about[image])
            confidences.append(victim.confidences(scores).cpu().gather(1, classes.cpu()[image, None])[:, 0])
    return torch.cat(confidences).view(-1, _DELETION_STEPS).mean(dim=1)


def scores_about(victim: Victim, images: Tensor, about: Tensor | None) -> Tensor:
    """Compute a victim's scores (B, K); with ``about`` (B, 4), those of a detector's boxes on objects there."""
    if about is None or not isinstance(victim, Detector):
        return victim.scores(images)
    return victim.scores_near(images, about)


def random_heat(shape: tuple[int, ...], generator: torch.Generator) -> NDArray[np.float32]:
    """Draw heat maps (B, H, W) in [0, 1] that are independent of any image: the baseline of :func:`deletion_auc`.

    They are 7x7 values upsampled smoothly, as Grad-CAM's are. Removing single pixels in random order would be a misleading
    baseline, because the speckle disturbs any answer sooner than a hole in the right place.
    """
    coarse = torch.rand(shape[0], 1, _COARSE, _COARSE, generator=generator)
    return F.interpolate(coarse, size=shape[1:], mode="bilinear")[:, 0].numpy()


def _blurred(images: Tensor) -> Tensor:
    sigma = _DELETION_BLUR * min(images.shape[-2:])
    side = 2 * round(3 * sigma) + 1
    return gaussian_blur2d(images, (side, side), (sigma, sigma))
