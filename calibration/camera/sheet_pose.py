"""Locate a sheet in a frame and estimate its pose.

A sheet that faces the camera upright has yaw = pitch = roll = 0. The rotation from sheet axes (x right, y down, z into the
paper) to camera axes is R = Ry(yaw) Rx(pitch) Rz(roll).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.common.success import around
from calibration.sheet.layout import Rect, SheetLayout, marker_dictionary

_CLEAR_BRANCH_RATIO = 2.0  # below it the mirrored tilt fits nearly as well, so the sign of the angles is ambiguous
_WORST_ERROR_PX, _WORST_ERROR_SHARE = 2.0, 0.02
_CORNER_NOISE_PX = 0.05  # accuracy of a corner; smaller errors are not meaningful
_FACING_DEG = 5.0  # solutions that differ by less are treated as one
_AROUND_MARKER = 0.8  # search margin around a marker's last place, as a share of its extent
_NEAR_PERIMETER_RATE = 0.4  # least perimeter of a marker, as a share of the longer side of the search area
_SEARCH_ALL_EVERY = 30  # frames between full searches, in case another sheet comes into view

_MarkerCorners = dict[int, NDArray[np.float32]]


@dataclass(frozen=True)
class SheetPose:
    """The pose of a sheet in a frame.

    Attributes:
        layout: the sheet.
        intrinsics: of the camera, for frames of this size.
        homography: maps millimetres on the sheet to pixels of the undistorted frame; see also :meth:`to_pixels`.
        patch_corners_px: (4, 2) corners of the patch in the frame, clockwise from the patch's own top left.
        distance_m: from the camera to the centre of the patch.
        yaw_deg, pitch_deg: None if the two planar solutions cannot be distinguished.
        roll_deg: rotation in the image plane.
        tilt_deg: angle between the sheet's normal and the line of sight to the patch; it is the same for both solutions.
        axis_tilt_deg: angle between the sheet's normal and the optical axis; the larger of the two if the solutions cannot be
            distinguished.
        patch_area_px: area of the patch in pixels.
        px_per_cell: side of a cell in pixels.
        visible: share of the patch that is inside the frame.
        markers_seen: how many markers the pose is based on.
    """

    layout: SheetLayout
    intrinsics: Intrinsics
    homography: NDArray[np.float64]
    patch_corners_px: NDArray[np.float32]
    distance_m: float
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float
    tilt_deg: float
    axis_tilt_deg: float
    patch_area_px: float
    px_per_cell: float
    visible: float
    markers_seen: int

    def to_pixels(self, sheet_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """Project points on the sheet (N, 2), in mm, to pixels (N, 2) of the frame, with lens distortion."""
        return _to_pixels(sheet_mm, self.homography, self.intrinsics)

    @property
    def carrier_xyxy(self) -> tuple[float, float, float, float] | None:
        """Return the upright box, in pixels, around the sign that carries the patch; None without a sign."""
        rect = self.layout.carrier_rect
        return None if rect is None else around(self.to_pixels(rect.corners_mm).tolist())

    def rectify(self, frame: NDArray[np.uint8], area: Rect, per_mm: float) -> NDArray[np.uint8]:
        """Rectify an area of the sheet to a fronto-parallel view, (H, W, 3), at ``per_mm`` pixels per mm."""
        width, height = round(area.width_mm * per_mm), round(area.height_mm * per_mm)
        x, y = np.meshgrid(
            (np.arange(width) + 0.5) / per_mm + area.x_mm, (np.arange(height) + 0.5) / per_mm + area.y_mm
        )
        at = self.to_pixels(np.column_stack([x.ravel(), y.ravel()])).reshape(height, width, 2)
        picture = cv2.remap(frame, at, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=(255,) * 3)
        return np.asarray(picture, dtype=np.uint8)


def rotation_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """Compute R = Ry(yaw) Rx(pitch) Rz(roll), (3, 3), from sheet axes to camera axes."""
    y, p, r = (math.radians(a) for a in (yaw_deg, pitch_deg, roll_deg))
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def angles_deg(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """Compute yaw, pitch and roll in degrees of a rotation matrix; the inverse of :func:`rotation_matrix`."""
    yaw = math.atan2(rotation[0, 2], rotation[2, 2])
    pitch = math.asin(max(-1.0, min(1.0, -rotation[1, 2])))
    roll = math.atan2(rotation[1, 0], rotation[1, 1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def make_detector() -> cv2.aruco.ArucoDetector:
    """Build an ArUco detector that also finds small markers; reuse it for all frames."""
    parameters = cv2.aruco.DetectorParameters()
    parameters.minMarkerPerimeterRate = 0.01  # the default 0.03 misses distant sheets in large frames
    # Small blurred markers need a finer rectified picture, sampling in the middle of each bit, and separation of a marker's
    # inner and outer outline: misses at 3 to 5 pixels per bit fall from 26 to 2 % (docs/results.md).
    parameters.perspectiveRemovePixelPerCell = 8
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.3
    parameters.minGroupDistance = 0.05
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return cv2.aruco.ArucoDetector(marker_dictionary(), parameters)


def find_sheet(
    frame: NDArray[np.uint8],
    layouts: Sequence[SheetLayout],
    intrinsics: Intrinsics,
    detector: cv2.aruco.ArucoDetector | None = None,
) -> SheetPose | None:
    """Find the sheet with the most visible markers in ``frame``, (H, W, 3) RGB uint8.

    Args:
        frame: the picture.
        layouts: sheets to look for.
        intrinsics: of the camera, for frames of this size.
        detector: from :func:`make_detector`; None builds one.

    Returns:
        The pose; None if fewer than two markers are visible or they do not fit a sheet.
    """
    markers = read_markers(detector or make_detector(), cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    return _pose_of(markers, layouts, intrinsics)


class SheetFinder:
    """Track sheets in consecutive frames of one camera: like :func:`find_sheet`, but many times faster.

    Each marker is first searched for around its last place, or, if it was hidden, where the pose predicts it. The whole frame
    is searched if fewer markers are found than before, and at regular intervals.
    """

    def __init__(self, layouts: Sequence[SheetLayout]) -> None:
        self._layouts = layouts
        self._everywhere, self._nearby = make_detector(), make_detector()
        parameters = self._nearby.getDetectorParameters()
        parameters.minMarkerPerimeterRate = _NEAR_PERIMETER_RATE
        self._nearby.setDetectorParameters(parameters)
        self._places: list[NDArray[np.float32]] = []
        self._expected = 0
        self._frames_near = 0

    def find(self, frame: NDArray[np.uint8], intrinsics: Intrinsics) -> SheetPose | None:
        """Find the sheet in ``frame``, (H, W, 3) RGB uint8; return None if there is none."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        markers = self._near(grey) if self._frames_near < _SEARCH_ALL_EVERY else {}
        self._frames_near += 1
        if len(markers) < max(2, self._expected):
            markers = read_markers(self._everywhere, grey)
            self._frames_near = 0
        pose = _pose_of(markers, self._layouts, intrinsics)
        self._expected = len(markers)
        self._places = list(markers.values())
        if pose is not None:
            hidden = [marker.rect.corners_mm for marker in pose.layout.markers if marker.id not in markers]
            self._places += [pose.to_pixels(corners_mm) for corners_mm in hidden]
        return pose

    def _near(self, grey: NDArray[np.uint8]) -> _MarkerCorners:
        markers: _MarkerCorners = {}
        for quad in self._places:
            margin = _AROUND_MARKER * np.ptp(quad, axis=0)
            left, top = np.maximum(quad.min(axis=0) - margin, 0).astype(int)
            right, bottom = np.maximum(np.ceil(quad.max(axis=0) + margin), 0).astype(int)
            part = np.ascontiguousarray(grey[top:bottom, left:right])
            if part.size:
                corner = np.array([left, top], dtype=np.float32)
                markers |= {i: near + corner for i, near in read_markers(self._nearby, part).items()}
        return markers


