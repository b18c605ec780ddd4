"""Calibrate the lens from views of the ChArUco board: collect good views, guide the user, fit the intrinsics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.edges import BLURRED_FRAME_PX, edge_blur_px, frame_blur_px
from calibration.camera.intrinsics import Intrinsics
from calibration.camera.lens_uncertainty import LENS_NAMES, deviations_over_views, half_width
from calibration.common.errors import InputError
from calibration.sheet.charuco_target import charuco_board
from calibration.sheet.layout import SheetLayout

COVERAGE_GRID = (3, 4)  # rows, columns of the frame that views must cover
LEAST_VIEWS = 6
WISHED_VIEWS = 20
_LEAST_CORNERS = 10
_LEAST_ROWS = 3  # of corners; fewer are nearly collinear
_WORST_BLUR = 0.08  # as a share of a square's edge in pixels
_NEAREST_VIEW = 0.04  # least movement between views, as a share of the frame's diagonal
_TILT_DEG = 12.0
_LEAST_TILT_SPREAD_DEG = 20.0
_PRECISE_FOCAL_STD, _WORST_FOCAL_STD = 0.005, 0.02
_WORST_RMS_PX = 1.0
_OUTLIER = 3.0
_BLURRED = "blurred: hold still, or use more light"
_TILT_IT = "tilt the board by 20 to 40 degrees in all directions and move it into the corners of the picture"


@dataclass(frozen=True, eq=False)
class BoardView:
    """The inner corners of the board's squares in one frame.

    Attributes:
        corners_px: (N, 2) float32 pixels.
        ids: (N,) indices of the corners on the board.
        size_wh: of the frame.
        blur_px: standard deviation of the blur.
        tilt_deg: rough rotation about the vertical and the horizontal axis, assuming a typical field of view.
    """

    corners_px: NDArray[np.float32]
    ids: NDArray[np.int32]
    size_wh: tuple[int, int]
    blur_px: float
    tilt_deg: tuple[float, float]


@dataclass(frozen=True, eq=False)
class LensFit:
    """The result of a lens calibration.

    Attributes:
        intrinsics: with five distortion coefficients (k1, k2, p1, p2, k3).
        std: standard deviations of fx, fy, cx, cy in pixels, over other views of the board.
        rms_px: reprojection error over all views.
        view_errors_px: reprojection error of each view.
        views: the views that the fit used.
        left_out: how many views were excluded as outliers.
        tilt_spread_deg: the largest angle between the board in any two views.
        caution: what the user should know of a lens that the views determine poorly, in words; "" for a good one.
    """

    intrinsics: Intrinsics
    std: tuple[float, float, float, float]
    rms_px: float
    view_errors_px: tuple[float, ...]
    views: tuple[BoardView, ...]
    left_out: int
    tilt_spread_deg: float
    caution: str = ""

    @property
    def focal_share(self) -> float:
        """Return the larger deviation of the two focal lengths, as a share; distances have the same."""
        return max(self.std[0] / self.intrinsics.fx, self.std[1] / self.intrinsics.fy)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values, without the corners of the views."""
        widths = (half_width(std, len(self.views)) for std in self.std)
        return {
            "intrinsics": self.intrinsics.to_dict(),
            "std_px": dict(zip(LENS_NAMES, (round(s, 4) for s in self.std), strict=True)),
            "ci95_half_px": dict(zip(LENS_NAMES, (round(width, 4) for width in widths), strict=True)),
            "caution": self.caution,
            "rms_px": round(self.rms_px, 4),
            "view_errors_px": [round(error, 4) for error in self.view_errors_px],
            "views": len(self.views),
            "left_out": self.left_out,
        }


