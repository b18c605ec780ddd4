"""Grad-CAM (Selvaraju et al. 2017) as pictures and as numbers: where the heat lies, and whether the answer hangs on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from numpy.typing import NDArray
from torch import Tensor, nn

from physpatch.victims.boxes import Detection, best_scores, select_boxes
from physpatch.victims.detector import Detector
from physpatch.victims.freezing import untouched
from physpatch.victims.protocol import Victim

if TYPE_CHECKING:  # it takes seconds to import
    from pytorch_grad_cam import GradCAM

_DELETION_STEPS = 10
_DELETION_BLUR = 1 / 16  # of the image's side: no cell of a patch is still seen through it
_VIEWS_AT_ONCE = 32
_COARSE = 7  # a side of Grad-CAM's map before it is enlarged, on a usual network and image


Target = Callable[[Tensor], Tensor]  # from the network's output for one image to the number whose heat is wanted
Aim = Callable[
    [list[Detection]], tuple[int, Tensor | None] | None
]  # from what was found to a class, and a box (4,) about it


class HeatMapper:
    """Heat maps of one victim, while the block of :func:`grad_cam` lasts."""

    def __init__(self, cam: "GradCAM", victim: Victim) -> None:
        self._cam, self._victim = cam, victim

    def __call__(self, images: Tensor, classes: Sequence[int], about: Tensor | None = None) -> NDArray[np.float32]:
        """Heat maps (B, H, W) in [0, 1] of images (B, 3, H, W) for B class indices.

        Of a detector it is the heat of the class's most confident box, or, with ``about`` (B, 4), of the most confident
        among those about an object there, see :func:`physpatch.victims.boxes.best_scores`.
        """
        places = [None] * len(images) if about is None else about
        return self._maps(images, [self._target(int(c), at) for c, at in zip(classes, places, strict=True)])

    def top(self, images: Tensor) -> tuple[Tensor, NDArray[np.float32]]:
        """The victim's scores (B, C) and the heat maps of its own answers, for one forward pass."""
        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=None)
        return self._cam.outputs.detach(), np.asarray(maps, dtype=np.float32)

    def found(self, images: Tensor, aim: Aim) -> tuple[list[Detection], NDArray[np.float32]]:
        """What a detector finds in one image (1, 3, H, W), and the heat (H, W) of what ``aim`` chooses of it.

        All by one forward pass; no heat at all where it chooses nothing.
        """
        seen: list[Detection] = []

        def target(output: Tensor) -> Tensor:
            seen.extend(select_boxes(_apart(output.detach()[None]))[0])
            chosen = aim(seen)
            return output.sum() * 0 if chosen is None else self._target(*chosen)(output)

        (heat,) = self._maps(images, [target])
        return seen, heat

    def _target(self, index: int, about: Tensor | None) -> Target:
        if not isinstance(self._victim, Detector):
            return lambda scores: scores[index]
        return lambda output: best_scores(_apart(output[None]), None if about is None else about[None])[0, index]

    def _maps(self, images: Tensor, targets: list[Target]) -> NDArray[np.float32]:
        with torch.enable_grad():
            maps = self._cam(input_tensor=images, targets=targets)
        return np.asarray(maps, dtype=np.float32)


def _apart(joined: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and probabilities that :class:`_Output` has joined."""
    return joined[..., :4], joined[..., 4:]


class _Output(nn.Module):
    """A victim as the plain module that pytorch-grad-cam expects: a row of scores an image, or of a detector all its boxes."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.network = victim.module  # registered, so that its parameters and device are found

    def forward(self, images: Tensor) -> Tensor:
        if isinstance(self.victim, Detector):
            return torch.cat(self.victim.predictions(images), dim=-1)
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
        cam = GradCAM(_Output(victim), [victim.cam_layer])
        try:
            yield HeatMapper(cam, victim)
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


def points_inside(heat: NDArray[np.float32], mask: NDArray[np.float32]) -> bool:
    """The pointing game (Zhang et al. 2018): whether the hottest pixel of a heat map (H, W) lies inside a mask (H, W).

    The mask is in [0, 1], inside is above a half, and there is no margin around it. False where the map is flat.
    """
    return bool(heat.max() > heat.min() and mask.flat[heat.argmax()] > 0.5)


def deletion_auc(
    victim: Victim, images: Tensor, heat: NDArray[np.float32], classes: Tensor, about: Tensor | None = None
) -> Tensor:
    """Area under the deletion curve (Petsiuk et al. 2018, RISE): how well a class outlives the loss of what is hot.

    Pixels are removed in order of heat, the hottest first, and the class's confidence is averaged over shares removed of 5,
    15, ... 95 %. The lower, the more the answer hangs on what the map shows; :func:`random_heat` tells what is low. A removed
    pixel takes its value from a heavily blurred copy of the image: a hole in one colour would have hard edges, which
    is something to see, above all beside a patch made of such cells.

    Args:
        victim: the network; left as it was found.
        images: (B, 3, H, W) in [0, 1] on the victim's device.
        heat: (B, H, W); only its order counts, equal pixels go by rows from the top.
        classes: (B,) class indices.
        about: (B, 4), for a detector: only its boxes about an object there count.

    Returns:
        (B,) in [0, 1], on the CPU.
    """
    height, width = images.shape[-2:]
    hottest_first = torch.from_numpy(heat).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = (hottest_first.argsort(dim=1).view(-1, 1, height, width) / (height * width)).to(images.device)
    gone = _blurred(images)
    removed = ((torch.arange(_DELETION_STEPS) + 0.5) / _DELETION_STEPS).to(images)[:, None, None, None]
    confidences = []
    with untouched(victim), torch.no_grad():
        for views in torch.arange(len(images) * _DELETION_STEPS).split(_VIEWS_AT_ONCE):
            image, step = views // _DELETION_STEPS, views % _DELETION_STEPS
            seen = torch.where(rank[image] < removed[step], gone[image], images[image])
            known = victim.confidences(scores_about(victim, seen, None if about is None else about[image])).cpu()
            confidences.append(known.gather(1, classes.cpu()[image, None])[:, 0])
    return torch.cat(confidences).view(-1, _DELETION_STEPS).mean(dim=1)


def scores_about(victim: Victim, images: Tensor, about: Tensor | None) -> Tensor:
    """A victim's scores (B, K), of a detector those of its boxes about objects at (B, 4) alone, where such are given."""
    if about is None or not isinstance(victim, Detector):
        return victim.scores(images)
    return victim.scores_near(images, about)


def random_heat(shape: tuple[int, ...], generator: torch.Generator) -> NDArray[np.float32]:
    """Heat maps (B, H, W) in [0, 1] that know nothing of any image: the baseline of :func:`deletion_auc`.

    They are 7x7 values enlarged smoothly, as Grad-CAM's are. Single pixels in random order would not do: the speckle that they
    leave spoils any answer sooner than a hole in the right place.
    """
    coarse = torch.rand(shape[0], 1, _COARSE, _COARSE, generator=generator)
    return F.interpolate(coarse, size=shape[1:], mode="bilinear")[:, 0].numpy()


def _blurred(images: Tensor) -> Tensor:
    sigma = _DELETION_BLUR * min(images.shape[-2:])
    side = 2 * round(3 * sigma) + 1
    return gaussian_blur2d(images, (side, side), (sigma, sigma))
