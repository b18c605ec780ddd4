"""Moving cameras before rendered sheets: the poses of a motion, and that what is rendered is what was planned."""

from dataclasses import astuple, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import find_sheet, rotation_matrix
from calibration.common.errors import InputError
from calibration.sheet.pdf_reader import printed_layouts
from captures.sources.held_sheet import RigPose, framed_background
from captures.sources.rendered.backdrop import turned_backdrop
from captures.sources.rendered.camera import ClipCamera
from captures.sources.rendered.camera.exposure import begun
from captures.sources.rendered.mitsuba_scene import SheetScene
from captures.sources.rendered.motion import Approach, ClipMotion, Hold, Pan, WalkPast
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Light, Scene
from captures.sources.rendered.shots import Shot

HELD = RigPose(0.4, 0.02, -0.01, 12.0, -6.0, 4.0)
LENS = Intrinsics.from_hfov(320, 240, 60)
MOTIONS = [Approach(), Pan(), WalkPast(), Hold()]


def drawn(motion: ClipMotion, frames: int = 30, seed: int = 0) -> list[RigPose]:
    return motion.poses(np.random.default_rng(seed), HELD, frames)


def test_an_approach_comes_closer_at_constant_speed() -> None:
    motion = Approach(from_m=4, to_m=0.5, speed_m_s=1.4)
    distances = np.array([pose.distance_m for pose in drawn(motion)])
    np.testing.assert_allclose(distances, np.linspace(4, 0.5, 30), atol=0.1)  # the hand shakes
    assert (np.diff(distances) < 0).all() and motion.seconds == pytest.approx(2.5)
    assert motion.fps(30) == pytest.approx(29 / 2.5)
    last = drawn(motion)[-1]  # within the picture
    assert abs(LENS.fx * last.x_m / last.distance_m) < 60 and abs(LENS.fy * last.y_m / last.distance_m) < 60


def test_a_walk_swings_the_camera_up_and_down_twice_as_often_as_sideways() -> None:
    long = Approach(from_m=121, to_m=1, speed_m_s=1.2)
    across, down, ahead = long._walked(np.random.default_rng(1), 2000).T
    for swing, rate_hz, metres in ((across, 0.95, 0.025), (down, 1.9, 0.02)):
        spectrum = np.abs(np.fft.rfft(swing))
        assert np.fft.rfftfreq(2000, 1 / long.fps(2000))[spectrum.argmax()] == pytest.approx(rate_hz, abs=0.02)
        assert np.abs(swing).max() == pytest.approx(metres, rel=0.01)
    assert not ahead.any()


def test_a_pan_moves_the_sheet_across_the_picture_and_turns_it() -> None:
    poses = drawn(Pan(from_deg=-35, to_deg=35))
    across = np.degrees([np.arctan2(pose.x_m, pose.distance_m) for pose in poses])
    assert across[0] > 30 and across[-1] < -30 and abs(np.mean(across)) < 6
    assert np.polyfit(np.arange(30), across, 1)[0] == pytest.approx(-70 / 29, rel=0.05)
    assert poses[0].yaw_deg - poses[-1].yaw_deg == pytest.approx(70, abs=5)
    np.testing.assert_allclose([pose.range_m for pose in poses], HELD.range_m, atol=0.01)


def test_a_walk_past_keeps_the_sheet_in_the_middle_and_sees_it_from_the_side() -> None:
    poses = drawn(WalkPast(from_m=-1.2, to_m=1.2, distance_m=1.0))
    assert max(abs(np.degrees(np.arctan2(pose.x_m, pose.distance_m))) for pose in poses) < 6
    ranges = np.array([pose.range_m for pose in poses])
    assert ranges[0] == pytest.approx(np.hypot(1, 1.2), abs=0.06) and 0.9 < ranges.min() < 1.1
    assert abs(ranges.argmin() - 14.5) < 5
    assert poses[-1].yaw_deg - poses[0].yaw_deg == pytest.approx(2 * np.degrees(np.arctan(1.2)), abs=6)


@pytest.mark.parametrize("motion", MOTIONS, ids=lambda motion: motion.kind)
def test_a_seed_gives_the_same_motion_and_one_frame_is_enough(motion: ClipMotion) -> None:
    assert drawn(motion) == drawn(motion) != drawn(motion, seed=1)
    assert len(drawn(motion, 1)) == 1 and motion.fps(1) > 0
    assert all(pose.distance_m > 0 for pose in drawn(motion))


