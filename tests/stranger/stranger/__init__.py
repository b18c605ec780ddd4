"""Somebody else's package: one extension of each kind, none of them known to physpatch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from captures.report.blocks import Block, Text
from captures.report.sections import Material, ReportSection
from captures.sources.camera_settings import CameraSettings
from captures.sources.frame import Frame
from captures.sources.opening import FileSource, Source, SourceKind
from physpatch.attack.objectives import Objective, ObjectiveFamily
from physpatch.data.photographs import Photographs
from physpatch.defences.base import Defence
from physpatch.records.config import TrainConfig
from physpatch.techniques.base import OnCells
from physpatch.training.targets import TargetChoice, TargetRule
from physpatch.transforms import Parameter, Params, SurfaceTransform
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo

CATEGORIES = ("reddish", "greenish", "bluish")


class Steady(OnCells):
    """Steps of one size along the gradient's sign."""

    name: ClassVar[str] = "steady"
    summary: ClassVar[str] = "steps of one size"
    default_learning_rate: ClassVar[float] = 0.1

    @torch.no_grad()
    def step(self) -> None:
        self._cells.sub_(self.learning_rate * self._take_gradient().sign()).clamp_(0, 1)


class ColourNet(nn.Module):
    """Answers with the channel that is brightest on average."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return 8 * self.same(images).mean(dim=(2, 3))


class Colours(VictimFamily):
    """One network, made on the spot."""

    name: ClassVar[str] = "colours"
    summary: ClassVar[str] = "the strongest colour on average"

    def catalogue(self) -> list[CatalogueEntry]:
        return [CatalogueEntry("colournet", "classify", "made on the spot", True)]

    def knows(self, name: str) -> bool:
        return name == "colournet"

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        network = freeze(ColourNet(), 32)
        same = Preprocessing(32, 36, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return Victim(
            name, "classify", CATEGORIES, same, network, network.same, WeightsInfo("made on the spot", "0" * 64)
        )


class Dusk(Defence):
    """Dim everything."""

    name: ClassVar[str] = "dusk"
    summary: ClassVar[str] = "half the light"

    def __call__(self, images: Tensor) -> Tensor:
        return images / 2


@dataclass(frozen=True)
class Logit:
    """The target's own logit, higher being better."""

    target: int
    term_names: ClassVar[tuple[str, ...]] = ("logit",)

    def terms(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"logit": -scores[:, self.target].mean()}

    def success(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.argmax(dim=1) == self.target


class PlainLogit(ObjectiveFamily):
    """The logit loss (Zhao et al. 2021)."""

    name: ClassVar[str] = "plain-logit"
    summary: ClassVar[str] = "the target's logit"

    def for_classifier(self, target: int | None) -> Objective:
        return Logit(0 if target is None else target)


class Stain(SurfaceTransform):
    """Coffee across the left half of the sheet."""

    name: ClassVar[str] = "stain"
    summary: ClassVar[str] = "how dark coffee makes the left half"
    parameters: ClassVar[dict[str, Parameter]] = {"stain": Parameter(0.0, (0.0, 1.0), {"outdoor": (0.1, 0.2)})}

    def apply(self, light: Tensor, x: Tensor, y: Tensor, params: Params) -> Tensor:
        return light * (1 - params["stain"][:, None, None] * (x < 0))[:, None].to(light)


class Last(TargetRule):
    """The last class."""

    name: ClassVar[str] = "last"
    summary: ClassVar[str] = "the last class of the network"

    def choose(
        self, victim: Victim, photographs: Photographs, config: TrainConfig, say: Callable[[str], None]
    ) -> TargetChoice:
        say("target last: chosen by the stranger")
        return TargetChoice(len(victim.categories) - 1, "the last")


class CorridorSource(FileSource):
    """Grey pictures."""

    fps = 5.0

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[Frame]:
        for number in range(1, self._count + 1):
            self.captured = number
            yield Frame(np.full((48, 64, 3), 120, np.uint8), number / self.fps, number)


class Corridor(SourceKind):
    """``corridor:3`` gives three pictures."""

    name: ClassVar[str] = "corridor"
    summary: ClassVar[str] = "corridor:N, that many grey pictures"

    def knows(self, spec: str) -> bool:
        return spec.startswith("corridor:")

    def open(self, spec: str, settings: CameraSettings) -> Source:
        return CorridorSource(int(spec.removeprefix("corridor:")))


class Colophon(ReportSection):
    """Who wrote it."""

    name: ClassVar[str] = "colophon"
    summary: ClassVar[str] = "who wrote it"
    heading: ClassVar[str] = "Colophon"

    def blocks(self, material: Material) -> Iterator[Block]:
        yield Text("This chapter is the stranger's.")
