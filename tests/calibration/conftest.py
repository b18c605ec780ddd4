"""Calibration sheets before a hidden lens, printer and camera."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera.intrinsics import Intrinsics
from captures.sources.virtual_rig import RigTruth, VirtualRig
from printouts import print_targets


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets") / "calibration.pdf"
    print_targets(path)
    return path


@pytest.fixture(scope="session")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), np.full((10, 10, 3), 128, np.uint8))
    return path


@pytest.fixture(scope="session")
def target_rig(targets: Path, wall: Path) -> VirtualRig:
    """A rig whose printer prints on plain paper and whose lens bends and is off centre."""
    lens = replace(
        Intrinsics.from_hfov(1280, 960, 58),
        cx=651.0,
        cy=470.0,
        distortion=(-0.15, 0.05, 4e-4, -3e-4, 0.0),
        assumed=False,
    )
    return VirtualRig(targets, [(wall, None)], truth=RigTruth.draw(5, "uncoated"), lens=lens)