class BoardPoints(Protocol):
    """Knows where the corners of a board are."""

    def points_mm(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the positions of corners on the board, (N, 3) in mm with z = 0."""
        ...


class BoardFinder:
    """Find the board of one printed sheet in frames; reuse the finder for all frames."""

    def __init__(self, layout: SheetLayout) -> None:
        """Set up the detector for ``layout``, a sheet of kind ``board`` in true millimetres."""
        self._board = charuco_board(layout)
        parameters = cv2.aruco.DetectorParameters()
        parameters.minMarkerPerimeterRate = 0.01
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        self._detector = cv2.aruco.CharucoDetector(self._board, cv2.aruco.CharucoParameters(), parameters)
        self._columns = layout.grid[1] - 1
        self._stretch = (
            np.array(layout.scale) / layout.scale[0]
        )  # OpenCV's board has square cells; the printed one may not
        self._points = (np.array(self._board.getChessboardCorners()) * (*self._stretch, 1.0)).astype(np.float32)

    @property
    def corners(self) -> int:
        """Return the number of inner corners of the board."""
        return len(self._points)

    def points_mm(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the positions of corners on the board, (N, 3) in mm with z = 0."""
        return np.ascontiguousarray(self._points[ids])

    def find(self, frame: NDArray[np.uint8]) -> BoardView | str:
        """Find the board in ``frame``, (H, W, 3) RGB uint8; return a message for the user if the frame is unusable."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        corners, ids, _, marker_ids = self._detector.detectBoard(grey)
        if (
            ids is None
            or len(ids) < _LEAST_CORNERS
            or len({int(i) // self._columns for i in ids.ravel()}) < _LEAST_ROWS
        ):
            return self._failure_reason(grey, 0 if marker_ids is None else len(marker_ids))
        pixels, ids = corners.reshape(-1, 2), ids.ravel()
        blur, square = self._blur_px(grey, pixels, ids)
        if blur is None or blur > max(1.0, _WORST_BLUR * square):
            return _BLURRED
        size = (frame.shape[1], frame.shape[0])
        return BoardView(pixels, ids, size, blur, self._tilt_deg(pixels, ids, size))

    def _failure_reason(self, grey: NDArray[np.uint8], markers: int) -> str:
        mirrored = self._detector.detectBoard(cv2.flip(grey, 1))[3]
        if mirrored is not None and len(mirrored) > max(3, 2 * markers):  # some markers resemble mirrored others
            return "the picture is mirrored: turn mirroring off in the camera's settings"
        if frame_blur_px(grey) > BLURRED_FRAME_PX:
            return _BLURRED
        if markers:
            return "only part of the board is visible: show more of it"
        return "no board is visible: hold the ChArUco page of `physpatch calibrate sheet` in front of the camera"

    def _blur_px(
        self, grey: NDArray[np.uint8], pixels: NDArray[np.float32], ids: NDArray[np.int32]
    ) -> tuple[float | None, float]:
        """Measure the blur at the edges of the squares, and the median edge length."""
        place = {int(i): p for i, p in zip(ids, pixels, strict=True)}
        pairs = [
            (p, place[j])
            for i, p in place.items()
            for j in (i + 1, i + self._columns)
            if j in place and (j != i + 1 or j % self._columns)
        ]
        if not pairs:
            return None, 0.0
        ends = np.array(pairs, dtype=np.float64)
        along = ends[:, 1] - ends[:, 0]
        lengths = np.linalg.norm(along, axis=1)
        normals = np.column_stack([-along[:, 1], along[:, 0]]) / lengths[:, None]
        square = float(np.median(lengths))
        return edge_blur_px(grey, ends.mean(axis=1), normals, min(10.0, 0.11 * square)), square

    def _tilt_deg(
        self, pixels: NDArray[np.float32], ids: NDArray[np.int32], size_wh: tuple[int, int]
    ) -> tuple[float, float]:
        guess = Intrinsics.from_hfov(*size_wh).matrix
        solved, turn, _ = cv2.solvePnP(self.points_mm(ids), pixels, guess, None, flags=cv2.SOLVEPNP_IPPE)
        if not solved:
            return (0.0, 0.0)
        normal = cv2.Rodrigues(turn)[0][:, 2]
        return (float(np.degrees(np.arcsin(normal[0]))), float(np.degrees(np.arcsin(normal[1]))))


class ViewCollector:
    """Collect views that add information, and tell the user what to show next.

    Attributes:
        views: the accepted views.
        refused: number of rejected frames by reason.
    """

    def __init__(self, finder: BoardFinder) -> None:
        self._finder = finder
        self.views: list[BoardView] = []
        self.refused: dict[str, int] = {}

    def offer(self, frame: NDArray[np.uint8]) -> str:
        """Accept or reject a frame, (H, W, 3) RGB uint8.

        Returns:
            The reason for rejecting the frame, in words; "" if it was accepted.

        Raises:
            InputError: if the size differs from that of earlier frames.
        """
        view = self._finder.find(frame)
        if isinstance(view, BoardView):
            view = self._duplicate(view) or view
        if isinstance(view, str):
            self.refused[view] = self.refused.get(view, 0) + 1
            return view
        if self.views and view.size_wh != self.views[0].size_wh:
            raise InputError(
                f"frames of {view.size_wh[0]}x{view.size_wh[1]} and {self.views[0].size_wh[0]}x"
                f"{self.views[0].size_wh[1]} pixels come from different cameras or settings; calibrate each separately"
            )
        self.views.append(view)
        return ""

    def _duplicate(self, view: BoardView) -> str:
        """Return the reason to reject a view whose board is nearly where an accepted view has it."""
        nearest = _NEAREST_VIEW * float(np.hypot(*view.size_wh))
        for accepted in self.views:
            _, own, its = np.intersect1d(view.ids, accepted.ids, return_indices=True)
            if len(own) >= _LEAST_CORNERS:
                moved = np.linalg.norm(view.corners_px[own] - accepted.corners_px[its], axis=1).mean()
                if moved < nearest:
                    return "nearly the same as an earlier view: move or tilt the board"
        return ""

    @property
    def coverage(self) -> NDArray[np.int64]:
        """Count the views with a corner in each cell of the frame, (rows, columns) as in :data:`COVERAGE_GRID`."""
        rows, columns = COVERAGE_GRID
        count = np.zeros(COVERAGE_GRID, dtype=np.int64)
        for view in self.views:
            cells = (view.corners_px / view.size_wh * (columns, rows)).astype(int).clip(0, (columns - 1, rows - 1))
            count[tuple(np.unique(cells[:, ::-1], axis=0).T)] += 1
        return count

    @property
    def wish(self) -> str:
        """Return what to show next, in words; "" if the views suffice."""
        empty = np.argwhere(self.coverage == 0)
        if len(empty):
            row, column = empty[0]
            upright = ("top", "middle", "bottom")[row]
            level = ("far left", "left", "right", "far right")[column]
            return f"hold the board at the {upright}, {level} of the picture"
        for axis, (negative, positive) in enumerate((("left", "right"), ("upper", "lower"))):
            tilts = [view.tilt_deg[axis] for view in self.views]
            if min(tilts) > -_TILT_DEG:
                return f"bring the {negative} edge nearer, by 20 to 40 degrees"
            if max(tilts) < _TILT_DEG:
                return f"bring the {positive} edge nearer, by 20 to 40 degrees"
        if len(self.views) < WISHED_VIEWS:
            return f"show {WISHED_VIEWS - len(self.views)} more views, at other places and angles"
        return ""


def fit_lens(finder: BoardPoints, views: Sequence[BoardView], *, accept_poor: bool = False) -> LensFit:
    """Fit the intrinsics by Zhang's method (2000), as in ``cv2.calibrateCameraExtended``; exclude outliers once.

    Args:
        finder: of the printed board.
        views: of it.
        accept_poor: return a lens that the views determine poorly, with its ``caution``, instead of raising.

    Raises:
        InputError: if there are too few views, or they do not determine the lens.
    """
    if len(views) < LEAST_VIEWS:
        raise InputError(
            f"{len(views)} usable view{'s' * (len(views) != 1)} of the board; at least {LEAST_VIEWS} from different "
            f"sides are needed, and {WISHED_VIEWS} are recommended"
        )
    fit = _fit(finder, views, 0)
    errors = np.array(fit.view_errors_px)
    keep = errors <= max(_OUTLIER * float(np.median(errors)), 0.2)
    if not keep.all() and keep.sum() >= LEAST_VIEWS:
        kept_views = [view for view, good in zip(views, keep, strict=True) if good]
        fit = _fit(finder, kept_views, len(views) - len(kept_views))
    focal = fit.focal_share
    if not np.isfinite(focal):
        raise InputError(f"the views do not determine the lens at all; {_TILT_IT}")
    reason = _poor_because(fit)
    if reason and not accept_poor:
        raise InputError(f"{reason}; or use the lens as it is, with --accept-poor")
    if reason:
        return replace(fit, caution=reason)
    if focal > _PRECISE_FOCAL_STD:
        return replace(
            fit,
            caution=f"the focal length, and with it every distance, is only known to ±{100 * focal:.1f} %; to know it "
            f"better, {_TILT_IT}",
        )
    return fit


def _poor_because(fit: LensFit) -> str:
    """Say why the views determine a lens poorly, and what to do; "" if they do not."""
    if fit.rms_px > _WORST_RMS_PX:
        return f"the views do not fit one lens: the error is {fit.rms_px:.1f} px; keep zoom and focus fixed and the board flat"
    # Views at one tilt fit many lenses, and the standard deviations of a wrong fit look small.
    if fit.tilt_spread_deg < _LEAST_TILT_SPREAD_DEG:
        return f"the views do not determine the lens: they show the board at nearly the same tilt; {_TILT_IT}"
    if fit.focal_share > _WORST_FOCAL_STD:
        precision = f"the focal length is only known to {100 * fit.focal_share:.1f} %"
        return f"the views do not determine the lens: {precision}; {_TILT_IT}"
    return ""


def _fit(finder: BoardPoints, views: Sequence[BoardView], left_out: int) -> LensFit:
    size = views[0].size_wh
    points, corners = [finder.points_mm(view.ids) for view in views], [view.corners_px for view in views]
    rms, matrix, distortion, turns, shifts, std, _, errors = cv2.calibrateCameraExtended(
        points,
        corners,
        size,
        np.eye(3),
        np.zeros(5),
        flags=cv2.CALIB_FIX_K3,  # the third radial term is not determined by views of a board
    )
    intrinsics = Intrinsics(
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]),
        float(matrix[1, 2]),
        *size,
        distortion=tuple(float(k) for k in distortion.ravel()),
    )
    deviations = np.maximum(
        std.ravel()[: len(LENS_NAMES)], deviations_over_views(points, corners, turns, shifts, matrix, distortion)
    )
    return LensFit(
        replace(intrinsics, assumed=False),
        (float(deviations[0]), float(deviations[1]), float(deviations[2]), float(deviations[3])),
        float(rms),
        tuple(float(error) for error in errors.ravel()),
        tuple(views),
        left_out,
        _tilt_spread_deg(turns),
    )


def _tilt_spread_deg(turns: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest angle between the board's normals in any two views."""
    normals = np.array([cv2.Rodrigues(turn)[0][:, 2] for turn in turns])
    return float(np.degrees(np.arccos(np.clip((normals @ normals.T).min(), -1, 1))))


def coverage_picture(views: Sequence[BoardView], *, width_px: int = 800) -> NDArray[np.uint8]:
    """Draw the corners of all views over the coverage grid, one shade per view, (H, W, 3) RGB uint8."""
    width, height = views[0].size_wh
    scale = width_px / width
    picture = np.full((round(height * scale), width_px, 3), 255, dtype=np.uint8)
    rows, columns = COVERAGE_GRID
    for i in range(1, columns):
        cv2.line(picture, (i * width_px // columns, 0), (i * width_px // columns, len(picture)), (200, 200, 200), 1)
    for i in range(1, rows):
        cv2.line(picture, (0, i * len(picture) // rows), (width_px, i * len(picture) // rows), (200, 200, 200), 1)
    for number, view in enumerate(views):
        shade = cv2.applyColorMap(
            np.array([[255 * number // max(1, len(views) - 1)]], dtype=np.uint8), cv2.COLORMAP_CIVIDIS
        )[0, 0]
        colour = tuple(int(c) for c in shade[::-1])
        for x, y in view.corners_px * scale:
            cv2.circle(picture, (round(float(x)), round(float(y))), 4, colour, -1, cv2.LINE_AA)
    return picture
