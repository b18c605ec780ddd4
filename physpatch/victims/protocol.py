"""What every victim offers, whatever library it came from."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms

from calibration.common.errors import InputError, unknown_name
from calibration.common.success import DETECTION_THRESHOLD, ON_OBJECT, FoundBox
from physpatch.victims.batch_norm_folding import fold_batch_norms

Task = Literal["classify", "detect"]
Guard = Callable[[Tensor], Tensor]  # (B, 3, H, W) RGB in [0, 1] to the same
_SUPPRESSED, _MOST_BOXES = (
    0.7,
    300,
)  # as there: IoU from which the less confident box of a class goes, and how many stay
_LETTERBOX_GREY, _STRIDE = 114, 32
# IoU from which a box is about an object and pulls in training: less than `calibration.common.success.ON_OBJECT`, from which it
# counts, so that none is left behind just below that.
ABOUT = 0.3
_SURE = 1e-6  # probabilities are kept this far from 0 and 1 before they are turned into logits


@dataclass(frozen=True)
class Preprocessing:
    """From photograph to input: shorter side to ``resize``, central square of ``size``, (x - mean) / std."""

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class WeightsInfo:
    """Where the weights came from, and their SHA-256."""

    source: str
    sha256: str


@dataclass(frozen=True)
class Detection:
    """One box: class index, confidence in [0, 1], left, top, right, bottom in pixels of the frame."""

    index: int
    score: float
    xyxy: tuple[float, float, float, float]


def judged_boxes(detections: Iterable[Detection], categories: Sequence[str] | None = None) -> list[FoundBox]:
    """Hand a detector's boxes to ``calibration.common.success``, with their classes by index, or by name of ``categories``."""
    return [
        FoundBox(one.index if categories is None else categories[one.index], one.score, one.xyxy) for one in detections
    ]


@dataclass(frozen=True, eq=False)
class Victim:
    """A frozen network with what is needed to attack, explain and report it.

    Attributes:
        module: maps a normalised batch to its raw output.
        cam_layer: the layer whose activations Grad-CAM weighs; its output is (B, C, h, w).
        guard: what images go through first, see :func:`physpatch.defences.defended`; None for a bare network.
        learned_from: the photographs that the network itself was made with, by :func:`physpatch.data.splits.content_id`, as far
            as its weights tell: no patch is measured on these.
        published_accuracy: share of ILSVRC's validation photographs that these weights are right on, as their authors
            published it; None where it is not known.
    """

    name: str
    task: Task
    categories: tuple[str, ...]
    preprocessing: Preprocessing
    module: nn.Module
    cam_layer: nn.Module
    weights: WeightsInfo
    guard: Guard | None = None
    learned_from: frozenset[str] = frozenset()
    published_accuracy: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.module.parameters()).device

    def raw(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) RGB in [0, 1] and run the module.

        A guard's gradient is taken for the identity (BPDA, Athalye et al. 2018): that of most is nearly nowhere defined.
        """
        if self.guard is not None:
            images = self.guard(images.detach()) + (images - images.detach())
        mean = torch.tensor(self.preprocessing.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.preprocessing.std, device=images.device)[:, None, None]
        return self.module(((images - mean) / std).contiguous(memory_format=torch.channels_last))

    def scores(self, images: Tensor) -> Tensor:
        """One logit for each class: (B, 3, H, W) RGB in [0, 1] to (B, K).

        A classifier's logits belong to a softmax; a detector's are those of its most confident box of each class,
        each for a sigmoid of its own.
        """
        return self.raw(images)

    def confidences(self, scores: Tensor) -> Tensor:
        """Turn :meth:`scores` into probabilities in [0, 1]."""
        return scores.sigmoid() if self.task == "detect" else scores.softmax(dim=-1)

    def category_index(self, name: str) -> int:
        """Find a class by index or by name.

        Raises:
            InputError: no such class; near matches are named.
        """
        if re.fullmatch(r"-?\d+", name):
            if not 0 <= int(name) < len(self.categories):
                raise InputError(
                    f"class index {name} out of range; {self.name} has classes 0 to {len(self.categories) - 1}"
                )
            return int(name)
        wanted = normal_name(name)
        for index, category in enumerate(self.categories):
            if wanted == normal_name(category):
                return index
        raise unknown_name("class", name, self.categories)

    def target_index(self, target: dict[str, Any]) -> int | None:
        """Where a patch's target class stands on this victim, by name; None where it has no such class.

        Another victim may number its classes otherwise. Where two classes have one name, the patch's own index decides.
        """
        wanted = normal_name(str(target["name"]))
        named = [i for i, category in enumerate(self.categories) if normal_name(category) == wanted]
        return target["index"] if target["index"] in named else next(iter(named), None)


@dataclass(frozen=True, eq=False)
class Detector(Victim):
    """A victim that finds boxes, whatever library it came from; a subclass gives :meth:`predictions`."""

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Every box that it considers in (B, 3, S, S) RGB in [0, 1], before any is suppressed; gradients flow.

        Returns:
            Boxes (B, A, 4), left, top, right, bottom in pixels, and each class's probability (B, A, K).
        """
        raise NotImplementedError

    def scores(self, images: Tensor) -> Tensor:
        """Logits (B, K) of the most confident box of each class."""
        return best_scores(self.predictions(images))

    def scores_near(self, images: Tensor, places: Tensor, *, centred: bool = False) -> Tensor:
        """The same among the boxes about, or ``centred`` in, places (B, 4), one an image, see :func:`best_scores`."""
        return best_scores(self.predictions(images), places, centred=centred)

    @torch.no_grad()
    def find(self, images: Tensor, least: float = DETECTION_THRESHOLD) -> list[list[Detection]]:
        """Boxes of at least that confidence in (B, 3, H, W), see :func:`found_boxes`."""
        return found_boxes(self.predictions(images), least)

    def detect(self, frame: NDArray[np.uint8]) -> list[Detection]:
        """Boxes in a (H, W, 3) RGB uint8 frame of any size, the most confident first; see :class:`Letterbox`."""
        boxed = Letterbox.of(frame, self.preprocessing.size)
        return [boxed.back(one) for one in self.find(boxed.images.to(self.device))[0]]