@pytest.mark.parametrize("motion", MOTIONS[:3], ids=lambda motion: motion.kind)
def test_a_hand_shakes_alike_however_many_frames_it_is_filmed_in(motion: ClipMotion) -> None:
    few, many = drawn(motion, 15), drawn(motion, 29)
    for a, b in zip(few, many[::2], strict=True):
        np.testing.assert_allclose(astuple(a), astuple(b), atol=1e-9)


def test_a_hand_shakes_by_as_much_as_said_and_no_faster_than_hands_do() -> None:
    long = Pan(from_deg=0, to_deg=0.001, speed_deg_s=0.01)
    turns = np.array([[p.yaw_deg for p in drawn(long, 3000, seed)] for seed in range(20)])
    assert np.sqrt(np.mean((turns - HELD.yaw_deg) ** 2)) == pytest.approx(1.0, rel=0.25)
    rates = np.gradient(turns, long.seconds / 2999, axis=1)
    assert 3 < np.sqrt(np.mean(rates**2)) < 12  # degrees a second


def test_the_mask_is_what_is_seen_while_the_frame_is_exposed(shared_sheet_pdf: Path, wall: Path) -> None:
    """Rows that are exposed later, of a camera that turns to the right, show the patch farther to the left."""
    shaking = scene(motion=Pan(from_deg=-10, to_deg=10, speed_deg_s=40), paper={"roughness": 0.9})
    rolling = shaking.changed(
        camera={"aperture_mm": 0, "effects": {"rolling_shutter": {"readout_s": 0.25, "bands": 12}}}
    )
    masks = []
    for filmed in (shaking, rolling):
        rig = RenderedRig(
            shared_sheet_pdf, filmed, [(wall, None)], clips=1, frames_per_clip=3, frame_wh=(160, 120), samples=4
        )
        frame = next(islice(rig, 1, None))
        assert frame.truth is not None
        masks.append(frame.truth.patch)
        stage = rig._stage(0, HELD, np.random.default_rng(0))
        poses = rig.scene.motion.poses(np.random.default_rng(0), HELD, 3)
        exposure = rig._camera(0, rig._development(np.random.default_rng(0))).next_exposure()
        seen = stage.shoot(poses[1], 0, before=poses[0], exposure=exposure).coverage > 0.5
        mask = stage.patch_mask(poses[1], before=poses[0], exposure=exposure)
        assert mask.any() and (mask & ~seen).sum() < 0.01 * mask.sum()  # the sheet is all around the patch
    assert (masks[0] != masks[1]).sum() > 0.1 * masks[0].sum()


