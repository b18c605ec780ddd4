"""What a rig holds before its camera: the sheets of a PDF as a printer prints them, and the pose in which a hand holds one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import angles_deg, rotation_matrix
from calibration.colour.colour_space import LINEAR_LEVELS
from calibration.colour.printing_condition import PrintingCondition
from calibration.common.errors import InputError
from calibration.common.pictures import check_size, read_picture
from calibration.sheet.layout import SheetLayout, first_pages
from calibration.sheet.pdf_reader import carried_layouts, cropped, rasterise_sheet

CLIPS, FRAMES_PER_CLIP = 12, 3  # of a rig, with so many frames of each sheet in a clip
_SCAN_DPI = 120
_ARM_M = (0.27, 0.42)  # distance from the camera of a sheet of the height below; larger sheets are farther away
_ARM_SHEET_MM = 165.0
_TURN_DEG = {"yaw": 25.0, "pitch": 15.0, "roll": 15.0}
_REACH = 0.3  # largest offset of the patch from the centre, as a share of the central square
_STILL_ROOM = (0.95, 1.8)  # height of the picture in heights of the sheet, for calibration
GREY_WALL = 0.3  # what is behind a sheet in stills for calibration, linear
JITTER_DEG, JITTER_MM = 1.0, 2.0  # of a hand between frames, whether it holds the sheet or the camera


@dataclass(frozen=True)
class RigPose:
    """The pose of a sheet: centre of the patch in metres in front of the camera (x right, y down), and rotation."""

    distance_m: float
    x_m: float
    y_m: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @classmethod
    def in_hand(cls, rng: np.random.Generator, layout: SheetLayout, lens: Intrinsics) -> "RigPose":
        """Draw a pose as of a hand-held sheet, with the whole sheet in the central square of the frame."""
        distance = float(rng.uniform(*_ARM_M)) * max(1.0, longest_mm(layout) / _ARM_SHEET_MM)
        turns = {f"{name}_deg": float(rng.uniform(-most, most)) for name, most in _TURN_DEG.items()}
        # Classifiers look at the central square of a frame, so a person would hold the sheet there.
        half_frame = min(lens.width, lens.height) / 2 * distance / lens.fx
        half_sheet = np.array([layout.cut.width_mm, layout.cut.height_mm]) / 2000
        room = np.clip(half_frame - 1.15 * half_sheet, 0, 2 * _REACH * half_frame)
        x, y = rng.uniform(-room, room)
        return cls(distance, float(x), float(y), **turns)

    @classmethod
    def for_still(
        cls, rng: np.random.Generator, layout: SheetLayout, lens: Intrinsics, *, turn_deg: float, reach: float
    ) -> "RigPose":
        """Draw a pose as for a still of a calibration sheet, which is large in the picture; see ``VirtualRig.film``."""
        distance = longest_mm(layout) / 1000 * lens.fx / lens.height * float(rng.uniform(*_STILL_ROOM))
        x, y = rng.uniform(-reach, reach, 2) * (lens.width, lens.height) * distance / (2 * lens.fx)
        return cls(distance, float(x), float(y), *(float(turn) for turn in rng.uniform(-turn_deg, turn_deg, 3)))

    def jittered(self, rng: np.random.Generator) -> "RigPose":
        """Draw the pose a moment later, as a hand does not hold still."""
        turn, shift = rng.normal(0, JITTER_DEG, 3), rng.normal(0, JITTER_MM / 1000, 3)
        return RigPose(
            self.distance_m + shift[2],
            self.x_m + shift[0],
            self.y_m + shift[1],
            self.yaw_deg + turn[0],
            self.pitch_deg + turn[1],
            self.roll_deg + turn[2],
        )

    def from_camera(self, at_m: NDArray[np.floating], turned: NDArray[np.floating]) -> "RigPose":
        """Return the pose of the sheet, which stays, before another camera.

        Args:
            at_m: (3,) where the other camera is, in metres in the axes of this pose's camera.
            turned: (3, 3) rotation from the other camera's axes to these.
        """
        x, y, z = turned.T @ (self.shift_mm / 1000 - at_m)
        return RigPose(float(z), float(x), float(y), *angles_deg(turned.T @ self.rotation))

    def camera_at(self, later: "RigPose") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Find the camera before which the sheet, which stays, has the pose ``later``; the inverse of :meth:`from_camera`.

        Returns:
            Where it is, (3,) millimetres, and the rotation from its axes, (3, 3), in the axes of this pose's camera.
        """
        turned = self.rotation @ later.rotation.T
        return self.shift_mm - turned @ later.shift_mm, turned

    @property
    def range_m(self) -> float:
        """Return the distance from the camera to the centre of the patch, as a sheet's markers measure it."""
        return float(np.linalg.norm(self.shift_mm)) / 1000

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Return the rotation from the sheet's axes to the camera's, (3, 3), as in ``calibration/camera/sheet_pose.py``."""
        return rotation_matrix(self.yaw_deg, self.pitch_deg, self.roll_deg)

    @property
    def shift_mm(self) -> NDArray[np.float64]:
        """Return the centre of the patch in the camera's axes, (3,) millimetres."""
        return 1000 * np.array([self.x_m, self.y_m, self.distance_m])

    def placed(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Bring points (N, 3) in millimetres from the sheet's axes, whose origin is the patch's centre, to the camera's."""
        return points @ self.rotation.T + self.shift_mm


def require_extent(frame_wh: tuple[int, int], seed: int, **counts: int) -> None:
    """Check how much a rig is asked for.

    Args:
        frame_wh: size of its frames.
        seed: 0 or more.
        counts: how often something is done, at least once each.

    Raises:
        InputError: a count or a side below 1, a seed below 0, or frames too large to be handled.
    """
    for name, count in {**counts, "width": frame_wh[0], "height": frame_wh[1]}.items():
        if count < 1:
            raise InputError(f"{name.replace('_', ' ')} of a rig should be 1 or more, got {count}")
    if seed < 0:
        raise InputError(f"the seed of a rig should be 0 or more, got {seed}")
    check_size(*frame_wh)


def printed_sheets(pdf: Path, printing: PrintingCondition) -> list[NDArray[np.float32]]:
    """Print the sheets of a PDF and cut them out: reflected light (linear) times coverage, and coverage, (H, W, 4) each.

    The raster of a large sheet, which is held farther away, is coarser.

    Raises:
        InputError: if the PDF is not readable, or not of physpatch.
    """
    planned = carried_layouts(pdf)
    return [
        _cut_out(printing.reflectance(_scan(pdf, layout, first) / 255), layout)
        for layout, first in zip(planned, first_pages(planned), strict=True)
    ]


def longest_mm(layout: SheetLayout) -> float:
    """Return the longer side of a cut-out sheet in millimetres."""
    return max(layout.cut.width_mm, layout.cut.height_mm)


def shuffled_backgrounds(backgrounds: Sequence[tuple[Path, str | None]], seed: int) -> list[tuple[Path, str | None]]:
    """Return the photographs in the order in which a rig of this seed shows them."""
    order = np.random.default_rng([seed, 1]).permutation(len(backgrounds))
    return [backgrounds[i] for i in order]


def framed_background(path: Path, lens: Intrinsics) -> NDArray[np.float32]:
    """Load a photograph that fills the frame, (H, W, 3), linear.

    Raises:
        InputError: if it is not readable.
    """
    picture = read_picture(path)
    width, height = lens.width, lens.height
    factor = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * factor)), max(height, round(picture.shape[0] * factor)))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return LINEAR_LEVELS.astype(np.float32)[picture[top : top + height, left : left + width]]


def _scan(pdf: Path, layout: SheetLayout, first_page: int) -> NDArray[np.uint8]:
    """Return the raster inside the cut line."""
    dpi = _SCAN_DPI / max(1.0, longest_mm(layout) / _ARM_SHEET_MM)
    return cropped(rasterise_sheet(pdf, layout, first_page, dpi), layout, layout.cut)


def _cut_out(printed: NDArray[np.float64], layout: SheetLayout) -> NDArray[np.float32]:
    """Return light and coverage (H, W, 4) of the cut-out: the whole scan, or a circle."""
    height, width = printed.shape[:2]
    cover = np.ones((height, width))
    if layout.cut_shape == "circle":
        y, x = np.indices((height, width)) + 0.5
        cover = (np.hypot(y - height / 2, x - width / 2) <= min(height, width) / 2).astype(np.float64)
    return np.dstack([printed * cover[..., None], cover]).astype(np.float32)