@dataclass(frozen=True, eq=False)
class Letterbox:
    """A frame as a detector takes it, as ultralytics does for prediction.

    It is scaled to fit the input's side, centred, and grey around up to the next multiple of the stride.

    Attributes:
        images: (1, 3, h, w) in [0, 1].
        left, top, width, height: where the frame lies in it, in pixels.
        frame_wh: the frame's own width and height.
    """

    images: Tensor
    left: int
    top: int
    width: int
    height: int
    frame_wh: tuple[int, int]

    @classmethod
    def of(cls, frame: NDArray[np.uint8], size: int) -> "Letterbox":
        """Of a (H, W, 3) RGB uint8 frame, for an input of that side."""
        height, width = frame.shape[:2]
        share = size / max(height, width)
        inner = (round(width * share), round(height * share))
        small = frame if inner == (width, height) else cv2.resize(frame, inner, interpolation=cv2.INTER_LINEAR)
        short = [-side % _STRIDE for side in inner]
        left, top = (round(missing / 2 - 0.1) for missing in short)
        boxed = np.full((inner[1] + short[1], inner[0] + short[0], 3), _LETTERBOX_GREY, np.uint8)
        boxed[top : top + inner[1], left : left + inner[0]] = small
        return cls(torch.from_numpy(boxed).permute(2, 0, 1)[None] / 255, left, top, *inner, (width, height))

    @property
    def _share(self) -> NDArray[np.float64]:
        """Pixels there of one of the frame's, across and down: whole pixels make them differ a little."""
        return np.array([self.width, self.height]) / self.frame_wh

    def back(self, found: Detection) -> Detection:
        """A box in the frame's own pixels, cut off at its edges."""
        at = (np.array(found.xyxy).reshape(2, 2) - (self.left, self.top)) / self._share
        x, y, right, bottom = at.clip(0, self.frame_wh).ravel().tolist()
        return replace(found, xyxy=(x, y, right, bottom))

    def into(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Points (N, 2) in pixels of the frame as pixels in here."""
        return points * self._share + (self.left, self.top)

    def cut(self, heat: NDArray[np.float32]) -> NDArray[np.float32]:
        """The frame's part of a map (h, w) over all of it."""
        return heat[self.top : self.top + self.height, self.left : self.left + self.width]


def found_boxes(predictions: tuple[Tensor, Tensor], least: float = DETECTION_THRESHOLD) -> list[list[Detection]]:
    """Of :meth:`Detector.predictions` those of at least that confidence, the most confident first; of a class, no two that
    overlap much.
    """
    found = []
    for boxes, probabilities in zip(*predictions, strict=True):
        scores, classes = probabilities.float().max(dim=1)
        sure = scores >= least
        boxes, scores, classes = boxes[sure].float(), scores[sure], classes[sure]
        kept = batched_nms(boxes, scores, classes, _SUPPRESSED)[:_MOST_BOXES]
        rows = zip(classes[kept].tolist(), scores[kept].tolist(), boxes[kept].tolist(), strict=True)
        found.append([Detection(index, score, tuple(box)) for index, score, box in rows])
    return found


def best_scores(
    predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False, least: float = ABOUT
) -> Tensor:
    """Compute the logits (B, K) of the most confident box of each class.

    Args:
        predictions: as :meth:`Detector.predictions` gives them.
        places: (B, 4), one box an image: only boxes with an IoU of ``least`` or more with it count. None: all.
        centred: boxes whose middle lies in their place count instead, of whatever size: a phantom may be larger than the
            patch that calls it up.
        least: by default what pulls in training; what counts as success is ``calibration.common.success.ON_OBJECT``.
    """
    boxes, probabilities = predictions
    if places is not None:
        found, wanted = boxes.detach().float(), places.to(boxes)[:, None].float()
        near = is_centred(found, wanted) if centred else box_overlap(found, wanted) >= least
        probabilities = probabilities * near[:, :, None]
    return torch.logit(probabilities.amax(dim=1), eps=_SURE)


def judged_scores(predictions: tuple[Tensor, Tensor], places: Tensor | None = None, *, centred: bool = False) -> Tensor:
    """Compute :func:`best_scores` of the boxes that count as success or not, by ``calibration.common.success``.

    As in :func:`found_boxes` a box is of its likeliest class alone, and on an object from ``ON_OBJECT`` on. Boxes that
    another of their class would suppress still count: their suppressor is where they are, and surer.
    """
    boxes, probabilities = predictions
    likeliest = probabilities == probabilities.amax(dim=2, keepdim=True)
    return best_scores((boxes, probabilities * likeliest), places, centred=centred, least=ON_OBJECT)


def is_centred(boxes: Tensor, places: Tensor) -> Tensor:
    """Whether the middles of boxes (..., 4) lie in places (..., 4) that broadcast against them: (...)."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((middle >= places[..., :2]) & (middle <= places[..., 2:])).all(dim=-1)


def box_overlap(ones: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) that broadcast against one another: (...)."""
    least, most = torch.maximum(ones[..., :2], others[..., :2]), torch.minimum(ones[..., 2:], others[..., 2:])
    common = (most - least).clamp(min=0).prod(dim=-1)
    area = sum((boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (ones, others))
    return common / (area - common).clamp(min=1e-9)


@dataclass(frozen=True)
class CatalogueEntry:
    """One row of ``physpatch models``."""

    name: str
    task: Task
    source: str
    ready: bool


class VictimFamily(ABC):
    """A source of victims, found by :data:`physpatch.victims.registry.FAMILIES`.

    Attributes:
        name: of the family, by which nothing is loaded.
        summary: one line: what it loads, and by which names.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def catalogue(self) -> list[CatalogueEntry]:
        """List the names worth showing."""

    @abstractmethod
    def knows(self, name: str) -> bool:
        """Tell whether :meth:`load` may be asked for this name or file."""

    @abstractmethod
    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        """Load on the CPU, frozen and in eval mode; a file that could run code only where the person has ``trust`` in it."""


def normal_name(name: str) -> str:
    """Compare class names without case, underscores or hyphens."""
    return name.lower().replace("_", " ").replace("-", " ").strip()


def freeze(module: nn.Module, size: int) -> nn.Module:
    """Eval mode, no parameter gradients, batch norms folded, channels_last: what loaded victims are kept in.

    ``size`` in pixels is what the module may be tried with.
    """
    module.eval().requires_grad_(False)
    fold_batch_norms(module, size)
    return module.requires_grad_(False).to(memory_format=torch.channels_last)


@contextmanager
def untouched(victim: Victim) -> Iterator[None]:
    """Use a victim frozen and in eval mode; leave mode, ``requires_grad`` and ``grad`` of every part as they were found."""
    modes = [(m, m.training) for m in victim.module.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in victim.module.parameters()]
    victim.module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, grad in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


def find_cam_layer(module: nn.Module, size: int) -> nn.Module:
    """The last layer used exactly once whose output is still a spatial map: what Grad-CAM is usually run on."""
    last: list[nn.Module] = []
    calls: dict[nn.Module, int] = {}

    def note(layer: nn.Module, _inputs: object, output: object) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[-2:]) > 1:
            last.append(layer)

    handles = [layer.register_forward_hook(note) for layer in module.modules() if layer is not module]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    layers = [layer for layer in last if calls[layer] == 1]
    if not layers:
        raise InputError("this network has no spatial feature map for Grad-CAM")
    return layers[-1]