def test_a_camera_that_adapts_begins_with_what_it_sees_where_the_pan_begins(
    shared_sheet_pdf: Path, wall: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with what lies straight ahead, where the photograph is."""
    looked: list[NDArray[np.floating]] = []
    monkeypatch.setattr(ClipCamera, "look", lambda self, recorded: looked.append(recorded))
    away = scene(motion=Pan(from_deg=-35, to_deg=35, frames=5)).changed(
        camera={"aperture_mm": 0, "effects": {"auto_exposure": {}}}
    )
    rig = Unfilmed(shared_sheet_pdf, away, [(wall, None)], clips=1, frames_per_clip=5, frame_wh=(160, 120))
    frame = next(iter(rig))
    behind = rig._recorded(framed_background(wall, rig.intrinsics))
    assert frame.truth is not None
    turned = HELD.camera_at(HELD.from_camera(np.zeros(3), rotation_matrix(-35, 0, 0)))[1]
    sideways = turned_backdrop(behind, rig.intrinsics, turned)
    straight, beside = (np.abs(cv2.blur(looked[0] - other, (9, 9))).mean() for other in (behind, sideways))
    assert beside < 0.5 * straight


def test_another_camera_sees_the_sheet_where_it_is() -> None:
    at_m, turned = np.array([0.3, -0.1, 0.2]), rotation_matrix(-20, 8, 5)
    seen = HELD.from_camera(at_m, turned)
    point = np.array([[30.0, -50.0, 0.0]])
    np.testing.assert_allclose(seen.placed(point) @ turned.T + 1000 * at_m, HELD.placed(point), atol=1e-9)
    back_mm, back = HELD.camera_at(seen)
    np.testing.assert_allclose(back_mm, 1000 * at_m, atol=1e-9)
    np.testing.assert_allclose(back, turned, atol=1e-12)


def photograph(seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).random((240, 320, 3), np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 6), dtype=np.float32)


def test_a_turned_camera_sees_another_part_of_what_is_behind() -> None:
    picture = photograph()
    np.testing.assert_allclose(turned_backdrop(picture, LENS, np.eye(3)), picture, atol=1e-3)
    half = np.degrees(np.arctan(160 / LENS.fx))
    mirrored = turned_backdrop(picture, LENS, rotation_matrix(2 * half, 0, 0))  # by a whole field of view
    np.testing.assert_allclose(mirrored, picture[:, ::-1], atol=1e-3)
    little = turned_backdrop(picture, LENS, rotation_matrix(5, 0, 0))
    shift = round(LENS.fx * np.tan(np.deg2rad(5)))  # near the middle
    np.testing.assert_allclose(little[110:130, 140:160], picture[110:130, 140 + shift : 160 + shift], atol=0.02)
    wide = turned_backdrop(
        picture, LENS, rotation_matrix(half, 0, 0)
    )  # no seam where the picture meets its mirror image
    assert np.abs(np.diff(wide, axis=1)).max() < 1.5 * np.abs(np.diff(picture, axis=1)).max()


def scene(**more: object) -> Scene:
    light = Light(kind="panel", at_m=(-1.2, -1, -2), size_m=(0.5, 0.5))
    return Scene(lights=[light, Light(kind="ambient", power=0.4)], camera={"aperture_mm": 0}, **more)


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), (255 * photograph()).astype(np.uint8))
    return path


def test_the_camera_films_what_the_motion_says(shared_sheet_pdf: Path, wall: Path) -> None:
    near = scene(motion=Approach(from_m=0.4, to_m=0.25))
    rig = RenderedRig(
        shared_sheet_pdf, near, [(wall, None)], clips=1, frames_per_clip=2, frame_wh=(320, 240), samples=16
    )
    for frame in islice(rig, 2):
        found = find_sheet(frame.image, rig.layouts, rig.intrinsics)
        assert found is not None and frame.truth is not None and found.layout.kind == frame.condition == "patch"
        assert found.distance_m == pytest.approx(frame.truth.pose.range_m, rel=0.02)
        drawn_px = np.zeros(frame.truth.patch.shape, np.uint8)
        cv2.fillPoly(drawn_px, [found.patch_corners_px.round().astype(np.int32)], 1)
        assert (drawn_px & frame.truth.patch).sum() > 0.95 * (drawn_px | frame.truth.patch).sum()


class Unfilmed(RenderedRig):
    """A rig that renders nothing."""

    def _stage(self, *arguments: Any) -> SheetScene:
        stage = super()._stage(*arguments)
        wide, high = self.intrinsics.width, self.intrinsics.height
        stage.shoot = lambda *_, **__: Shot(np.zeros((high, wide, 3), np.float32), np.zeros((high, wide), np.float32))  # type: ignore[method-assign]
        return stage


def test_a_clip_begins_in_motion_unless_it_is_a_single_frame() -> None:
    first, second = replace(HELD, x_m=0.02), replace(HELD, x_m=0.05)
    assert begun([first, second])[0].x_m == pytest.approx(-0.01) and begun([first, second])[1:] == [first, second]
    assert begun([first]) == [first, first]


def test_all_sheets_of_a_clip_are_filmed_alike(shared_sheet_pdf: Path, wall: Path) -> None:
    moving = scene(motion=WalkPast(frames=2, speed_m_s=1.2))
    rig = Unfilmed(shared_sheet_pdf, moving, [(wall, None)], clips=2)
    frames = list(rig)
    poses = [frame.truth.pose for frame in frames if frame.truth]
    assert len(frames) == len(rig) == len(poses) == 2 * 3 * 2 and rig.fps == pytest.approx(1 / 2)
    assert poses[:2] == poses[2:4] == poses[4:6] != poses[6:8] and poses[0] != poses[1]
    assert [frame.time_s for frame in frames[:3]] == pytest.approx([0, 2, 4])


@pytest.mark.parametrize("number", [0, 2])
def test_motion_blurs_the_photograph_behind_too(number: int, shared_sheet_pdf: Path, wall: Path) -> None:
    """A camera that turns by a degree while the shutter is open smears edges sideways; rows exposed later are shifted."""

    def filmed(**effects: object) -> NDArray[np.float64]:
        pan = Pan(from_deg=-10, to_deg=10, speed_deg_s=20)
        moving = scene(motion=pan)
        moving = moving.changed(camera={"aperture_mm": 0, "effects": effects})
        rig = Unfilmed(shared_sheet_pdf, moving, [(wall, None)], clips=1, frames_per_clip=3, frame_wh=(320, 240))
        *_, shown = islice(rig, number + 1)
        return np.asarray(cv2.GaussianBlur(shown.image.mean(axis=2), (0, 0), 3), dtype=np.float64)  # without noise

    still, blurred = filmed(), filmed(motion_blur={"exposure_s": 0.5, "samples": 16})
    across, down = (
        np.abs(np.diff(blurred, axis=axis)).mean() / np.abs(np.diff(still, axis=axis)).mean() for axis in (1, 0)
    )
    assert across < 0.7 * down
    rolled = filmed(rolling_shutter={"readout_s": 0.5, "bands": 8})
    middle, top = (np.abs(rolled[rows] - still[rows]).mean() for rows in (slice(105, 135), slice(0, 30)))
    assert middle < 0.5 * top


def test_a_moving_cameras_lights_and_room_stay(shared_sheet_pdf: Path) -> None:
    """A camera that comes closer records the same light from a matt sheet; the room's corner crosses its picture."""
    turning = Pan(from_deg=-20, to_deg=20, speed_deg_s=40)
    rig = RenderedRig(
        shared_sheet_pdf,
        scene(motion=turning, background="room", paper={"roughness": 0.9}),
        [],
        clips=1,
        frames_per_clip=3,
        frame_wh=(160, 120),
        samples=16,
        seed=2,
    )
    shown = [frame for frame in rig if frame.condition == "grey"]
    greys = []
    for frame in shown:
        assert frame.truth is not None
        inside = cv2.erode(frame.truth.patch.astype(np.uint8), np.ones((5, 5))).astype(bool)
        assert inside.sum() > 50
        greys.append(np.median(frame.image[inside]))
    assert np.ptp(greys) < 0.08 * np.mean(greys), greys
    assert all(np.abs(a.image.astype(int) - b.image).mean() > 3 for a, b in pairwise(shown))


def test_rows_that_are_exposed_apart_show_what_the_moved_camera_sees(shared_sheet_pdf: Path, wall: Path) -> None:
    rig = RenderedRig(
        shared_sheet_pdf, scene(motion=Pan(from_deg=-20, to_deg=0)), [(wall, None)], frame_wh=(80, 60), samples=1
    )
    first, then = rig.scene.motion.poses(np.random.default_rng(3), HELD, 2)
    stage = rig._stage(0, HELD, np.random.default_rng(0))
    bands = [(0, 25), (25, 60)]
    for rows in bands:
        stage._render(first, 0, rows=rows)
    moved = np.concatenate([stage._render(then, 0, rows=rows).coverage for rows in bands])
    whole = stage._render(then, 0).coverage
    assert whole.mean() > 0.1 and np.abs(moved - whole).mean() < 0.02
    assert np.abs(stage._render(first, 0).coverage - whole).mean() > 0.1


@pytest.mark.parametrize("occluder", [None, {"covers": [0.1, 0.1]}])
def test_a_sheet_beyond_the_picture_is_filmed_all_the_same(
    shared_sheet_pdf: Path, wall: Path, occluder: dict[str, Any] | None
) -> None:
    away = scene(motion=Pan(from_deg=75, to_deg=80), occluder=occluder)
    rig = RenderedRig(
        shared_sheet_pdf, away, [(wall, None)], clips=1, frames_per_clip=1, frame_wh=(160, 120), samples=1
    )
    frame = next(iter(rig))
    assert frame.truth is not None and not frame.truth.patch.any() and frame.condition == "patch"
    assert find_sheet(frame.image, printed_layouts(shared_sheet_pdf), rig.intrinsics) is None


def test_shipped_scenes_move_as_their_names_say() -> None:
    for name in ("approach", "pan", "walk_past"):
        motion = Scene.read(name).motion
        assert motion.kind == name and motion.moves_camera and motion.frames >= 20
        assert 5 < motion.fps(motion.frames) < 20
    assert Scene.read("stand").motion == Hold() and Hold().fps(3) == 10
    turning = scene(motion=Pan(to_deg=20))
    assert Scene.model_validate(turning.to_dict()).motion == turning.motion


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "fly"', "motion"),
        ('kind = "approach"\nto_m = 0', r"motion\.approach\.to_m"),
        ('kind = "pan"\nto_deg = 120', r"motion\.pan\.to_deg"),
        ('kind = "walk_past"\nframes = 0', r"motion\.walk_past\.frames"),
    ],
)
def test_a_motion_that_is_not_one_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(f'version = 1\n[motion]\n{text}\n[[lights]]\nkind = "ambient"')
    with pytest.raises(InputError, match=words) as refused:
        Scene.read(str(path))
    assert "\n" not in str(refused.value)
