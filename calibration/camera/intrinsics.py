"""The pinhole camera model."""

import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.units import finite, whole

LONGEST_SIDE_PX = 100_000  # of a frame; a larger number is a damaged file
_DISTORTION_TERMS = (0, 4, 5, 8, 12, 14)  # of OpenCV's models
DEFAULT_HFOV_DEG = 65.0  # typical webcam or phone main camera; without calibration, distances scale with it


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole intrinsics in pixels for frames of ``width`` x ``height``, with OpenCV's distortion coefficients.

    ``assumed`` means that they come from an assumed field of view, whose error affects distances.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    assumed: bool = False

    def __post_init__(self) -> None:
        if min(self.fx, self.fy, self.width, self.height) <= 0:
            raise InputError(f"intrinsics need positive focal lengths and frame size, got {self}")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Return the 3x3 camera matrix K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Intrinsics":
        """Build from the output of :meth:`to_dict`.

        Raises:
            ValueError: what is not a number, or one of another kind.
            TypeError: an unknown or missing entry.
        """
        lens = cls(**{**value, "distortion": tuple(float(finite(term)) for term in value["distortion"])})
        for number in (lens.fx, lens.fy, lens.cx, lens.cy):
            finite(number)
        for side in (lens.width, lens.height):
            whole(side, 1, LONGEST_SIDE_PX)
        if len(lens.distortion) not in _DISTORTION_TERMS or not isinstance(lens.assumed, bool):
            raise ValueError(f"{len(lens.distortion)} terms of distortion")
        return lens

    def resized(self, width: int, height: int) -> "Intrinsics":
        """Return the intrinsics for frames of another size with the same aspect ratio.

        Raises:
            InputError: if the aspect ratio differs, which means that the frames are cropped.
        """
        across, down = width / self.width, height / self.height
        if abs(across / down - 1) > 0.01:
            raise InputError(
                f"the camera was calibrated at {self.width}x{self.height}, but frames are {width}x{height}, another "
                "aspect ratio; restore the camera's settings, or calibrate it again"
            )
        return replace(
            self,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,
            cy=(self.cy + 0.5) * down - 0.5,
            width=width,
            height=height,
        )

    @property
    def distorts(self) -> bool:
        """Return whether the lens has a known distortion."""
        return any(self.distortion)

    @property
    def straight(self) -> "Intrinsics":
        """Return the camera of undistorted frames: the same without distortion."""
        return replace(self, distortion=())

    def undistorted(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Remove the distortion from a frame, (H, W, 3), of this size; a lens without distortion returns it as it is."""
        if not self.distorts:
            return frame
        return np.asarray(cv2.remap(frame, *_maps(self), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def undistorted_px(self, points_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move points (N, 2), in pixels of a frame, to where they are in the undistorted frame."""
        if not self.distorts:
            return points_px
        moved = cv2.undistortPoints(points_px.reshape(-1, 1, 2), self.matrix, np.array(self.distortion), P=self.matrix)
        return moved.reshape(-1, 2).astype(np.float32)

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov_deg: float = DEFAULT_HFOV_DEG) -> "Intrinsics":
        """Estimate intrinsics from the horizontal field of view, with square pixels and a centred principal point."""
        if not 1 <= hfov_deg < 170:
            raise InputError(f"field of view {hfov_deg} degrees out of range; expected 1 to 170")
        focal_px = width / 2 / math.tan(math.radians(hfov_deg) / 2)
        return cls(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2, width, height, assumed=True)


@lru_cache(maxsize=4)
def _maps(lens: Intrinsics) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Find where each pixel of the undistorted frame lies in the distorted one, in OpenCV's fixed-point form."""
    size = (lens.width, lens.height)
    return cv2.initUndistortRectifyMap(
        lens.matrix, np.array(lens.distortion), np.eye(3), lens.matrix, size, cv2.CV_16SC2
    )
