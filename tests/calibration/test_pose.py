"""Pose from markers, against a projection made here."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import SheetFinder, _pose_of, angles_deg, find_sheet, rotation_matrix
from calibration.sheet.layout import Rect
from calibration.sheet.planning import plan_sheet
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import VirtualRig


@settings(deadline=None)
@given(yaw=st.floats(-80, 80), pitch=st.floats(-80, 80), roll=st.floats(-179, 179))
def test_angles_invert_the_rotation(yaw: float, pitch: float, roll: float) -> None:
    rotation = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(angles_deg(rotation), (yaw, pitch, roll), atol=1e-6)


@pytest.fixture(scope="module")
def rig(shared_sheet_pdf, wall) -> VirtualRig:
    return VirtualRig(shared_sheet_pdf, [(wall, None)], seed=3)


@pytest.mark.parametrize(
    "pose",
    [
        RigPose(0.35, 0.0, 0.0, 0, 0, 0),
        RigPose(0.4, 0.03, -0.02, 25, 5, 10),
        RigPose(0.42, -0.05, 0.02, -35, 12, -40),
        RigPose(0.4, 0.0, 0.0, 10, -30, 160),
    ],
)
def test_closed_loop_pdf_raster_warp_markers_pose(rig: VirtualRig, pose: RigPose) -> None:
    """What the rig was told is what the markers say: distance within 1 %, known angles within 2 degrees."""
    behind = np.full((480, 640, 3), 0.1)
    frame = rig.render(0, pose, behind, np.random.default_rng(0))
    found = find_sheet(frame, rig.layouts, rig.intrinsics)
    assert found is not None and found.layout.kind == "patch" and found.markers_seen == 4
    truth = float(np.linalg.norm([pose.distance_m, pose.x_m, pose.y_m]))
    assert found.distance_m == pytest.approx(truth, rel=0.01)
    assert found.roll_deg == pytest.approx(pose.roll_deg, abs=2)
    if abs(pose.yaw_deg) + abs(pose.pitch_deg) > 10:
        assert found.yaw_deg == pytest.approx(pose.yaw_deg, abs=2)
        assert found.pitch_deg == pytest.approx(pose.pitch_deg, abs=2)


def test_patch_pixels_follow_from_distance(rig: VirtualRig) -> None:
    behind = np.full((480, 640, 3), 0.1)
    found = find_sheet(
        rig.render(0, RigPose(0.4, 0, 0, 0, 0, 0), behind, np.random.default_rng(0)), rig.layouts, rig.intrinsics
    )
    side_px = rig.intrinsics.fx * 0.1 / 0.4
    assert found is not None
    assert found.patch_area_px == pytest.approx(side_px**2, rel=0.02)
    assert found.px_per_cell == pytest.approx(side_px / 10, rel=0.01)


def test_cells_and_rectified_views_of_an_oblong_patch_have_their_size_and_place() -> None:
    """A sheet that faces the camera, at two pixels a millimetre, in a frame whose columns are its grey levels."""
    layout = plan_sheet(100.0, (4, 8))
    markers = {i: (2 * corners + 10).astype(np.float32) for i, corners in layout.marker_corners_mm().items()}
    pose = _pose_of(markers, [layout], Intrinsics.from_hfov(640, 480))
    assert pose is not None and pose.px_per_cell == pytest.approx(2 * layout.cell_mm, rel=1e-4)
    frame = np.arange(640).clip(0, 255).astype(np.uint8)[None, :, None].repeat(480, 0).repeat(3, 2)
    area = Rect(layout.patch.x_mm, layout.patch.y_mm, 20.0, 10.0)
    picture = pose.rectify(frame, area, per_mm=1.0)
    assert picture.shape == (10, 20, 3)
    expected = 2 * (area.x_mm + 0.5 + np.arange(20)) + 10
    assert np.abs(picture[5, :, 0] - expected).max() < 0.7


def test_the_kind_of_sheet_is_recognised(rig: VirtualRig) -> None:
    behind = np.full((480, 640, 3), 0.1)
    for page, layout in enumerate(rig.layouts):
        found = find_sheet(
            rig.render(page, RigPose(0.4, 0, 0, 5, 5, 5), behind, np.random.default_rng(0)), rig.layouts, rig.intrinsics
        )
        assert found is not None and found.layout.kind == layout.kind


def test_a_frame_without_a_sheet_gives_none(rig: VirtualRig) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert find_sheet(noise, rig.layouts, Intrinsics.from_hfov(320, 240)) is None


BENT = replace(Intrinsics.from_hfov(1280, 960, 62), distortion=(-0.2, 0.06, 4e-4, -3e-4, 0.0), assumed=False)


@pytest.fixture(scope="module")
def bent_rig(shared_sheet_pdf, wall) -> VirtualRig:
    return VirtualRig(shared_sheet_pdf, [(wall, None)], seed=3, lens=BENT)


def _filmed(rig: VirtualRig, pose: RigPose) -> np.ndarray:
    return rig.render(0, pose, np.full((960, 1280, 3), 0.2), np.random.default_rng(0))


def test_a_bent_lens_is_straightened(bent_rig: VirtualRig) -> None:
    """In a corner of the picture, where the distortion is tens of pixels; without it distance and angles are off."""
    pose = RigPose(0.4, 0.13, 0.06, -25, 15, 0)
    frame = _filmed(bent_rig, pose)
    truth = float(np.linalg.norm([pose.distance_m, pose.x_m, pose.y_m]))
    found = find_sheet(frame, bent_rig.layouts, BENT)
    naive = find_sheet(frame, bent_rig.layouts, replace(BENT, distortion=()))
    assert found is not None and naive is not None
    assert found.distance_m == pytest.approx(truth, rel=0.005)
    assert (found.yaw_deg, found.pitch_deg) == pytest.approx((-25, 15), abs=1)
    assert abs(naive.distance_m / truth - 1) > 3 * abs(found.distance_m / truth - 1)


def test_points_on_the_sheet_are_found_in_the_frame(bent_rig: VirtualRig) -> None:
    """Rectified, the patch shows its cells where the layout has them."""
    frame = _filmed(bent_rig, RigPose(0.4, 0.12, 0.05, -25, 15, 30))
    found = find_sheet(frame, bent_rig.layouts, BENT)
    assert found is not None
    picture = found.rectify(frame, found.layout.patch, per_mm=1.0).astype(float)
    seen = picture.reshape(10, 10, 10, 10, 3)[:, 3:7, :, 3:7].mean(axis=(1, 3))
    sent = found.layout.cells.astype(float)
    assert np.corrcoef(seen.ravel(), sent.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("hidden", "distance", "angle"), [(1, 0.01, 2.0), (2, 0.02, 4.0)])
def test_three_and_two_markers_still_give_a_pose(
    hidden: int, distance: float, angle: float, bent_rig: VirtualRig
) -> None:
    pose = RigPose(0.35, 0, 0, 25, 15, 5)
    frame = _filmed(bent_rig, pose)
    whole = find_sheet(frame, bent_rig.layouts, BENT)
    assert whole is not None
    for marker in whole.layout.markers[:hidden]:
        x, y = whole.to_pixels(marker.rect.corners_mm).mean(axis=0).astype(int)
        frame[y - 45 : y + 45, x - 45 : x + 45] = 60
    found = find_sheet(frame, bent_rig.layouts, BENT)
    assert found is not None and found.markers_seen == 4 - hidden
    assert found.distance_m == pytest.approx(0.35, rel=distance)
    if found.yaw_deg is not None:
        assert (found.yaw_deg, found.pitch_deg) == pytest.approx((25, 15), abs=angle)


def test_a_finder_sees_what_a_single_look_sees(bent_rig: VirtualRig) -> None:
    """Moved, jumped, hidden, back again: frame by frame the same poses as from a search of the whole frame."""
    rng, behind = np.random.default_rng(3), np.full((960, 1280, 3), 0.2)
    poses = [RigPose(0.4, 0.004 * i, 0.002 * i, 3.0 * i, 5, i) for i in range(6)]
    poses += [RigPose(0.8, -0.1, 0.05, -20, 0, 0)] * 2
    frames = [bent_rig.render(0, pose, behind, rng) for pose in poses]
    frames[3][:, 640:] = 60  # two markers are hidden
    frames.insert(5, np.full_like(frames[0], 90))  # the sheet is away
    finder = SheetFinder(bent_rig.layouts)
    for frame in frames:
        tracked, single = finder.find(frame, BENT), find_sheet(frame, bent_rig.layouts, BENT)
        assert (tracked is None) == (single is None)
        if tracked is not None and single is not None:
            assert tracked.markers_seen == single.markers_seen
            assert tracked.patch_corners_px == pytest.approx(single.patch_corners_px, abs=0.2)


def test_one_marker_is_not_enough(bent_rig: VirtualRig) -> None:
    frame = _filmed(bent_rig, RigPose(0.35, 0, 0, 0, 0, 0))
    whole = find_sheet(frame, bent_rig.layouts, BENT)
    assert whole is not None
    for marker in whole.layout.markers[:3]:
        x, y = whole.to_pixels(marker.rect.corners_mm).mean(axis=0).astype(int)
        frame[y - 50 : y + 50, x - 50 : x + 50] = 60
    assert find_sheet(frame, bent_rig.layouts, BENT) is None


def test_a_tilt_that_cannot_be_told_is_unknown(bent_rig: VirtualRig) -> None:
    """Small and far away both branches explain the corners: rather no angle than the wrong one."""

    def yaws(distance_m: float) -> list[tuple[float, float | None]]:
        """The true and the measured yaw of six frames."""
        pairs = []
        for number in range(6):
            pose = RigPose(distance_m, 0, 0, 12.0 * (-1) ** number, 6.0, 0)
            frame = bent_rig.render(0, pose, np.full((960, 1280, 3), 0.2), np.random.default_rng(number))
            found = find_sheet(frame, bent_rig.layouts, BENT)
            assert found is not None and found.distance_m == pytest.approx(distance_m, rel=0.05)
            pairs.append((pose.yaw_deg, found.yaw_deg))
        return pairs

    assert all(found == pytest.approx(true, abs=10) for true, found in yaws(0.85))
    assert all(found is None for _, found in yaws(1.05))


def test_away_from_the_optical_axis_both_solutions_have_one_tilt_against_the_line_of_sight(
    bent_rig: VirtualRig,
) -> None:
    """Against the optical axis their tilts are 13 and 64 degrees, of which neither was known to be the sheet's."""
    pose = RigPose(1.05, -0.4, 0.3, 12, -6, 0)
    found = find_sheet(_filmed(bent_rig, pose), bent_rig.layouts, BENT)
    sight, normal = np.array([pose.x_m, pose.y_m, pose.distance_m]), rotation_matrix(12, -6, 0)[:, 2]
    assert found is not None and found.yaw_deg is None
    assert found.tilt_deg == pytest.approx(np.degrees(np.arccos(normal @ sight / np.linalg.norm(sight))), abs=2)
    assert found.axis_tilt_deg == pytest.approx(64, abs=3)


def test_how_much_of_the_patch_is_in_the_frame(bent_rig: VirtualRig) -> None:
    inside = find_sheet(_filmed(bent_rig, RigPose(0.35, 0, 0, 0, 0, 0)), bent_rig.layouts, BENT)
    # the right markers are outside the picture, the left ones inside
    beyond = find_sheet(_filmed(bent_rig, RigPose(0.35, 0.2, 0, 0, 0, 0)), bent_rig.layouts, BENT)
    assert inside is not None and inside.visible == pytest.approx(1.0)
    assert beyond is not None and 0.3 < beyond.visible < 0.9
