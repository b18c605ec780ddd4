"""The interface of every victim, whichever library it came from."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from calibration.common.errors import InputError, unknown_name

Task = Literal["classify", "detect"]
Guard = Callable[[Tensor], Tensor]  # (B, 3, H, W) RGB in [0, 1] to the same


@dataclass(frozen=True)
class Preprocessing:
    """From photograph to input: resize the shorter side, crop the central square, normalise as (x - mean) / std.

    ``resize`` and ``size`` are in pixels.
    """

    size: int
    resize: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


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
        cam_layer: the layer whose activations Grad-CAM weighs; its output is (B, C, h, w).
        guard: the defence that images pass first, see :func:`physpatch.defences.defended`; None for an undefended network.
        learned_from: the photographs that the network was trained on, by :func:`physpatch.data.splits.content_id`, as far as
            its weights record them: no patch is measured on these.
        published_accuracy: the published share of ILSVRC's validation photographs that these weights classify correctly;
            None where it is unknown.
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
        """Return the device of the parameters."""
        return next(self.module.parameters()).device

    def raw(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) RGB in [0, 1] and run the module.

        The backward pass treats a guard as the identity (BPDA, Athalye et al. 2018), because most have no useful gradient.
        """
        if self.guard is not None:
            images = self.guard(images.detach()) + (images - images.detach())
        mean = torch.tensor(self.preprocessing.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.preprocessing.std, device=images.device)[:, None, None]
        return self.module(((images - mean) / std).contiguous(memory_format=torch.channels_last))

    def scores(self, images: Tensor) -> Tensor:
        """Compute one logit per class: (B, 3, H, W) RGB in [0, 1] to (B, K).

        A classifier's logits are for a softmax. A detector's are those of its most confident box of each class, each for
        its own sigmoid.
        """
        return self.raw(images)

    def confidences(self, scores: Tensor) -> Tensor:
        """Turn :meth:`scores` into probabilities in [0, 1]."""
        return scores.sigmoid() if self.task == "detect" else scores.softmax(dim=-1)

    def category_index(self, name: str) -> int:
        """Find a class by index or by name.

        Raises:
            InputError: no such class; the message suggests similar names.
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
        """Find a patch's target class on this victim, by name; None where the victim has no such class.

        Victims may number their classes differently. Where two classes share the name, the patch's own index decides.
        """
        wanted = normal_name(str(target["name"]))
        named = [i for i, category in enumerate(self.categories) if normal_name(category) == wanted]
        return target["index"] if target["index"] in named else next(iter(named), None)


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
        name: of the family; it is not a name to load.
        summary: one line that says what it loads, and by which names.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

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


def normal_name(name: str) -> str:
    """Normalise a class name for comparison: lower case, with spaces for underscores and hyphens."""
    return name.lower().replace("_", " ").replace("-", " ").strip()
