"""Pose from markers, against a projection made here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.camera import Intrinsics
from calibration.pose import angles_deg, find_sheet, rotation_matrix
from captures.virtual import RigPose, VirtualRig


@settings(deadline=None)
@given(yaw=st.floats(-80, 80), pitch=st.floats(-80, 80), roll=st.floats(-179, 179))
def test_angles_invert_the_rotation(yaw: float, pitch: float, roll: float) -> None:
    rotation = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(angles_deg(rotation), (yaw, pitch, roll), atol=1e-6)


@pytest.fixture
def rig(sheet_pdf, tmp_path) -> VirtualRig:
    import cv2

    background = tmp_path / "wall.png"
    cv2.imwrite(str(background), np.full((480, 640, 3), 90, np.uint8))
    return VirtualRig(sheet_pdf, [(background, None)], seed=3)


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
    assert found.patch_px == pytest.approx(side_px**2, rel=0.02)
    assert found.px_per_cell == pytest.approx(side_px / 10, rel=0.01)


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
