"""The interface of every victim, whichever library it came from."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from calibration.common.errors import InputError
from physpatch.victims.freezing import freeze
from physpatch.victims.labels import check_names, find_category, numbered_categories, read_labels
from physpatch.victims.labels import normal_name as normal_name
from physpatch.victims.networks.cam_layers import (
    CamLayer,
    Reshape,
    SearchedLayer,
    device_of,
    find_cam_layer,
    named_cam_layer,
)
from physpatch.victims.networks.gradients import why_no_gradient, without_gradients
from physpatch.victims.networks.outputs import Predictions, Queries, with_logits
from physpatch.victims.own_code import in_one_line, in_words
from physpatch.victims.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Adaptation
from physpatch.victims.preprocessing import Preprocessing as Preprocessing
from physpatch.victims.preprocessing import Task as Task
from physpatch.victims.weights import state_sha256

_BATCH_CURE = "if it takes only so many images at once, export it with a dynamic batch dimension, or change --batch"

Guard = Callable[[Tensor], Tensor]  # (B, 3, H, W) RGB in [0, 1] to the same


@dataclass(frozen=True)
class WeightsInfo:
    """The source of a network's weights, and their SHA-256."""

    source: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Victim:
    """A frozen network, with what is needed to attack it, explain it and report on it.

    Attributes:
        module: maps a normalised batch to its raw output.
        cam_layer: the layer whose activations Grad-CAM weighs; its output is (B, C, h, w). None for a network without heat.
        guard: the defence that images pass first, see :func:`physpatch.defences.defended`; None for an undefended network.
        learned_from: the photographs that the network was trained on, by :func:`physpatch.data.splits.content_id`, as far as
            its weights record them: no patch is measured on these.
        published_accuracy: the published share of ILSVRC's validation photographs that these weights classify correctly;
            None where it is unknown.
        cam_reshape: turns the output of ``cam_layer`` into (B, C, h, w); None where it is that already.
        cam_search: finds a layer on first use, for a network without ``cam_layer``; None for no search.
        differentiable: whether gradients flow from the scores to the images; techniques that need them are refused else.
        loaded_as: the name or file by which :func:`physpatch.victims.registry.load_victim` loads it again; empty for a victim
            that was not loaded by it.
        loaded_with: the options ``weights``, ``labels`` and ``cam_layer`` with which it was loaded, as far as it took any.
        threshold: the lowest confidence at which an answer counts; 0 where a classifier's top class always does.
        remark: what a user must know about how it was loaded; empty for nothing.
    """

    name: str
    task: Task
    categories: tuple[str, ...]
    preprocessing: Preprocessing
    module: nn.Module
    cam_layer: nn.Module | None
    weights: WeightsInfo
    guard: Guard | None = None
    learned_from: frozenset[str] = frozenset()
    published_accuracy: float | None = None
    cam_reshape: Reshape | None = None
    differentiable: bool = True
    loaded_as: str = ""
    loaded_with: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.0
    remark: str = ""
    cam_search: SearchedLayer | None = None

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        *,
        categories: Sequence[str] | str | Path | None = None,
        size: int = 224,
        resize: int | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        bgr: bool = False,
        name: str | None = None,
        weights: WeightsInfo | None = None,
        cam_layer: str | None = None,
        differentiable: bool = True,
        copied: bool = True,
    ) -> "Victim":
        """Make a victim from any classifier: ``Victim.wrap(module, categories=("cat", "dog"), size=224)``.

        Args:
            module: maps a normalised batch (B, 3, size, size) to logits (B, K), to an object with ``logits``, or to a tuple
                that begins with one of these. It becomes float32, as the images are.
            categories: the K names of the classes, in order; ``imagenet``, ``coco``, or a file of labels, see
                :func:`physpatch.victims.labels.read_labels`. None for ImageNet's names where K is 1000, or else numbers.
            size: side of the network's input, in pixels.
            resize: length of a photograph's shorter side before the central crop, in pixels, not below ``size``; None for
                ``size``.
            mean, std: of RGB in [0, 1]; the default is ImageNet's.
            bgr: the network expects blue, green, red.
            name: in tables and records; None for the name of the module's class.
            weights: where the weights came from; None for the SHA-256 of the module's state.
            cam_layer: name of the layer for Grad-CAM; None to choose it, and to do without heat where there is none.
            differentiable: whether gradients flow from the output to the images. That they do is tried; where they do not,
                the victim is not differentiable either, and its ``remark`` says why.
            copied: freeze a copy, so that ``module`` stays as it is. False freezes ``module`` itself, which saves its memory.

        Raises:
            InputError: the module does not accept such images, gives no logits, or does not have these classes; or an argument
                is not as described.
        """
        if not isinstance(module, nn.Module):
            raise InputError(f"Victim.wrap got {type(module).__name__}; expected an nn.Module")
        title = name or type(module).__name__
        if not title.isprintable():
            raise InputError(f"the name {title!r} of a model has characters that cannot be printed")
        preprocessing = Preprocessing(size, size if resize is None else resize, mean, std, bgr)
        given_names = (
            None if categories is None or isinstance(categories, (str, Path)) else check_names(categories, title)
        )
        size = preprocessing.size
        device = device_of(module)
        info = weights or WeightsInfo("made in Python", state_sha256(module.state_dict()))  # before it is changed
        network = (_copied(module) if copied else module).float().cpu()  # where and how images come, until it is known
        network, classes = with_logits(network.eval(), size)
        network = freeze(network, size)
        if categories is None:
            names = numbered_categories(classes)
        elif isinstance(categories, (str, Path)):
            names = read_labels(categories, classes)
        else:
            names = given_names or ()
        why_not = why_no_gradient(network, size) if differentiable else ""
        victim = Victim(
            title,
            "classify",
            numbered_categories(classes),
            preprocessing,
            network,
            None,
            info,
            differentiable=differentiable and not why_not,
            remark=without_gradients(why_not),
        ).named(names)
        if victim.differentiable or cam_layer is not None:
            victim = victim.with_cam_layer(cam_layer)
        victim.module.to(device)
        return victim

    def with_remark(self, remark: str) -> Self:
        """Add what a user must know about how it was loaded; empty for nothing."""
        return replace(self, remark="; ".join(filter(None, (self.remark, remark))))

    def named(self, categories: Sequence[str]) -> Self:
        """Name the classes.

        Raises:
            InputError: another number of them.
        """
        if len(categories) != len(self.categories):
            raise InputError(
                f"{len(categories)} categories given, but {self.name} answers with {len(self.categories)} classes"
            )
        return replace(self, categories=tuple(categories))

    def with_cam_layer(self, name: str | None) -> Self:
        """Choose the layer for Grad-CAM by name; None for the usual one, or for no heat where the network has no map.

        Raises:
            InputError: no such layer, or its output is no map.
        """
        size = self.preprocessing.size
        if name is not None:
            if not self.differentiable:
                raise InputError(f"{self.name} gives predictions only, so there is no Grad-CAM of layer {name!r}")
            chosen = named_cam_layer(self.module, size, name)
        else:
            try:
                chosen = find_cam_layer(self.module, size)
            except InputError:
                return self
        named = {} if name is None else {"cam_layer": name}
        return replace(
            self, cam_layer=chosen.layer, cam_reshape=chosen.reshape, loaded_with={**self.loaded_with, **named}
        )

    def adapted(self, said: Adaptation) -> Self:
        """Apply what a user says about the model.

        Raises:
            InputError: labels of another number of classes, or no such layer.
        """
        names = self.categories if said.labels is None else read_labels(said.labels, len(self.categories))
        adapted = replace(
            self,
            categories=names,
            preprocessing=said.preprocessing(self.preprocessing),
            threshold=self.threshold if said.threshold is None else said.threshold,
        )
        return adapted if said.cam_layer is None else adapted.with_cam_layer(said.cam_layer)

    @property
    def explains(self) -> bool:
        """Tell whether Grad-CAM can show the heat of its answers."""
        return self.heat_layer is not None

    @property
    def heat_layer(self) -> CamLayer | None:
        """Return the layer for Grad-CAM, which may first be searched; None for a victim without heat."""
        if not self.differentiable:
            return None
        if self.cam_layer is not None:
            return CamLayer(self.cam_layer, self.cam_reshape)
        return None if self.cam_search is None else self.cam_search.found

    @property
    def queries(self) -> Queries | None:
        """Return what was sent so far to a model elsewhere; None for a model on this machine."""
        clients = (part.client for part in self.module.modules() if isinstance(part, Predictions))
        counts = [client.queries for client in clients if client is not None]
        return Queries(sum(c.requests for c in counts), sum(c.images for c in counts)) if counts else None

    @property
    def device(self) -> torch.device:
        """Return the device of the parameters; the CPU for a network that has none here."""
        return device_of(self.module)

    def fitted(self, images: Tensor) -> Tensor:
        """Resize square images (B, 3, S, S) to the network's input, where they do not have that size."""
        size = self.preprocessing.size
        if images.shape[-1] == size:
            return images
        return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)

    def raw(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) RGB in [0, 1] and run the module.

        Raises:
            InputError: the module, which may be the user's own, raises anything.
        """
        if self.guard is not None:
            images = self.guard(images)
        inputs = self.preprocessing.normalise(images)
        with in_one_line(f"model {self.name} fails on images {tuple(inputs.shape)}", _BATCH_CURE):
            return self.module(inputs)

    def scores(self, images: Tensor) -> Tensor:
        """Compute one logit per class: (B, 3, H, W) RGB in [0, 1] to (B, K).

        A classifier's logits are for a softmax. A detector's are those of its most confident box of each class, each for
        its own sigmoid.
        """
        scores = self.raw(images)
        if scores.ndim != 2 or len(scores) != len(images):
            raise InputError(
                f"model {self.name} answers {len(images)} images with {tuple(scores.shape)}; expected a row of logits for "
                f"each; {_BATCH_CURE}"
            )
        return scores

    def confidences(self, scores: Tensor) -> Tensor:
        """Turn :meth:`scores` into probabilities in [0, 1]."""
        return scores.sigmoid() if self.task == "detect" else scores.softmax(dim=-1)

    def judged(self, scores: Tensor) -> Tensor:
        """Turn a classifier's scores (B, K) into those by which success is judged.

        With a threshold, the answer of an image whose top class does not reach it is a further class, (B, K + 1): it is wrong,
        and not the target.
        """
        if not self.threshold:
            return scores
        unsure = self.confidences(scores).amax(dim=1) < self.threshold
        return torch.cat([scores, torch.where(unsure, torch.inf, -torch.inf).to(scores)[:, None]], dim=1)

    def category_index(self, name: str) -> int:
        """Find a class by index or by name.

        Raises:
            InputError: no such class; the message suggests similar names.
        """
        return find_category(name, self.categories, self.name)

    def target_index(self, target: dict[str, Any]) -> int | None:
        """Find a patch's target class on this victim, by name; None where the victim has no such class.

        Victims may number their classes differently. Where two classes share the name, the patch's own index decides.
        """
        target_name = normal_name(str(target["name"]))
        named = [i for i, category in enumerate(self.categories) if normal_name(category) == target_name]
        return target["index"] if target["index"] in named else next(iter(named), None)


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # what it holds may be anything
        raise InputError(f"{type(module).__name__} cannot be copied ({in_words(error)}); give copied=False") from error


@dataclass(frozen=True)
class CatalogueEntry:
    """One row of ``physpatch models``: a name, or in capitals what stands for many.

    ``task``: ``either`` where the file decides. ``gradients``: whether techniques that need them can train against it.
    ``heat``: whether Grad-CAM shows its answers.
    """

    name: str
    task: Task | Literal["either"]
    source: str
    ready: bool
    gradients: bool = True
    heat: bool = True


class VictimFamily(ABC):
    """A source of victims, found by :data:`physpatch.victims.families.FAMILIES`.

    Attributes:
        name: of the family; it is not a name to load.
        summary: one line that says what it loads, and by which names.
        caution: what loading does that a user must know, with ``{name}`` in it; empty for nothing.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    caution: ClassVar[str] = ""

    @abstractmethod
    def catalogue(self) -> list[CatalogueEntry]:
        """List the victims to show in ``physpatch models``."""

    @abstractmethod
    def knows(self, name: str) -> bool:
        """Tell whether this family loads victims of this name or file."""

    @abstractmethod
    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        """Load a victim on the CPU, frozen and in eval mode.

        Args:
            name: one that :meth:`knows` accepts.
            weights: a file of weights; None for the published ones.
            trust: also load a file that could run code.

        Raises:
            InputError: an unusable file.
            UnavailableError: the weights are missing and cannot be downloaded.
        """

    def caution_for(self, name: str) -> str:
        """Return what is said before this victim is loaded; empty for nothing."""
        return self.caution.format(name=name)

    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        """Load a victim as :meth:`load` does, with what a user says about it; see :meth:`Victim.adapted`."""
        return self.load(name, weights, trust).adapted(said)


class BareFamily(VictimFamily):
    """A family of networks without all that a victim needs, such as its input size, which a user may have to say."""

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        return self.load_adapted(name, weights, trust, Adaptation())

    @abstractmethod
    def load_adapted(self, name: str, weights: Path | None, trust: bool, said: Adaptation) -> Victim:
        """Load a victim as :meth:`load` does, as the user says."""
