"""The lens from the board."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.camera.board_views import (
    BoardFinder,
    BoardView,
    ViewCollector,
    _tilt_spread_deg,
    coverage_picture,
    fit_lens,
)
from calibration.camera.intrinsics import Intrinsics
from calibration.camera.lens_uncertainty import deviations_over_views
from calibration.common.errors import InputError
from calibration.sheet.charuco_target import BOARD_GRID
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import VirtualRig


@pytest.fixture(scope="module")
def finder(target_rig: VirtualRig) -> BoardFinder:
    return BoardFinder(target_rig.layouts[0])


@pytest.fixture(scope="module")
def stills(target_rig: VirtualRig) -> list[np.ndarray]:
    return [frame.image for frame in target_rig.film(0, 26, np.random.default_rng(1))]


@pytest.fixture(scope="module")
def collected(finder: BoardFinder, stills: list[np.ndarray]) -> ViewCollector:
    collector = ViewCollector(finder)
    for image in stills:
        collector.offer(image)
    return collector


def test_a_hidden_lens_is_found(target_rig: VirtualRig, finder: BoardFinder, collected: ViewCollector) -> None:
    fit = fit_lens(finder, collected.views)
    truth, found = target_rig.intrinsics, fit.intrinsics
    assert (found.fx, found.fy) == pytest.approx((truth.fx, truth.fy), rel=0.005)
    assert (found.cx, found.cy) == pytest.approx((truth.cx, truth.cy), abs=0.005 * truth.width)
    assert found.distortion[0] == pytest.approx(truth.distortion[0], abs=0.01)
    assert fit.rms_px <= 0.3 and len(fit.view_errors_px) == len(fit.views)
    # the standard deviations are honest: the truth lies within four of them
    assert abs(found.fx - truth.fx) < 4 * fit.std[0] + 0.1
    assert not found.assumed
    assert Intrinsics.from_dict(found.to_dict()) == found


def test_the_blur_of_the_views_is_the_cameras(target_rig: VirtualRig, collected: ViewCollector) -> None:
    assert np.median([v.blur_px for v in collected.views]) == pytest.approx(target_rig.truth.blur_px, abs=0.2)


_COLUMNS = ("far left", "left", "right", "far right")


def test_guidance_asks_for_what_is_missing(finder: BoardFinder, stills: list[np.ndarray]) -> None:
    collector = ViewCollector(finder)
    assert collector.wish.startswith("hold the board at the top, far left")
    assert collector.offer(stills[0]) == ""
    assert "nearly the same" in collector.offer(stills[0])
    places = [f"{row}, {column}" for row in ("top", "middle", "bottom") for column in _COLUMNS]
    for image in stills[1:]:
        if collector.wish.startswith("hold the board"):
            (place,) = (i for i, words in enumerate(places) if f"at the {words} of" in collector.wish)
            assert collector.coverage.ravel()[place] == 0, collector.wish  # nothing was seen there yet
        collector.offer(image)
    assert collector.coverage.shape == (3, 4) and collector.coverage.sum() > 12
    assert collector.coverage.all() or collector.wish.startswith("hold the board")


def test_tilts_are_asked_for_in_both_directions(finder: BoardFinder) -> None:
    collector = ViewCollector(finder)
    everywhere = np.stack(np.meshgrid(np.linspace(5, 1275, 9), np.linspace(5, 955, 9)), -1).reshape(-1, 2)
    flat = BoardView(everywhere.astype(np.float32), np.arange(81, dtype=np.int32), (1280, 960), 0.5, (0.0, 0.0))
    collector.views.append(flat)
    assert collector.wish == "bring the left edge nearer, by 20 to 40 degrees"
    for tilt, wish in (((-20, 0), "the right edge"), ((20, 0), "the upper edge"), ((0, -20), "the lower edge")):
        collector.views.append(BoardView(flat.corners_px, flat.ids, flat.size_wh, 0.5, tilt))
        assert wish in collector.wish
    collector.views.append(BoardView(flat.corners_px, flat.ids, flat.size_wh, 0.5, (0.0, 20.0)))
    assert collector.wish == "show 15 more views, at other places and angles"


@pytest.mark.parametrize(
    ("axis", "sign", "turn"), [(0, -1, (-25, 0)), (0, 1, (25, 0)), (1, -1, (0, 25)), (1, 1, (0, -25))]
)
def test_a_tilt_is_negative_if_the_left_or_upper_edge_is_nearer(
    axis: int, sign: int, turn: tuple[float, float], target_rig: VirtualRig, finder: BoardFinder
) -> None:
    """As the wishes have it, which name the edge."""
    pose = RigPose(0.45, 0, 0, *turn, 0)
    view = finder.find(target_rig.render(0, pose, np.full((960, 1280, 3), 0.3), np.random.default_rng(0)))
    assert isinstance(view, BoardView)
    corners = dict(zip(view.ids.tolist(), view.corners_px, strict=True))
    rows, columns = (side - 1 for side in BOARD_GRID)
    last = rows * columns - 1
    edges = (
        ((0, last - columns + 1), (columns - 1, last)) if axis == 0 else ((0, columns - 1), (last - columns + 1, last))
    )
    first, second = (float(np.linalg.norm(corners[one] - corners[two])) for one, two in edges)
    assert (second - first) * sign > 0  # the nearer edge looks longer
    assert view.tilt_deg[axis] * sign > 20


def test_what_is_wrong_with_a_frame_is_said(
    target_rig: VirtualRig, finder: BoardFinder, stills: list[np.ndarray]
) -> None:
    straight = target_rig.render(0, RigPose(0.4, 0, 0, 5, 5, 0), np.full((960, 1280, 3), 0.3), np.random.default_rng(0))
    assert isinstance(finder.find(straight), BoardView)
    assert "no board" in str(finder.find(np.full((480, 640, 3), 90, np.uint8)))
    assert "mirrored" in str(finder.find(np.ascontiguousarray(straight[:, ::-1])))
    assert "blurred" in str(finder.find(cv2.GaussianBlur(straight, (0, 0), 5)))
    part = straight.copy()
    part[:, 500:] = 90
    part[330:] = 90
    assert "only part" in str(finder.find(part))


def test_views_that_do_not_determine_the_lens_are_refused(target_rig: VirtualRig, finder: BoardFinder) -> None:
    with pytest.raises(InputError, match=r"0 usable views.*at least 6"):
        fit_lens(finder, [])
    rng = np.random.default_rng(2)
    facing = []
    for number in range(8):  # always square to the camera: focal length and distance can't be told apart
        pose = RigPose(0.45, -0.03 + 0.008 * number, 0.004 * number, 0.2, 0.2, 0)
        view = finder.find(target_rig.render(0, pose, np.full((960, 1280, 3), 0.3), rng))
        assert isinstance(view, BoardView)
        facing.append(view)
    with pytest.raises(InputError, match="1 usable view of"):
        fit_lens(finder, facing[:1])
    with pytest.raises(InputError, match=r"do not determine the lens.*tilt the board.*--accept-poor"):
        fit_lens(finder, facing)
    poor = fit_lens(finder, facing, accept_poor=True)
    assert "nearly the same tilt" in poor.caution and poor.to_dict()["caution"] == poor.caution
    assert poor.to_dict()["ci95_half_px"]["fx"] > poor.std[0]


def bent_views(
    finder: BoardFinder, lens: Intrinsics, rng: np.random.Generator, count: int, bow_mm: float = 1.0
) -> list[BoardView]:
    """Views of a board that bends differently each time it is held, by a few ``bow_mm``, as paper does."""
    ids = np.arange(finder.corners, dtype=np.int32)
    flat = finder.points_mm(ids).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    along = centred[:, :2] / np.abs(centred[:, :2]).max(axis=0)
    distortion = np.array(lens.distortion)
    views: list[BoardView] = []
    while len(views) < count:
        bow = bow_mm * rng.normal(size=3) @ np.stack([along[:, 0] ** 2, along[:, 0] * along[:, 1], along[:, 1] ** 2])
        held = np.column_stack([centred[:, :2], bow])
        turn = np.array([*rng.uniform(-0.6, 0.6, 2), rng.uniform(-0.2, 0.2)])
        shift = np.array([*rng.uniform(-90, 90, 2), rng.uniform(420, 600)])
        pixels = cv2.projectPoints(held, turn, shift, lens.matrix, distortion)[0].reshape(-1, 2)
        seen = pixels + rng.normal(0, 0.1, pixels.shape)
        if (seen > 0).all() and (seen < (lens.width, lens.height)).all():
            size = (lens.width, lens.height)
            views.append(BoardView(seen.astype(np.float32), ids, size, 0.5, (0.0, 0.0)))
    return views


def test_claimed_deviations_hold_where_the_errors_of_a_view_go_together(finder: BoardFinder) -> None:
    """Least squares alone claims several times too little here."""
    lens = replace(Intrinsics.from_hfov(1280, 960, 60), distortion=(-0.1, 0.05, 0.0, 0.0, 0.0), assumed=False)
    truth, rng = np.array([lens.fx, lens.fy, lens.cx, lens.cy]), np.random.default_rng(4)
    held, tries = np.zeros(4), 24
    for _ in range(tries):
        fit = fit_lens(finder, bent_views(finder, lens, rng, 12), accept_poor=True)
        one = fit.intrinsics
        widths = np.array(list(fit.to_dict()["ci95_half_px"].values()))
        held += np.abs(np.array([one.fx, one.fy, one.cx, one.cy]) - truth) <= widths
    assert (held >= 0.8 * tries).all()  # a 95 % interval holds in fewer than 20 of 24 with a probability of 0.2 %


def test_a_lens_that_is_known_roughly_is_used_with_a_caution(finder: BoardFinder) -> None:
    lens = replace(Intrinsics.from_hfov(1280, 960, 60), distortion=(0.0,) * 5, assumed=False)
    views = bent_views(finder, lens, np.random.default_rng(11), 14, 0.5)
    fit = fit_lens(finder, views)
    assert 0.005 < fit.focal_share < 0.02 and "every distance, is only known to ±" in fit.caution
    assert deviations_over_views([], [], [], [], lens.matrix, np.zeros(5)).tolist() == [np.inf] * 4


def test_frames_of_two_sizes_are_refused(finder: BoardFinder, stills: list[np.ndarray]) -> None:
    collector = ViewCollector(finder)
    collector.offer(stills[0])
    with pytest.raises(InputError, match="640x480 and 1280x960"):
        collector.offer(cv2.resize(stills[3], (640, 480), interpolation=cv2.INTER_AREA))


def test_the_coverage_picture_shows_every_corner(collected: ViewCollector) -> None:
    picture = coverage_picture(collected.views)
    assert picture.shape == (600, 800, 3)
    for view in collected.views:
        for x, y in (view.corners_px * 800 / 1280).round().astype(int):
            assert picture[y, x].min() < 200


def test_a_4k_still_is_calibrated_too(targets, wall) -> None:
    lens = Intrinsics.from_hfov(3840, 2160, 60)
    rig = VirtualRig(targets, [(wall, None)], seed=2, lens=lens)
    finder = BoardFinder(rig.layouts[0])
    (frame,) = rig.film(0, 1, np.random.default_rng(0), turn_deg=10, reach=0.1)
    view = finder.find(frame.image)
    assert isinstance(view, BoardView) and len(view.ids) == finder.corners


def test_intrinsics_follow_the_frame_size() -> None:
    lens = Intrinsics.from_hfov(1280, 960)
    half = lens.resized(640, 480)
    assert half.fx == pytest.approx(lens.fx / 2) and (half.cx, half.cy) == pytest.approx((319.5, 239.5))
    with pytest.raises(InputError, match="another aspect ratio"):
        lens.resized(1280, 720)


def test_a_lens_file_may_hold_any_whole_number() -> None:
    """OpenCV takes no array of integers beyond 64 bits."""
    lens = replace(Intrinsics.from_hfov(32, 24, 60), distortion=(0.0, 2**70, 0.0, 0.0))
    read = Intrinsics.from_dict(lens.to_dict())
    assert read.undistorted(np.zeros((24, 32, 3), np.uint8)).shape == (24, 32, 3)


def test_the_spread_of_tilts_is_the_largest_angle_between_two_views() -> None:
    turns = [np.array([np.radians(angle), 0.0, 0.0]) for angle in (0, 10, 30, -30)]
    assert _tilt_spread_deg(turns) == pytest.approx(60)
