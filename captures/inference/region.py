"""The part of a frame that a classifier sees, which should match the cropping of the product under test."""

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.camera.sheet_pose import SheetPose
from calibration.common.errors import InputError
from calibration.common.pictures import pixels_inside

_DEFAULT_AREA = 0.15
_SMALLEST_PX = 16
_SQUARE = re.compile(r"(\d+),(\d+),(\d+)")
_WORDS = "expected center, frame, sheet, sheet:AREA such as sheet:0.15, or LEFT,TOP,SIDE in pixels"


@dataclass(frozen=True)
class CropRegion:
    """A rectangle in pixels of a frame."""

    left: int
    top: int
    width: int
    height: int

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop an (H, W, ...) picture to the rectangle, without a copy."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]

    def mask(self, outline_px: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw the mask of a convex outline over the region.

        Args:
            outline_px: (N, 2) pixels of the frame.
            shape: (h, w) of the mask.

        Returns:
            (h, w) of 0 and 1.
        """
        scale = (shape[1] / self.width, shape[0] / self.height)
        corners = (outline_px - (self.left, self.top) + 0.5) * scale - 0.5
        return pixels_inside(corners, shape).astype(np.float32)


@dataclass(frozen=True)
class RegionRule:
    """The rule that chooses the region in each frame.

    Attributes:
        kind: ``center`` is the central square, as in torchvision's transforms but without their margin; ``frame`` the whole
            frame, squeezed to the network's square input; ``square`` a fixed square; ``sheet`` a square around the patch,
            or the central square if no sheet is found.
        square: for the kind ``square``.
        area: for the kind ``sheet``, the share of the square that the patch covers.
    """

    kind: Literal["center", "frame", "square", "sheet"] = "center"
    square: CropRegion | None = None
    area: float = _DEFAULT_AREA

    @classmethod
    def parse(cls, text: str) -> "RegionRule":
        """Parse ``center``, ``frame``, ``sheet``, ``sheet:0.15`` or ``left,top,side``.

        Raises:
            InputError: if the text is not valid.
        """
        kind, colon, area = text.strip().lower().partition(":")
        if kind == "sheet":
            try:
                share = float(area) if colon else _DEFAULT_AREA
            except ValueError:
                share = math.nan
            if not 0.005 <= share <= 0.9:
                raise InputError(f"region {text!r}: the patch's share of the square must be between 0.005 and 0.9")
            return cls("sheet", area=share)
        if kind == "center" and not colon:
            return cls("center")
        if kind == "frame" and not colon:
            return cls("frame")
        numbers = _SQUARE.fullmatch(text.replace(" ", ""))
        if numbers is None:
            raise InputError(f"unknown region {text!r}; {_WORDS}")
        left, top, side = (int(n) for n in numbers.groups())
        if side < _SMALLEST_PX:
            raise InputError(f"region {text!r}: a side of {side} pixels is too small; expected at least {_SMALLEST_PX}")
        return cls("square", CropRegion(left, top, side, side))

    @classmethod
    def dragged(cls, start: tuple[float, float], end: tuple[float, float]) -> "RegionRule | None":
        """Build a square from the start and end of a mouse drag in pixels; return None for a click."""
        side = round(max(abs(end[0] - start[0]), abs(end[1] - start[1])))
        if side < _SMALLEST_PX:
            return None
        left, top = (round(a if b >= a else a - side) for a, b in zip(start, end, strict=True))
        return cls("square", CropRegion(max(0, left), max(0, top), side, side))

    def at(self, shape: tuple[int, ...], pose: SheetPose | None) -> CropRegion:
        """Return the region of a frame of ``shape`` (height, width, ...); a square is moved into the frame.

        Args:
            shape: of the frame.
            pose: of the sheet in the frame; None without a sheet.
        """
        height, width = shape[:2]
        if self.kind == "frame":
            return CropRegion(0, 0, width, height)
        if self.square is not None:
            return _inside(self.square.left, self.square.top, self.square.width, shape)
        if self.kind == "sheet" and pose is not None and pose.patch_area_px > 0:
            side = math.sqrt(pose.patch_area_px / self.area)
            x, y = pose.patch_corners_px.mean(axis=0)
            side = max(_SMALLEST_PX, min(side, width, height))
            return _inside(round(float(x) - side / 2), round(float(y) - side / 2), round(side), shape)
        side = min(width, height)
        return CropRegion((width - side) // 2, (height - side) // 2, side, side)

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that the region lies inside frames of ``shape`` (height, width, ...).

        Raises:
            InputError: if it does not.
        """
        height, width = shape[:2]
        if self.square and (self.square.left + _SMALLEST_PX > width or self.square.top + _SMALLEST_PX > height):
            raise InputError(f"region {self} is outside the frame of {width}x{height}")

    def __str__(self) -> str:
        if self.square is not None:
            return f"{self.square.left},{self.square.top},{self.square.width}"
        return f"sheet:{self.area:g}" if self.kind == "sheet" else self.kind


def _inside(left: int, top: int, side: int, shape: tuple[int, ...]) -> CropRegion:
    """Return a square of ``side``, or the largest possible, moved into the frame."""
    height, width = shape[:2]
    side = min(side, width, height)
    return CropRegion(max(0, min(left, width - side)), max(0, min(top, height - side)), side, side)
