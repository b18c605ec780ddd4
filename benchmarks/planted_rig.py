"""The virtual rig with one cause of loss planted: what gap_causes.py films, and what its tests do."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.colour.printing_condition import PrintingCondition
from calibration.sheet.layout import SheetLayout
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig

NEAR_M = 0.3  # at which a print of 10 cm covers the area trained for
_UPRIGHT_DEG = 8.0
_SHARPENING_PX = 1.0
_RESAVED_QUALITY = 95
_SHAKES = (1.5, 3.0)  # swings of the hand while the shutter rolls over the frame
_SKIN = (0.35, 0.18, 0.13)  # linear light
_COVERED_AT = 0.22  # of the patch's side, from its middle, the middle of what covers it


@dataclass(frozen=True)
class Cause:
    """Something that can be wrong.

    Attributes:
        step: at which the replay should find it; None where nothing is lost to it.
        strength: from and to; of what, :class:`PlantedRig` says. A case draws one evenly.
    """

    step: str | None
    strength: tuple[float, float]


# Strengths by which the patch of gap_causes.py's text loses 20 to 60 points.
CAUSES = {
    "nothing": Cause(None, (0.0, 0.0)),
    "pose": Cause("posed", (40.0, 45.0)),
    "resolution": Cause("sized", (0.345, 0.365)),
    "colour": Cause("coloured", (1.15, 1.45)),
    "blur": Cause("blurred", (1.5, 1.9)),
    "sharpening": Cause("captured", (7.4, 8.5)),
    "cover": Cause("captured", (0.09, 0.13)),
    "rolling shutter": Cause(None, (2.0, 4.0)),  # bends what the replay measures, and costs the patch nothing
}


class PlantedRig(VirtualRig):
    """Prints true colours, sharp and near, and holds the sheets upright, as the patch was trained for, but for one cause.

    pose: degrees of yaw to either side. resolution: metres. colour: how far another printer's inks and sensor take the place
    of the true ones; beyond 1 they are worse than that. blur: pixels of the lens. sharpening: amount of a phone's unsharp
    mask. cover: share of the patch, or of its control, under a thumb. rolling shutter: pixels by which the hand shakes every
    sheet to and fro while the shutter's rows are read one after another.
    """

    def __init__(self, cause: str, strength: float, *arguments: object, seed: int, **options: object) -> None:
        truth = planted(cause, strength, seed)
        super().__init__(*arguments, seed=seed, truth=truth, **options)  # type: ignore[arg-type]
        self._cause, self._strength = cause, strength
        self._shaking = np.random.default_rng([seed, 8])

    def render(
        self, page: int, pose: RigPose, behind: NDArray[np.floating], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        frame = super().render(page, pose, behind, rng)
        return sharpened(frame, self._strength) if self._cause == "sharpening" else frame

    def _project(
        self, sheet: list[NDArray[np.float32]], layout: SheetLayout, pose: RigPose
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        light, cover = super()._project(sheet, layout, pose)
        if self._cause == "cover":
            return self._covered(light, cover, layout, pose), cover
        if self._cause != "rolling shutter":
            return light, cover
        swings, phase = self._shaking.uniform(*_SHAKES), self._shaking.uniform(0, 2 * np.pi)
        layers = shaken(np.dstack([light, cover]), self._strength, swings, phase)
        return layers[..., :3], layers[..., 3]

    def _covered(
        self, light: NDArray[np.float64], cover: NDArray[np.float64], layout: SheetLayout, pose: RigPose
    ) -> NDArray[np.float64]:
        """Return the light (H, W, 3) of a sheet with a thumb on the lower right of its patch."""
        side = self.intrinsics.fx * layout.patch.width_mm / 1000 / pose.distance_m
        radius = side * (self._strength / np.pi) ** 0.5
        middle = (
            lens_center + f * position_m / pose.distance_m + _COVERED_AT * side
            for lens_center, f, position_m in (
                (self.intrinsics.cx, self.intrinsics.fx, pose.x_m),
                (self.intrinsics.cy, self.intrinsics.fy, pose.y_m),
            )
        )
        y, x = np.indices(cover.shape)
        under = np.hypot(*(grid - center for grid, center in zip((x, y), middle, strict=True))) < radius
        return np.where(under[..., None], cover[..., None] * np.array(_SKIN), light)

    def _draw_pose(self, rng: np.random.Generator, layout: SheetLayout) -> RigPose:
        distance = self._strength if self._cause == "resolution" else NEAR_M
        yaw, pitch, roll = (float(angle) for angle in rng.uniform(-_UPRIGHT_DEG, _UPRIGHT_DEG, 3))
        if self._cause == "pose":
            yaw = float(rng.choice((-1, 1))) * self._strength
        x, y = (float(offset_m) for offset_m in rng.uniform(-0.02, 0.02, 2))
        return RigPose(distance, x, y, yaw, pitch, roll)


def planted(cause: str, strength: float, seed: int) -> RigTruth:
    """Return a faithful printer and a good camera, but for the cause."""
    faithful = RigTruth(PrintingCondition.identity(0.93, 0.01), np.eye(3), 0.4, 0.003, 0.008, 0.1, 95)
    if cause == "colour":
        bad = RigTruth.draw(seed, "newspaper")
        sensor = (1 - strength) * faithful.sensor + strength * bad.sensor
        return replace(faithful, printing=faithful.printing.blended(bad.printing, strength), sensor=sensor)
    return replace(faithful, blur_px=strength) if cause == "blur" else faithful


def sharpened(frame: NDArray[np.uint8], amount: float) -> NDArray[np.uint8]:
    """Sharpen a frame (H, W, 3) RGB by an unsharp mask, and save it once more: what phones do unasked."""
    values = frame.astype(np.float32)
    crisp = values + amount * (values - cv2.GaussianBlur(values, (0, 0), _SHARPENING_PX))
    pixels = np.clip(crisp, 0, 255).round().astype(np.uint8)
    _, packed = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _RESAVED_QUALITY])
    return cv2.cvtColor(cv2.imdecode(packed, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def shaken(layers: NDArray[np.float64], amplitude_px: float, swings: float, phase: float) -> NDArray[np.float64]:
    """Shift rows of layers (H, W, C) by a sine, as a shutter that rolls from top to bottom shows what moves to and fro."""
    height, width = layers.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    shift = amplitude_px * np.sin(2 * np.pi * swings * y / height + phase)
    moved = cv2.remap(layers, (x - shift).astype(np.float32), y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(moved)