def read_markers(detector: cv2.aruco.ArucoDetector, grey: NDArray[np.uint8]) -> _MarkerCorners:
    """Read the markers in a picture (H, W) uint8; return their corners (4, 2), in pixels, by marker id."""
    corners, ids, _ = detector.detectMarkers(grey)
    if ids is None:
        return {}
    return {int(i): quad.reshape(4, 2) for i, quad in zip(ids.ravel(), corners, strict=True)}


def _pose_of(markers: _MarkerCorners, layouts: Sequence[SheetLayout], intrinsics: Intrinsics) -> SheetPose | None:
    if not markers:
        return None
    best = max(layouts, key=lambda layout: sum(m.id in markers for m in layout.markers))
    on_page = best.marker_corners_mm()
    common = sorted(on_page.keys() & markers.keys())
    if len(common) < 2:
        return None
    page_mm = np.concatenate([on_page[i] for i in common])
    pixels = np.concatenate([markers[i] for i in common])
    return _pose(best, page_mm, pixels, intrinsics, len(common))


def _pose(
    layout: SheetLayout, page_mm: NDArray[np.float32], pixels: NDArray[np.float32], intrinsics: Intrinsics, markers: int
) -> SheetPose | None:
    distortion = np.array(intrinsics.distortion, dtype=np.float64)
    straight = pixels
    if intrinsics.distortion:
        straight = cv2.undistortPoints(pixels[:, None], intrinsics.matrix, distortion, P=intrinsics.matrix)[:, 0]
    homography, _ = cv2.findHomography(page_mm, straight)
    if homography is None:
        return None
    center_mm = layout.patch.corners_mm.mean(axis=0)
    plane = np.column_stack([page_mm - center_mm, np.zeros(len(page_mm))]).astype(np.float32)
    count, turns, shifts, _ = cv2.solvePnPGeneric(plane, pixels, intrinsics.matrix, distortion, flags=cv2.SOLVEPNP_IPPE)
    if not count:
        return None
    refined = [
        cv2.solvePnPRefineLM(plane, pixels, intrinsics.matrix, distortion, turn, shift)
        for turn, shift in zip(turns, shifts, strict=True)
    ]
    errors = [_rms_px(plane, pixels, turn, shift, intrinsics) for turn, shift in refined]
    order = sorted(range(len(refined)), key=errors.__getitem__)
    size_px = float(np.linalg.norm(np.ptp(pixels, axis=0)))
    if errors[order[0]] > max(_WORST_ERROR_PX, _WORST_ERROR_SHARE * size_px):  # a false detection of a marker
        return None
    rotations, place = [cv2.Rodrigues(refined[i][0])[0] for i in order], refined[order[0]][1].ravel()
    branches = [angles_deg(rotation) for rotation in rotations]
    yaw, pitch, roll = branches[0]
    clear = len(branches) == 1 or errors[order[1]] >= _CLEAR_BRANCH_RATIO * max(errors[order[0]], _CORNER_NOISE_PX)
    clear = clear or max(abs(a - b) for a, b in zip(branches[0], branches[1], strict=True)) < _FACING_DEG
    patch = _to_pixels(layout.patch.corners_mm, homography, intrinsics)
    area_px = float(cv2.contourArea(patch))
    rows, columns = layout.grid
    return SheetPose(
        layout=layout,
        intrinsics=intrinsics,
        homography=homography,
        patch_corners_px=patch,
        distance_m=float(np.linalg.norm(place)) / 1000,
        yaw_deg=yaw if clear else None,
        pitch_deg=pitch if clear else None,
        roll_deg=roll,
        tilt_deg=_between_deg(rotations[0][:, 2], place),
        axis_tilt_deg=max(
            _between_deg(turned[:, 2], np.eye(3)[2]) for turned in (rotations[:1] if clear else rotations)
        ),
        patch_area_px=area_px,
        px_per_cell=math.sqrt(area_px / (rows * columns)),
        visible=_visible(patch, area_px, intrinsics),
        markers_seen=markers,
    )


