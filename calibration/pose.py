"""A sheet in a frame: which one, where, how far, how tilted.

Angles: a sheet facing the camera upright has yaw = pitch = roll = 0. The rotation from sheet axes (x right, y down,
z into the paper) to camera axes is R = Ry(yaw) Rx(pitch) Rz(roll).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Intrinsics
from calibration.sheet import ARUCO_DICTIONARY, SheetLayout

_CLEAR_BRANCH_RATIO = 2.0  # below it the mirrored tilt explains the corners nearly as well: the sign is a guess
_WORST_ERROR_PX, _WORST_ERROR_SHARE = 2.0, 0.02
_FACING_DEG = 5.0  # both branches this close to each other agree anyway


@dataclass(frozen=True)
class SheetPose:
    """Where a sheet is in a frame.

    ``homography`` maps page millimetres to pixels. Angles in degrees are None where the two planar solutions cannot be
    told apart. ``patch_corners_px`` is (4, 2), clockwise from the patch's own top left; ``patch_px`` its area in pixels.
    """

    layout: SheetLayout
    homography: NDArray[np.float64]
    patch_corners_px: NDArray[np.float32]
    distance_m: float
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float
    patch_px: float
    px_per_cell: float
    markers_seen: int


def rotation_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """R = Ry(yaw) Rx(pitch) Rz(roll), sheet axes to camera axes."""
    y, p, r = (math.radians(a) for a in (yaw_deg, pitch_deg, roll_deg))
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def angles_deg(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a rotation matrix; the inverse of :func:`rotation_matrix`."""
    yaw = math.atan2(rotation[0, 2], rotation[2, 2])
    pitch = math.asin(max(-1.0, min(1.0, -rotation[1, 2])))
    roll = math.atan2(rotation[1, 0], rotation[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def make_detector() -> cv2.aruco.ArucoDetector:
    """An ArUco detector that also finds markers small in the frame; build once, use for every frame."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.minMarkerPerimeterRate = 0.01  # the default 0.03 misses far sheets in large frames
    # Small blurred markers are read better off a finer rectified picture, from the middle of each bit, and when a marker's
    # inner and outer outline are told apart: misses at 3 to 5 pixels a bit fall from 26 to 2 % (docs/results.md).
    parameters.perspectiveRemovePixelPerCell = 8
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.3
    parameters.minGroupDistance = 0.05
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(ARUCO_DICTIONARY), parameters)


def find_sheet(
    frame: NDArray[np.uint8],
    layouts: Sequence[SheetLayout],
    intrinsics: Intrinsics,
    detector: cv2.aruco.ArucoDetector | None = None,
) -> SheetPose | None:
    """Find the sheet of which most markers show in ``frame`` (H, W, 3 RGB uint8); None where fewer than two markers do."""
    corners, ids, _ = (detector or make_detector()).detectMarkers(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    if ids is None:
        return None
    seen = {int(i): quad.reshape(4, 2) for i, quad in zip(ids.ravel(), corners, strict=True)}
    best = max(layouts, key=lambda layout: sum(m.id in seen for m in layout.markers))
    on_page = best.marker_corners_mm()
    common = sorted(on_page.keys() & seen.keys())
    if len(common) < 2:
        return None
    page_mm = np.concatenate([on_page[i] for i in common])
    pixels = np.concatenate([seen[i] for i in common])
    return _pose(best, page_mm, pixels, intrinsics, len(common))


def _pose(
    layout: SheetLayout, page_mm: NDArray[np.float32], pixels: NDArray[np.float32], intrinsics: Intrinsics, markers: int
) -> SheetPose | None:
    homography, _ = cv2.findHomography(page_mm, pixels)
    if homography is None:
        return None
    center_mm = layout.patch.corners_mm.mean(axis=0)
    plane = np.column_stack([page_mm - center_mm, np.zeros(len(page_mm))]).astype(np.float32)
    distortion = np.array(intrinsics.distortion, dtype=np.float64)
    count, rotations, shifts, errors = cv2.solvePnPGeneric(
        plane, pixels, intrinsics.matrix, distortion, flags=cv2.SOLVEPNP_IPPE
    )
    if not count:
        return None
    size_px = float(np.linalg.norm(np.ptp(pixels, axis=0)))
    if errors[0, 0] > max(_WORST_ERROR_PX, _WORST_ERROR_SHARE * size_px):  # something else was taken for a marker
        return None
    branches = [angles_deg(cv2.Rodrigues(r)[0]) for r in rotations]
    yaw, pitch, roll = branches[0]
    known = count == 1 or errors[1, 0] >= _CLEAR_BRANCH_RATIO * errors[0, 0]
    known = known or max(abs(a - b) for a, b in zip(branches[0], branches[1], strict=True)) < _FACING_DEG
    patch = cv2.perspectiveTransform(layout.patch.corners_mm[None], homography)[0]
    area_px = float(cv2.contourArea(patch))
    rows, columns = layout.grid
    return SheetPose(
        layout=layout,
        homography=homography,
        patch_corners_px=patch,
        distance_m=float(np.linalg.norm(shifts[0])) / 1000,
        yaw_deg=yaw if known else None,
        pitch_deg=pitch if known else None,
        roll_deg=roll,
        patch_px=area_px,
        px_per_cell=math.sqrt(area_px / (rows * columns)),
        markers_seen=markers,
    )
