"""What any sheet tells of print, light and lens, against the virtual rig's truth."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import find_sheet
from calibration.colour.colour_space import delta_e00, linear_to_srgb, srgb_to_linear
from calibration.colour.illumination import SmoothLight, mixing
from calibration.colour.printing_condition import PrintingCondition
from calibration.colour.sheet_colour import observe
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts, rasterise
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch import Patch
from printouts import print_on_sign, print_sheets

FACING = RigPose(0.3, 0.0, 0.0, 4.0, -3.0, 2.0)


@pytest.fixture
def rig_with(sheet_pdf: Path, tmp_path: Path):
    """A rig with another truth, its backgrounds, and what it sees of one page."""
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((480, 640, 3), 120, np.uint8))

    def look(kind: str, truth: RigTruth, pose: RigPose = FACING, lens: Intrinsics | None = None):
        rig = VirtualRig(sheet_pdf, [(wall, None)], truth=truth, lens=lens)
        page = next(i for i, layout in enumerate(rig.layouts) if layout.kind == kind)
        frame = rig.render(page, pose, rig.background(wall), np.random.default_rng(0))
        found = find_sheet(frame, rig.layouts, rig.intrinsics)
        assert found is not None and found.layout.kind == kind
        return frame, found, rig.layouts[page]

    return look


@pytest.mark.parametrize("blur_px", [0.6, 1.0, 1.5, 2.0])
def test_blur_is_measured_on_the_markers(blur_px: float, rig_with) -> None:
    truth = replace(RigTruth.draw(1), blur_px=blur_px)
    frame, pose, _ = rig_with("grey", truth)
    shot = observe(frame, pose)
    assert shot is not None and shot.blur_px == pytest.approx(blur_px, rel=0.08)
    assert shot.white_range[0] < shot.white_range[1]  # the lens darkens the corners


def test_colours_and_light_are_read_off_a_control_sheet(rig_with) -> None:
    truth = replace(RigTruth.draw(2), vignette=0.0)
    frame, pose, layout = rig_with("random", truth)
    shot = observe(frame, pose)
    assert shot is not None
    paper, expected = seen_by(truth, layout)
    assert np.median(delta_e00(shot.srgb, expected)) < 1.5
    assert shot.white / shot.white.mean() == pytest.approx(paper / paper.mean(), rel=0.03)
    total = np.hypot(truth.shot_noise, truth.read_noise / shot.white.mean() ** 0.5)  # at full scale
    assert 0.75 < shot.shot_noise / total < 1.2


def test_light_that_falls_off_is_followed_in_every_direction() -> None:
    points = np.stack(np.meshgrid(np.linspace(0, 90, 7), np.linspace(5, 60, 6)), axis=-1).reshape(-1, 2)
    x, y = points.T / 100
    light = np.column_stack([0.5 + 0.1 * x - 0.2 * y, 0.6 - 0.3 * x**2 - 0.4 * y**2, 0.4 + 0.2 * x * y - 0.1 * y**2])
    np.testing.assert_allclose(SmoothLight(points, light)(points), light, atol=1e-9)


@pytest.mark.parametrize("bleed_mm", [0.0, 2.0, 8.0])
def test_the_white_of_a_cut_out_is_read_outside_its_bleed(bleed_mm: float, tmp_path: Path) -> None:
    """With a wide bleed it was read in the ink: a grey control's white came out as dark as itself, its cells as white."""
    patch = Patch(np.random.default_rng(3).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(patch, 100, tmp_path / "cut.pdf", controls=("grey",), cut="square", bleed_mm=bleed_mm)
    (layout,) = (page for page in printed_layouts(tmp_path / "cut.pdf") if page.kind == "grey")
    raster = cv2.resize(
        rasterise(tmp_path / "cut.pdf", 150, page=1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    frame = cv2.copyMakeBorder(raster, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    frame = (0.8 * frame).round().astype(np.uint8)
    found = find_sheet(frame, [layout], Intrinsics.from_hfov(frame.shape[1], frame.shape[0], 60.0))
    assert found is not None
    shot = observe(frame, found)
    assert shot is not None and shot.white == pytest.approx(srgb_to_linear(np.full(3, 0.8)), rel=0.03)
    grey, white = srgb_to_linear(0.8 * np.array([128 / 255, 1.0]))
    assert shot.seen.mean() == pytest.approx(grey / white, rel=0.05)


def test_a_patch_on_a_sign_is_unmixed_from_the_signs_colour(tmp_path: Path) -> None:
    """It was unmixed as if white paper were around it: cells at its edge were off by four times as much as on paper."""
    patch = Patch(np.random.default_rng(3).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_on_sign(patch, "stop", 150, tmp_path / "sign.pdf", share=0.2)
    (layout,) = printed_layouts(tmp_path / "sign.pdf")
    raster = cv2.resize(rasterise(tmp_path / "sign.pdf", 150), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(srgb_to_linear(0.8 * raster / 255), (0, 0), 1.5)  # as a lens does
    frame = (255 * linear_to_srgb(blurred)).round().astype(np.uint8)
    found = find_sheet(frame, [layout], Intrinsics.from_hfov(frame.shape[1], frame.shape[0], 60.0))
    assert found is not None
    shot = observe(frame, found)
    assert shot is not None
    seen = linear_to_srgb(shot.seen * shot.white)
    off = delta_e00(seen, 0.8 * patch.cells.reshape(shot.seen.shape) / 255).reshape(10, 10)
    edge = np.ones((10, 10), bool)
    edge[1:-1, 1:-1] = False
    assert np.median(off[edge]) < 1.5 * np.median(off[~edge]) < 0.75


def test_the_colour_of_small_cells_is_freed_from_their_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JPEG keeps chroma at half the resolution: read as they come, cells of 4 pixels have lost half of theirs."""
    cells = np.random.default_rng(3).integers(0, 256, (46, 46, 3), dtype=np.uint8)
    sheet, wall = tmp_path / "fine.pdf", tmp_path / "wall.png"
    print_sheets(Patch(cells), 100, sheet, controls=("grey", "random"))
    cv2.imwrite(str(wall), np.full((480, 640, 3), 120, np.uint8))
    truth = replace(RigTruth.draw(2, "coated"), blur_px=0.5)
    rig = VirtualRig(sheet, [(wall, None)], truth=truth)
    page = next(i for i, layout in enumerate(rig.layouts) if layout.kind == "random")
    frame = rig.render(page, FACING, rig.background(wall), np.random.default_rng(0))
    pose = find_sheet(frame, rig.layouts, rig.intrinsics)
    assert pose is not None and pose.px_per_cell < 4.5
    shot = observe(frame, pose)
    monkeypatch.setattr("calibration.colour.sheet_colour._SMEARED_PX", 0.0)
    blind = observe(frame, pose)
    assert shot is not None and blind is not None
    _, expected = seen_by(truth, rig.layouts[page])

    def colourfulness(srgb: np.ndarray) -> float:
        spread, wanted = (values - values.mean(axis=2, keepdims=True) for values in (srgb, expected))
        return float(np.polyfit(wanted.ravel(), spread.ravel(), 1)[0])

    assert colourfulness(blind.srgb) < 0.8 and colourfulness(shot.srgb) == pytest.approx(1, abs=0.07)
    assert np.median(delta_e00(shot.srgb, expected)) < 0.6 * np.median(delta_e00(blind.srgb, expected))


def test_a_blurred_sheet_is_read_in_its_own_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The damping lifted the blacks of cells of 5 pixels, which the replay then took for the printer's."""
    cells = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    sheet, wall = tmp_path / "fine.pdf", tmp_path / "wall.png"
    print_sheets(Patch(cells), 100, sheet, controls=("grey", "random"))
    cv2.imwrite(str(wall), np.full((480, 640, 3), 120, np.uint8))
    table = 0.01 + 0.92 * PrintingCondition.identity().table ** 1.2  # dots grow, and the darkest ink reflects a little
    faithful = {"printing": PrintingCondition("faithful", "relative", table), "sensor": np.eye(3), "vignette": 0.0}
    truth = replace(RigTruth.draw(2), blur_px=1.8, **faithful)
    rig = VirtualRig(sheet, [(wall, None)], truth=truth)
    page = next(i for i, layout in enumerate(rig.layouts) if layout.kind == "random")
    frame = rig.render(page, FACING, rig.background(wall), np.random.default_rng(0))
    pose = find_sheet(frame, rig.layouts, rig.intrinsics)
    assert pose is not None
    shot = observe(frame, pose)
    monkeypatch.setattr("calibration.colour.sheet_colour._REFINEMENTS", 0)
    damped = observe(frame, pose)
    assert shot is not None and damped is not None
    _, expected = seen_by(truth, rig.layouts[page])
    dark = srgb_to_linear(expected) < 0.05
    assert (damped.srgb - expected)[dark].mean() > 0.018 and abs((shot.srgb - expected)[dark].mean()) < 0.01


def seen_by(truth: RigTruth, layout: SheetLayout) -> tuple[np.ndarray, np.ndarray]:
    """The paper's colour (3,) and the cells' beside it (rows, columns, 3), sRGB, as print and camera make them."""
    assert layout.cells is not None
    printed = truth.printing.reflectance(layout.cells / 255) @ truth.sensor.T
    paper = truth.printing.white @ truth.sensor.T
    return paper, linear_to_srgb(np.clip(printed / paper, 0, 1))


def test_what_cannot_be_measured_is_not(rig_with) -> None:
    frame, pose, _ = rig_with("grey", RigTruth.draw(1))
    assert observe(frame, pose) is not None
    assert observe(frame, replace(pose, px_per_cell=4.0)) is None  # so far away that the border is a pixel or two
    assert observe(frame, replace(pose, visible=0.8)) is None  # partly outside of the frame
    assert observe(np.full_like(frame, 255), pose) is None  # clipped
    warm = np.clip(frame * np.array([1.5, 0.9, 0.7]), 0, 255).astype(np.uint8)
    assert observe(warm, pose) is None  # clipped in red alone
    assert observe(np.clip(frame * np.array([0.8, 0.9, 0.7]), 0, 255).astype(np.uint8), pose) is not None
    striped = frame.copy()
    striped[:, ::7] = 0
    assert observe(striped, pose) is None  # something lies on the border


def test_the_mixing_of_cells_is_a_blurred_row_of_them() -> None:
    cells = np.random.default_rng(0).random(12)
    fine = cv2.GaussianBlur(np.pad(cells.repeat(100), 400, mode="edge")[None], (0, 0), 40.0)[0, 400:-400]
    at = np.arange(2.05, 10, 0.5)
    seen = mixing(12, at, 0.4) @ cells
    inner = (at > 2) & (at < 10)  # beyond, the rest of the row is missing
    assert seen[inner] == pytest.approx(fine[(at * 100).astype(int)][inner], abs=0.01)
    assert mixing(12, at, 0.4).sum(axis=1) == pytest.approx(1, abs=1e-5)
