"""The virtual rig: reproducible, honest about poses, with physics of its own."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import CommandResult

from calibration.camera.sheet_pose import find_sheet
from calibration.colour.printing_condition import PAPERS, held_back_conditions
from calibration.common.errors import InputError
from calibration.sheet.pdf_reader import store_measured
from captures.inference.sheet_labels import LabelWatch
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(60, 120, (300, 500, 3), dtype=np.uint8))
    return path


def test_frames_say_what_they_show(sheet_pdf: Path, wall: Path) -> None:
    rig = VirtualRig(sheet_pdf, [(wall, "wall")], clips=2, frames_per_clip=2)
    frames = list(rig)
    assert len(frames) == len(rig) == 12
    assert [(f.clip, f.condition) for f in frames[::2]] == [(c, k) for c in (0, 1) for k in ("patch", "grey", "random")]
    assert all(f.label == "wall" and f.image.shape == (480, 640, 3) and f.image.dtype == np.uint8 for f in frames)
    assert frames[-1].time_s == pytest.approx(1.1)


def test_the_same_seed_films_the_same_frames_and_another_does_not(sheet_pdf: Path, wall: Path) -> None:
    def first(seed: int) -> np.ndarray:
        return next(iter(VirtualRig(sheet_pdf, [(wall, None)], seed=seed))).image

    np.testing.assert_array_equal(first(1), first(1))
    assert np.abs(first(1).astype(int) - first(2)).mean() > 1


def test_patch_and_controls_are_held_at_the_same_poses(sheet_pdf: Path, wall: Path) -> None:
    rig = VirtualRig(sheet_pdf, [(wall, None)], clips=3, frames_per_clip=1)
    poses: dict[int, list] = {}
    for frame in rig:
        found = find_sheet(frame.image, rig.layouts, rig.intrinsics)
        assert found is not None and found.layout.kind == frame.condition
        poses.setdefault(frame.clip, []).append(found.patch_corners_px)
    for corners in poses.values():
        np.testing.assert_allclose(corners[1], corners[0], atol=1.0)
        np.testing.assert_allclose(corners[2], corners[0], atol=1.0)


def test_the_sheet_is_in_the_frame_and_large_enough_to_read(sheet_pdf: Path, wall: Path) -> None:
    rig = VirtualRig(sheet_pdf, [(wall, None)], clips=12, frames_per_clip=1, seed=4)
    found = [find_sheet(frame.image, rig.layouts, rig.intrinsics) for frame in rig]
    assert np.mean([pose is not None for pose in found]) > 0.95


def test_printing_and_filming_change_the_colours_but_keep_their_order(sheet_pdf: Path, wall: Path, patch) -> None:
    """Through ink and sensor the 100 cells still correlate with what was sent, and are not what was sent."""
    rig = VirtualRig(sheet_pdf, [(wall, None)], seed=1)
    frame = rig.render(0, RigPose(0.3, 0, 0, 0, 0, 0), np.full((480, 640, 3), 0.2), np.random.default_rng(0))
    pose = find_sheet(frame, rig.layouts, rig.intrinsics)
    assert pose is not None
    square = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float32)
    flat = cv2.warpPerspective(frame, cv2.getPerspectiveTransform(pose.patch_corners_px, square), (100, 100))
    seen = flat.reshape(10, 10, 10, 10, 3)[:, 3:7, :, 3:7].mean(axis=(1, 3))
    sent = patch.cells.astype(float)
    assert np.abs(seen - sent).mean() > 4
    for channel in range(3):
        assert np.corrcoef(seen[..., channel].ravel(), sent[..., channel].ravel())[0, 1] > 0.9


def test_printers_and_cameras_differ_by_seed_and_are_plausible() -> None:
    truths = [RigTruth.draw(seed) for seed in range(30)]
    assert len({t.blur_px for t in truths}) == 30
    assert {t.printing for t in truths} == set(held_back_conditions())  # and none that training knows
    assert {PAPERS[RigTruth.draw(seed, "uncoated").printing.name] for seed in range(9)} == {"uncoated"}
    with pytest.raises(InputError, match="unknown kind of paper 'plain'"):
        RigTruth.draw(0, "plain")


def test_guards(sheet_pdf: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one background"):
        VirtualRig(sheet_pdf, [])
    (tmp_path / "broken.jpg").write_bytes(b"no")
    with pytest.raises(InputError, match=r"broken image .*broken\.jpg .*remove or replace it"):
        list(VirtualRig(sheet_pdf, [(tmp_path / "broken.jpg", None)]))


def test_a_poster_is_held_farther_away_and_found_whole(patch: Patch, wall: Path, tmp_path: Path) -> None:
    poster = tmp_path / "poster.pdf"
    print_sheets(patch, 800, poster, paper="a3", controls=("grey",))
    rig = VirtualRig(poster, [(wall, None)], clips=3, frames_per_clip=1)
    found = [find_sheet(frame.image, rig.layouts, rig.intrinsics) for frame in rig]
    assert [pose.layout.kind for pose in found if pose] == ["patch", "grey"] * 3
    assert all(pose and pose.distance_m > 1.5 for pose in found)


@pytest.mark.parametrize(("cut", "corner_is_patch"), [("square", True), ("circle", False)])
def test_a_cut_out_is_seen_without_its_paper(
    cut: str, corner_is_patch: bool, patch: Patch, wall: Path, tmp_path: Path
) -> None:
    pdf = tmp_path / "cut.pdf"
    print_sheets(patch, 100, pdf, cut=cut)
    rig = VirtualRig(pdf, [(wall, None)])
    behind = np.zeros((480, 640, 3))
    frame = rig.render(0, RigPose(0.3, 0, 0, 0, 0, 0), behind, np.random.default_rng(0))
    half = 0.05 / 0.3 * rig.intrinsics.fx
    x, y = int(320 - half + 6), int(240 - half + 6)
    assert (frame[y, x].max() > 40) == (corner_is_patch and patch.cells[0, 0].max() > 60)
    assert frame[240, int(320 - half - 12)].max() < 40  # no white paper around it


def test_a_sheet_of_another_patch_or_size_is_told_by_its_code(
    sheet_pdf: Path, patch: Patch, wall: Path, tmp_path: Path
) -> None:
    """The markers are the same for every patch and size: only the code knows, where the camera resolves it."""
    stranger = Patch(np.full((10, 10, 3), 90, np.uint8))
    print_sheets(stranger, 100, tmp_path / "other.pdf")
    print_sheets(patch, 80, tmp_path / "small.pdf")
    store_measured(sheet_pdf, (97, 97))  # a printer that shrinks does not make it another sheet
    own = VirtualRig(sheet_pdf, [(wall, None)], frame_wh=(1920, 1440))
    watch = LabelWatch(own.layouts)
    for pdf, expected in (
        (sheet_pdf, ""),
        (tmp_path / "other.pdf", f"this sheet shows patch {stranger.id}, which is not part of this session"),
        (tmp_path / "small.pdf", "this sheet was printed at 80 x 80 mm, not at 100 x 100 mm as in the PDF"),
    ):
        rig = VirtualRig(pdf, [(wall, None)], frame_wh=(1920, 1440))
        frame = rig.render(0, RigPose(0.3, 0, 0, 10, 5, 3), np.full((1440, 1920, 3), 0.2), np.random.default_rng(0))
        watch.foreign(frame, None)  # the sheet before was taken away
        assert watch.foreign(frame, find_sheet(frame, own.layouts, own.intrinsics)) == expected


def test_measured_rulers_set_the_distance_right(patch: Patch, wall: Path, tmp_path: Path) -> None:
    """A printer that shrinks by 2 %: the rig prints as small as was measured, and the pose knows."""
    pdf = tmp_path / "small.pdf"
    print_sheets(patch, 100, pdf)
    planned = VirtualRig(pdf, [(wall, None)], frame_wh=(1280, 960))
    store_measured(pdf, (98, 98))
    rig = VirtualRig(pdf, [(wall, None)], frame_wh=(1280, 960))
    frame = rig.render(0, RigPose(0.35, 0, 0, 0, 10, 0), np.full((960, 1280, 3), 0.2), np.random.default_rng(0))
    true, naive = (find_sheet(frame, layouts, rig.intrinsics) for layouts in (rig.layouts, planned.layouts))
    assert true is not None and naive is not None
    assert true.distance_m == pytest.approx(0.35, rel=0.005)
    assert naive.distance_m == pytest.approx(0.35 / 0.98, rel=0.005)


def test_a_rig_without_photographs_says_where_they_come_from(
    command: Callable[..., CommandResult], patch: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    patch.save(tmp_path / "run")
    monkeypatch.setattr("captures.workflows.session_start.held_out_files", lambda *_: [])
    options = ("--source", "virtual", "--classifier", "efficientnet_lite0", "--headless", "--no-cam")
    command("live", tmp_path / "run", *options, "--out", tmp_path / "s").assert_refused("and it held out none")
    assert not (tmp_path / "s").exists()
