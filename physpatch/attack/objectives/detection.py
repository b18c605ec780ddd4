"""Effects of a patch on a detector."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from calibration.common.success import DETECTION_THRESHOLD


@dataclass(frozen=True)
class TargetedDetection:
    """-log p of the most confident box of the target class: a phantom appears."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("appear",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"appear": F.softplus(-scores[:, self.target]).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores[:, self.target].sigmoid() >= DETECTION_THRESHOLD


@dataclass(frozen=True)
class HideDetection:
    """-log(1 - p) of the most confident box of any class: nothing is detected."""

    term_names: ClassVar[tuple[str, ...]] = ("hide",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": F.softplus(scores.amax(dim=1)).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.amax(dim=1).sigmoid() < DETECTION_THRESHOLD


@dataclass(frozen=True)
class HideObject:
    """-log(1 - p) of the object's own class: the object is not detected as what it is."""

    term_names: ClassVar[tuple[str, ...]] = ("hide",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"hide": F.softplus(scores.gather(1, labels[:, None])).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.gather(1, labels[:, None])[:, 0].sigmoid() < DETECTION_THRESHOLD


@dataclass(frozen=True)
class RelabelObject(HideObject):
    """Hiding the object's own class and showing the target class in its place."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("hide", "appear")

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return super().terms(scores, labels) | {"appear": F.softplus(-scores[:, self.target]).mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return super().success(scores, labels) & (scores[:, self.target].sigmoid() >= DETECTION_THRESHOLD)