def _between_deg(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the angle between two vectors (3,)."""
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _to_pixels(
    sheet_mm: NDArray[np.floating], homography: NDArray[np.float64], intrinsics: Intrinsics
) -> NDArray[np.float32]:
    straight = cv2.perspectiveTransform(np.asarray(sheet_mm, dtype=np.float64)[None], homography)[0]
    if not intrinsics.distortion:
        return straight.astype(np.float32)
    rays = (straight - (intrinsics.cx, intrinsics.cy)) / (intrinsics.fx, intrinsics.fy)
    ahead = np.column_stack([rays, np.ones(len(rays))])
    distortion = np.array(intrinsics.distortion, dtype=np.float64)
    bent, _ = cv2.projectPoints(ahead, np.zeros(3), np.zeros(3), intrinsics.matrix, distortion)
    return bent.reshape(-1, 2).astype(np.float32)


def _rms_px(
    plane: NDArray[np.float32],
    pixels: NDArray[np.float32],
    turn: NDArray[np.float64],
    shift: NDArray[np.float64],
    intrinsics: Intrinsics,
) -> float:
    distortion = np.array(intrinsics.distortion, dtype=np.float64)
    projected, _ = cv2.projectPoints(plane, turn, shift, intrinsics.matrix, distortion)
    return float(np.sqrt(((projected.reshape(-1, 2) - pixels) ** 2).sum(axis=1).mean()))


def _visible(corners_px: NDArray[np.float32], area_px: float, intrinsics: Intrinsics) -> float:
    frame = np.array(
        [[0, 0], [intrinsics.width, 0], [intrinsics.width, intrinsics.height], [0, intrinsics.height]], dtype=np.float32
    )
    shared, _ = cv2.intersectConvexConvex(corners_px, frame)
    return min(1.0, float(shared) / area_px) if area_px else 0.0
