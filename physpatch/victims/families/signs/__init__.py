"""A detector of road signs that comes with physpatch, so that a whole experiment needs no network access.

It is a YOLOv8n, trained by ``python -m physpatch.training.sign_detector.train`` on signs drawn by
``calibration.sheet.road_signs`` and rendered into photographs by ``scenes.py`` there. It recognises these drawings only:
its results say nothing about cars on the road.
"""

from pathlib import Path
from typing import ClassVar

from calibration.common.files import file_sha256
from physpatch.victims.families.signs.network import WEIGHTS, learned_from, trained_network
from physpatch.victims.families.ultralytics_detectors import INPUT_PX, PROBE_PX, YoloVictim, cam_layer
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import CatalogueEntry, Preprocessing, Victim, VictimFamily, WeightsInfo

NAME = "signs"


class SignDetector(VictimFamily):
    """The embedded detector, ``signs``."""

    name: ClassVar[str] = "signs"
    summary: ClassVar[str] = "the embedded detector of five road signs"

    def catalogue(self) -> list[CatalogueEntry]:
        return [CatalogueEntry(NAME, "detect", "inside physpatch", WEIGHTS.is_file())]

    def knows(self, name: str) -> bool:
        return name == NAME

    def load(self, name: str, weights: Path | None, trust: bool = False) -> Victim:
        file = weights or WEIGHTS
        network = trained_network(file, trust)
        plain = Preprocessing(INPUT_PX, INPUT_PX, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        info = WeightsInfo("embedded" if weights is None else str(weights), file_sha256(file))
        categories = tuple(network.names.values())
        frozen = freeze(network, PROBE_PX)
        return YoloVictim(
            NAME,
            "detect",
            categories,
            plain,
            frozen,
            cam_layer(network),
            info,
            learned_from=learned_from(file),
            exclusive=True,
        )
