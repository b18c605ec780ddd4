"""The rendered rig: what Mitsuba renders is what was planned, under real lights' spectra, before real sensitivities."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import drjit as dr
import numpy as np
import pytest
from numpy.typing import NDArray
from support import vivid_patch

from calibration.camera.intrinsics import Intrinsics
from calibration.camera.sheet_pose import find_sheet, rotation_matrix
from calibration.colour.colour_space import delta_e00, linear_to_srgb
from calibration.common.errors import InputError, UnavailableError
from calibration.sheet.pdf_reader import printed_layouts
from captures.sources.held_sheet import RigPose
from captures.sources.rendered import scene_names
from captures.sources.rendered.camera import ClipCamera, Development
from captures.sources.rendered.camera.effects.mosaic import Mosaic
from captures.sources.rendered.engine import engine, newest_llvm
from captures.sources.rendered.mitsuba_scene import SheetScene
from captures.sources.rendered.rendered_rig import RenderedRig
from captures.sources.rendered.scene_file import Light, Paper, Scene, Support
from captures.sources.rendered.shapes.in_mitsuba import mesh_shape
from captures.sources.rendered.shapes.plain import ball_mesh, rectangle_mesh
from captures.sources.rendered.shapes.thumb import before_paper, thumb_mesh
from captures.sources.rendered.shots import ShotCache
from captures.sources.rendered.spectra import linear_from_recorded, recorded_from_linear, white
from captures.sources.rendered.surfaces import bent, plastic, sheet_mesh, skin_of
from printouts import print_sheets

CAMERA = "Nikon 5100 (NPL)"
SMALL = (320, 240)
TURNED = RigPose(0.33, 0.0, 0.0, 25.0, -10.0, 5.0)
STILL = RigPose(0.33, 0.0, 0.0, -10.0, -5.0, 4.0)  # no gloss from the light on the left


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    cv2.imwrite(str(path), np.full((300, 400, 3), 128, np.uint8))
    return path


def staged(
    pdf: Path,
    wall: Path,
    scene: Scene,
    *,
    page: int = 0,
    occluded: float = 0.0,
    samples: int = 36,
    denoise: bool = False,
) -> SheetScene:
    rig = RenderedRig(pdf, scene, [(wall, None)], frame_wh=SMALL)
    sheet, layout = rig._sheets[page], rig.layouts[page]
    return SheetScene(sheet, layout, scene, rig.intrinsics, STILL, samples=samples, denoise=denoise, occluded=occluded)


def projected(points: NDArray[np.floating], pose: RigPose, lens: Intrinsics) -> NDArray[np.floating]:
    across, down, depth = pose.placed(points).T
    return np.stack([lens.fx * across / depth + lens.cx, lens.fy * down / depth + lens.cy], axis=1)


def evenly_lit(spectrum: str = "D65", at_m: tuple[float, float, float] = (-3, 0, -3), **more: object) -> Scene:
    """From 45 degrees and far away, as prints are measured."""
    light = Light(kind="panel", spectrum=spectrum, at_m=at_m, size_m=(0.5, 0.5))
    return Scene(lights=[light], camera={"sensitivities": CAMERA, "aperture_mm": 0}, **more)


def test_white_paper_is_recorded_in_the_colour_of_the_light(shared_sheet_pdf: Path, wall: Path) -> None:
    """By what illuminant and sensitivities say, without Mitsuba: a warm LED gives red and blue pixels another share."""
    shares = {}
    for spectrum in ("D65", "LED-B1"):
        scene = evenly_lit(spectrum, paper={"roughness": 0.1})
        stage = staged(shared_sheet_pdf, wall, scene)
        rig = RenderedRig(shared_sheet_pdf, scene, [(wall, None)], frame_wh=SMALL)
        light, mask = stage.shoot(STILL, 0).light, margin_mask(stage, rig)
        recorded, diffuser = light[mask].mean(axis=0), white(CAMERA, spectrum)
        expected = recorded_from_linear(CAMERA, spectrum) @ rig.printing.white * diffuser / diffuser[1]
        np.testing.assert_allclose(recorded / recorded[1], expected / expected[1], rtol=0.04)
        shares[spectrum] = recorded[0] / recorded[2]
    assert shares["LED-B1"] > 2 * shares["D65"]


def test_a_sky_alone_gives_the_sheet_its_power(shared_sheet_pdf: Path, wall: Path) -> None:
    """As much light as an ambient one of that power; with a sun that shines on the sheet, and with one behind it."""
    facing = RigPose(0.33, 0.0, 0.0, 0.0, 0.0, 0.0)

    def brightness(**light: object) -> float:
        scene = Scene(lights=[light], camera={"sensitivities": CAMERA, "aperture_mm": 0}, paper={"roughness": 0.9})
        assert scene.spectrum == "D65"
        stage = staged(shared_sheet_pdf, wall, scene, page=1)
        return float(stage.shoot(facing, 0).light[stage.patch_mask(facing)][:, 1].mean())

    even = brightness(kind="ambient", power=0.8)
    for at_m in ((-0.6, -0.7, -0.9), (0.3, -0.8, 0.5)):
        assert brightness(kind="sky", power=0.8, at_m=at_m) == pytest.approx(even, rel=0.12)


def margin_mask(stage: SheetScene, rig: RenderedRig) -> np.ndarray:
    """Bare paper: a ring just outside the patch."""
    patch = stage.patch_mask(STILL).astype(np.uint8)
    return (cv2.dilate(patch, np.ones((9, 9))) - cv2.dilate(patch, np.ones((5, 5)))).astype(bool)


@pytest.mark.parametrize("spectrum", ["D65", "FL2"])
def test_the_printed_colours_come_through_the_camera(shared_sheet_pdf: Path, wall: Path, spectrum: str) -> None:
    scene = evenly_lit(spectrum, paper={"roughness": 0.1})
    rig = RenderedRig(shared_sheet_pdf, scene, [(wall, None)], frame_wh=SMALL)
    stage = staged(shared_sheet_pdf, wall, scene)
    recorded = stage.shoot(STILL, 0).light
    diffuser = white(CAMERA, spectrum)
    linear = (recorded / (diffuser / diffuser[1])) @ linear_from_recorded(CAMERA, spectrum).T
    layout = rig.layouts[0]
    assert layout.cells is not None
    rows, columns = layout.grid
    places = np.array([[(c + 0.5) / columns, (r + 0.5) / rows] for r in range(rows) for c in range(columns)])
    at_mm = np.array([layout.patch.x_mm, layout.patch.y_mm]) + places * [layout.patch.width_mm, layout.patch.height_mm]
    pixels = projected(bent(at_mm, layout, scene.support), STILL, rig.intrinsics).round().astype(int)
    seen = np.array([linear[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1)) for x, y in pixels])
    printed = rig.printing.reflectance(layout.cells.reshape(-1, 3) / 255)
    gain = np.sum(seen * printed) / np.sum(printed**2)
    assert gain == pytest.approx(np.cos(np.deg2rad(45 + 10)), rel=0.05)  # the sheet is turned away from the light
    errors = delta_e00(linear_to_srgb((seen / gain).clip(0, 1)), linear_to_srgb(printed.clip(0, 1)))
    assert np.median(errors) < 3.5, errors


@pytest.mark.parametrize("name", scene_names())
def test_every_scene_shows_its_sheet_where_it_says(name: str, shared_sheet_pdf: Path, wall: Path) -> None:
    scene = Scene.read(name).changed(motion={"kind": "hold"})  # of a moving one, the sheet, the light and the place
    rig = RenderedRig(shared_sheet_pdf, scene, [(wall, "wall")], clips=1, frames_per_clip=1, samples=16)
    frame = next(iter(rig))
    assert (frame.condition, frame.clip, frame.image.shape) == ("patch", 0, (480, 640, 3))
    assert frame.image.std() > 15
    found, truth = find_sheet(frame.image, rig.layouts, rig.intrinsics), frame.truth
    assert truth is not None and found is not None and found.layout.kind == "patch"
    bend = 1.0 if rig.scene.support.shape == "flat" else 4.0  # four markers on bent paper do not lie in a plane
    assert found.distance_m == pytest.approx(truth.pose.range_m, rel=0.005 if bend == 1 else 0.06)
    drawn = np.zeros(truth.patch.shape, np.uint8)
    cv2.fillPoly(drawn, [found.patch_corners_px.round().astype(np.int32)], 1)
    both, either = (drawn & truth.patch).sum(), (drawn | truth.patch).sum()
    assert both / either > (0.97 if bend == 1 else 0.9) - (0.2 if rig.scene.occluder else 0)


@pytest.mark.parametrize("width_mm", [30, 100, 190])
def test_a_thumb_of_any_sheet_covers_what_it_should(width_mm: int, tmp_path: Path) -> None:
    """By counting pixels of its outline and of the patch."""
    print_sheets(vivid_patch(), width_mm, tmp_path / "sheet.pdf", paper="a3")
    layout = printed_layouts(tmp_path / "sheet.pdf")[0]
    corners = (layout.patch.corners_mm - layout.patch.corners_mm.mean(axis=0)) * 800 / width_mm + 1000
    for covers in (0.02, 0.12, 0.25):
        for from_deg in (0, 45, 90, 120):
            thumb, patch = np.zeros((2000, 2000), np.uint8), np.zeros((2000, 2000), np.uint8)
            mesh = thumb_mesh(layout, covers, from_deg)
            outline = cv2.convexHull((mesh.points[:, :2] * (800 / width_mm) + 1000).astype(np.float32))
            cv2.fillConvexPoly(thumb, outline.round().astype(np.int32), 1)
            cv2.fillConvexPoly(patch, corners.round().astype(np.int32), 1)
            assert (thumb & patch).sum() / patch.sum() == pytest.approx(covers, abs=0.005)
            tip = mesh.points @ np.array([np.cos(np.deg2rad(from_deg)), np.sin(np.deg2rad(from_deg)), 0])
            assert tip.max() > width_mm  # it comes from there, from beyond the sheet


def test_a_thumb_covers_the_share_that_it_says(shared_sheet_pdf: Path, wall: Path) -> None:
    scene = evenly_lit()
    open_, covered = (staged(shared_sheet_pdf, wall, scene, occluded=share) for share in (0.0, 0.15))
    share = 1 - covered.patch_mask(STILL).sum() / open_.patch_mask(STILL).sum()
    assert share == pytest.approx(0.15, rel=0.15)  # it is nearer to the camera than the paper
    before, after = (stage.shoot(STILL, 0).light for stage in (open_, covered))
    hidden = open_.patch_mask(STILL) & ~covered.patch_mask(STILL)
    changed = np.abs(after - before).max(axis=2) > 0.08
    assert changed[hidden].mean() > 0.6 and changed[covered.patch_mask(STILL)].mean() < 0.2


def test_a_thumb_lies_before_paper_that_curls_towards_the_camera(shared_sheet_pdf: Path) -> None:
    layout, curl = printed_layouts(shared_sheet_pdf)[0], Support(shape="curl", axis_deg=0, radius_mm=-30)
    thumb, paper = thumb_mesh(layout, 0.1, 90), sheet_mesh(layout, curl)
    moved = before_paper(thumb, paper).points - thumb.points
    assert moved[0, 2] < -5 and np.ptp(moved, axis=0).max() < 1e-3
    flat = sheet_mesh(layout, Support())
    assert (before_paper(thumb, flat).points == thumb.points).all()


def test_walls_give_the_sheet_light_back(shared_sheet_pdf: Path, wall: Path) -> None:
    """Under one lamp, against the same sheet and lamp without a room."""
    lamp = Light(kind="panel", at_m=(-1.0, 0, -1.2), size_m=(0.5, 0.5))
    brightness = []
    for background in ("photograph", "room"):
        scene = Scene(lights=[lamp], camera={"aperture_mm": 0}, background=background, paper={"roughness": 0.9})
        stage = staged(shared_sheet_pdf, wall, scene, page=1)
        brightness.append(float(stage.shoot(STILL, 0).light[stage.patch_mask(STILL)].mean()))
    assert 1.03 < brightness[1] / brightness[0] < 2


@pytest.mark.parametrize(
    "support",
    [
        {"shape": "cylinder", "axis_deg": 90, "radius_mm": 22},
        {"shape": "curl", "axis_deg": 75, "radius_mm": -24},
        {"shape": "curl", "axis_deg": 20, "radius_mm": 28},
        {"shape": "ripple", "axis_deg": 100, "amplitude_mm": 25, "wavelength_mm": 50},
    ],
    ids=lambda support: f"{support['shape']} {support.get('radius_mm', '')}",
)
def test_the_truth_of_a_bent_patch_is_what_is_rendered(
    support: dict[str, Any], shared_sheet_pdf: Path, wall: Path
) -> None:
    """A red patch on black paper: parts that turn away, or that the sheet hides, are not of the patch."""
    scene = Scene(lights=[{"kind": "ambient"}], camera={"aperture_mm": 0}, paper={"roughness": 0.9}, support=support)
    rig = RenderedRig(shared_sheet_pdf, scene, [(wall, None)], frame_wh=SMALL)
    sheet, layout = np.full_like(rig._sheets[0], 0.001), rig.layouts[0]
    sheet[..., 3] = 1
    per_mm = sheet.shape[1] / layout.cut.width_mm
    left, top = layout.patch.x_mm - layout.cut.x_mm, layout.patch.y_mm - layout.cut.y_mm
    rows, columns = (
        slice(round(at * per_mm), round((at + side) * per_mm))
        for at, side in ((top, layout.patch.height_mm), (left, layout.patch.width_mm))
    )
    sheet[rows, columns, 0] = 0.9
    stage = SheetScene(sheet, layout, scene, rig.intrinsics, TURNED, samples=16, phase=1.0)
    light = stage.shoot(TURNED, 0).light
    red = (light[..., 0] > 2 * light[..., 1]) & (light[..., 0] > 0.05)
    mask = stage.patch_mask(TURNED)
    assert mask.sum() > 1500 and (mask & red).sum() / (mask | red).sum() > 0.96


@pytest.mark.parametrize("support", [{}, {"shape": "curl", "radius_mm": 80}])
def test_the_mask_of_a_round_cut_out_is_round(support: dict[str, object], tmp_path: Path, wall: Path) -> None:
    print_sheets(vivid_patch(), 100, tmp_path / "sheet.pdf", cut="circle")
    stage = staged(tmp_path / "sheet.pdf", wall, evenly_lit(support=support), samples=16)
    sheet, mask = stage.shoot(TURNED, 0).coverage > 0.5, stage.patch_mask(TURNED)
    assert mask.sum() > 1000 and (mask & sheet).sum() / (mask | sheet).sum() > 0.96


@pytest.mark.parametrize("holder", [{"sign": {}}, {"support": {"shape": "cylinder", "radius_mm": 60}}], ids=str)
def test_what_shows_beside_a_round_cut_out_covers_the_background(
    holder: dict[str, object], tmp_path: Path, wall: Path
) -> None:
    print_sheets(vivid_patch(), 100, tmp_path / "sheet.pdf", cut="circle")
    stage = staged(tmp_path / "sheet.pdf", wall, evenly_lit(**holder), samples=4)
    coverage, disc = stage.shoot(STILL, 0).coverage, stage.patch_mask(STILL)
    top, left = np.argwhere(disc).min(axis=0)
    bottom, right = np.argwhere(disc).max(axis=0)
    inset_y, inset_x = (bottom - top) // 10, (right - left) // 10
    corner = top + inset_y, left + inset_x
    assert not disc[corner] and coverage[corner] == 1 and coverage[disc].min() > 0.9


def test_the_back_of_a_sheet_shows_no_patch(shared_sheet_pdf: Path, wall: Path) -> None:
    stage = staged(shared_sheet_pdf, wall, evenly_lit(), samples=1)
    seen = [stage.patch_mask(RigPose(0.4, 0.0, 0.0, yaw, 0.0, 0.0)).sum() for yaw in (0.0, 80.0, 100.0, 180.0)]
    assert seen[0] > seen[1] > 0 and seen[2:] == [0, 0]


def test_of_a_sheet_behind_the_camera_no_pixel_shows_the_patch(shared_sheet_pdf: Path, wall: Path) -> None:
    stage = staged(shared_sheet_pdf, wall, evenly_lit(occluder={"covers": [0.1, 0.1]}), samples=1, occluded=0.1)
    assert stage.patch_mask(STILL).any() and not stage.patch_mask(replace(STILL, distance_m=-0.3)).any()


def test_a_sheet_that_reaches_behind_the_camera_shows_its_patch_up_to_the_pictures_edge(
    tmp_path: Path, wall: Path
) -> None:
    """By the ray through each pixel, where it meets the sheet's plane."""
    print_sheets(vivid_patch(), 500, tmp_path / "sheet.pdf", paper="a1")
    stage = staged(tmp_path / "sheet.pdf", wall, evenly_lit(), samples=1)
    pose, lens, patch = RigPose(0.15, 0.05, 0.02, 60.0, 4.0, 3.0), stage._lens, stage._layout.patch
    assert (pose.placed(bent(patch.corners_mm, stage._layout, Support()))[:, 2] < 0).sum() in (1, 2)
    x, y = np.meshgrid(np.arange(lens.width), np.arange(lens.height))
    rays = np.stack([(x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy, np.ones(x.shape)], axis=-1)
    normal = pose.rotation[:, 2]
    far = (normal @ pose.shift_mm) / (rays @ normal)
    at = (rays * far[..., None] - pose.shift_mm) @ pose.rotation  # on the sheet, from the patch's centre
    hit = (far > 0) & (np.abs(at[..., 0]) < patch.width_mm / 2) & (np.abs(at[..., 1]) < patch.height_mm / 2)
    assert hit.mean() > 0.2 and (stage.patch_mask(pose) != hit).mean() < 0.005


def test_a_table_stands_below_a_large_sheet(tmp_path: Path) -> None:
    """What is lowest of the sheet is seen before the table, as with a small one."""
    print_sheets(vivid_patch(), 500, tmp_path / "sheet.pdf", paper="a1")
    rig = RenderedRig(tmp_path / "sheet.pdf", Scene.read("room"), [], frame_wh=(160, 120))
    held = RigPose(1.6, 0.0, 0.1, 0.0, 0.0, 0.0)
    white_sheet = np.ones_like(rig._sheets[0])
    shots = [
        SheetScene(sheet, rig.layouts[0], rig.scene, rig.intrinsics, held, samples=16).shoot(held, 0).light[..., 1]
        for sheet in (white_sheet, np.full_like(white_sheet, 0.05) * (1, 1, 1, 20))
    ]
    mask = SheetScene(white_sheet, rig.layouts[0], rig.scene, rig.intrinsics, held, samples=1).patch_mask(held)
    bottom = np.flatnonzero(mask.any(axis=1)).max()
    assert (shots[0][bottom - 1, 80] / shots[1][bottom - 1, 80]) > 3


@pytest.mark.parametrize("name", ["room", "pan"])
def test_a_room_catches_the_shadow_of_the_sheet(name: str, shared_sheet_pdf: Path) -> None:
    """By a render without the sheet, where it does not stand before the wall itself; a stand has a shadow of its own."""
    scene = Scene.read(name).changed(motion={"kind": "hold"}, stand=None)
    rig = RenderedRig(shared_sheet_pdf, scene, [], frame_wh=(160, 120))
    layout, held = rig.layouts[0], RigPose(0.38, 0.0, 0.0, 8.0, -4.0, 3.0)

    def shown(sheet: np.ndarray) -> np.ndarray:
        stage = SheetScene(sheet, layout, scene, rig.intrinsics, held, samples=36)
        return cv2.blur(stage.shoot(held, 0).light[..., 1], (5, 5))

    lit = shown(rig._sheets[0] * 0)
    corners = projected(bent(layout.cut.corners_mm, layout, scene.support), held, rig.intrinsics)
    sheet = np.zeros((120, 160), np.uint8)
    cv2.fillConvexPoly(sheet, corners.round().astype(np.int32), 1)
    beside = cv2.dilate(sheet, np.ones((11, 11))) == 0
    assert ((shown(rig._sheets[0]) / lit < 0.8) & beside).sum() > 200


@pytest.mark.parametrize(("distance_m", "yaw_deg"), [(4.0, 0), (0.4, 80), (0.4, -80)])
def test_no_picture_shows_where_a_room_ends(distance_m: float, yaw_deg: float, shared_sheet_pdf: Path) -> None:
    """From far away, and with a camera that turns to its side; beyond the walls it would be black."""
    lights = [Light(kind="panel", at_m=(0.3, -0.4, -0.5)), Light(kind="ambient")]
    panning = Scene(lights=lights, background="room", motion={"kind": "pan", "from_deg": -80, "to_deg": 80})
    rig = RenderedRig(shared_sheet_pdf, panning, [], frame_wh=(160, 120))
    start = RigPose(distance_m, 0.0, 0.0, 0.0, 0.0, 0.0)
    stage = SheetScene(rig._sheets[0], rig.layouts[0], panning, rig.intrinsics, start, samples=16)
    turned = start.from_camera(np.zeros(3), rotation_matrix(yaw_deg, 0, 0))
    assert stage.shoot(turned, 0).light[..., 1].min() > 1e-3


def test_a_camera_that_adapts_has_seen_the_room_before_the_sheet(
    shared_sheet_pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[NDArray[np.float32]] = []
    monkeypatch.setattr(ClipCamera, "look", lambda _, recorded: looked.append(recorded))
    adapting = Scene.read("room")
    adapting = adapting.changed(camera=adapting.camera.to_dict() | {"effects": {"auto_exposure": {}}})
    rig = RenderedRig(shared_sheet_pdf, adapting, [], clips=1, frames_per_clip=1, frame_wh=(160, 120), seed=1)
    frame = next(iter(rig))
    assert rig.scenes == [] and frame.label is None and frame.truth is not None
    inside = cv2.erode(frame.truth.patch.astype(np.uint8), np.ones((3, 3))).astype(bool)
    (empty,) = looked
    assert empty.shape == (120, 160, 3) and empty.min() > 1e-3
    assert empty[inside].std(axis=0).max() < 0.2 * empty[inside].mean()  # a wall, not cells of all colours


def test_a_sign_has_a_plate_and_a_post_a_pole_goes_on_and_cloth_lies_around(shared_sheet_pdf: Path, wall: Path) -> None:
    """What covers the background: a border around the sheet, and a post below that a sign alone has above; the pole above and
    below; cloth on all sides."""
    held = RigPose(0.6, 0.0, 0.0, 0.0, 0.0, 0.0)

    def covered(**more: object) -> np.ndarray:
        scene = Scene(lights=[{"kind": "ambient"}], camera={"aperture_mm": 0}, **more)
        rig = RenderedRig(shared_sheet_pdf, scene, [(wall, None)], frame_wh=SMALL)
        stage = SheetScene(rig._sheets[0], rig.layouts[0], scene, rig.intrinsics, held, samples=4)
        return stage.shoot(held, 0).coverage > 0.5

    bare, sign = covered(), covered(sign={"border_mm": 20, "post_mm": 60})
    assert not (bare & ~sign).any()
    below, across = sign[-1], np.flatnonzero(bare.any(axis=0))
    per_mm = np.ptp(across) / 113.3
    assert not bare[-1].any() and below.sum() == pytest.approx(60 * per_mm, rel=0.15) and below[158:162].all()
    assert np.ptp(np.flatnonzero(sign.any(axis=0))) == pytest.approx(153.3 * per_mm, rel=0.05)
    stand = covered(stand={})
    top, sheet_top = (np.flatnonzero(seen.any(axis=1))[0] for seen in (stand, bare))
    assert stand[-1].sum() == pytest.approx(16 * per_mm, rel=0.3) and stand[-1, 158:162].any()
    assert 0 <= sheet_top - top <= 2 * 2 * per_mm + 1  # the rod ends behind the board
    assert np.flatnonzero(sign.any(axis=1))[0] < top
    cloth = covered(support={"shape": "ripple", "amplitude_mm": 1, "length_m": 0.24})
    for axis in (0, 1):
        assert np.ptp(np.flatnonzero(cloth.any(axis=axis))) == pytest.approx(240 * per_mm, rel=0.05)
    pole = covered(support={"shape": "cylinder", "radius_mm": 60, "length_m": 4})
    for row in (pole[0], pole[-1]):
        assert row.sum() == pytest.approx(120 * per_mm, rel=0.15)


def test_long_skins_have_short_facets_but_not_any_number_of_them() -> None:
    angle = np.linspace(0, 2 * np.pi, 9)
    ring = np.stack([10 * np.cos(angle), 10 * np.sin(angle), np.zeros(9)], axis=1)
    for length_mm, rings in ((30.0, 2), (200.0, 6), (1e6, 101)):
        skin = skin_of([ring, ring + np.array([0, 0, length_mm])])
        assert len(skin.points) == 9 * rings and skin.points[:, 2].max() == length_mm
        assert len(skin.faces) == 2 * 8 * (rings - 1) and skin.faces.max() == len(skin.points) - 1


def test_meshes_look_like_mitsubas_own_shapes() -> None:
    """A glossy ball and a tilted rectangle, in light from one side, as pictures and from either side of the rectangle."""
    mi = engine()
    place = mi.ScalarTransform4f
    tilted = place().translate([60, 0, 520]).rotate([0, 1, 0], 150).scale([70, 50, 1])
    red = plastic({"type": "rgb", "value": [0.5, 0.1, 0.1]}, 1.5, 0.1)
    grey = {"type": "twosided", "inner": {"type": "diffuse", "reflectance": {"type": "spectrum", "value": 0.5}}}
    own = {
        "ball": {"type": "sphere", "center": [-60, 10, 500], "radius": 50, "bsdf": red},
        "board": {"type": "rectangle", "to_world": tilted, "bsdf": grey},
    }
    meshes = {
        "ball": mesh_shape("ball", ball_mesh([-60, 10, 500], 50), red),
        "board": mesh_shape("board", rectangle_mesh(np.array(tilted.matrix)), grey),
    }
    sensor = {
        "type": "perspective",
        "fov": 30,
        "to_world": place().look_at([0, 0, 0], [0, 0, 1], [0, -1, 0]),
        "film": {"type": "hdrfilm", "width": 96, "height": 72, "pixel_format": "luminance", "rfilter": {"type": "box"}},
    }
    lamp = {"type": "directional", "direction": [1, 1, 2], "irradiance": {"type": "spectrum", "value": 3.0}}
    sky = {"type": "constant", "radiance": {"type": "spectrum", "value": 0.2}}

    def picture(shapes: dict[str, Any]) -> NDArray[np.float32]:
        paths = {"type": "path", "max_depth": 3, "hide_emitters": True}
        scene = mi.load_dict(
            {"type": "scene", "integrator": paths, "sensor": sensor, "lamp": lamp, "sky": sky, **shapes}
        )
        return np.array(mi.render(scene, spp=64, seed=1))[..., 0]

    first, second = picture(own), picture(meshes)
    assert (first > 0).mean() > 0.2 and (first[:, :48] > 0).any() and (first[:, 48:] > 0).any()
    assert ((first > 0) != (second > 0)).mean() < 0.003  # of the ball's outline
    np.testing.assert_allclose(second[:, :48].sum(), first[:, :48].sum(), rtol=0.01)
    np.testing.assert_allclose(second[:, 48:].sum(), first[:, 48:].sum(), rtol=0.01)
    assert np.abs(cv2.blur(first, (5, 5)) - cv2.blur(second, (5, 5))).max() < 0.05 * first.max()


def test_the_same_seed_renders_the_same_frames(shared_sheet_pdf: Path, wall: Path) -> None:
    def first(seed: int) -> np.ndarray:
        rig = RenderedRig(shared_sheet_pdf, evenly_lit(), [(wall, None)], seed=seed, frame_wh=SMALL, samples=4)
        return next(iter(rig)).image

    np.testing.assert_array_equal(first(1), first(1))
    assert np.abs(first(1).astype(int) - first(2)).mean() > 1


def test_more_samples_leave_less_noise(shared_sheet_pdf: Path, wall: Path) -> None:
    stages = [staged(shared_sheet_pdf, wall, evenly_lit(), page=1, samples=samples) for samples in (4, 64)]
    inside = cv2.erode(stages[0].patch_mask(STILL).astype(np.uint8), np.ones((7, 7))).astype(bool)
    noise = [np.std(stage.shoot(STILL, 1).light[inside], axis=0).mean() for stage in stages]
    assert noise[1] < noise[0] / 2


def test_the_denoiser_leaves_less_noise_and_the_cells_their_colours(shared_sheet_pdf: Path, wall: Path) -> None:
    """Beside a shot with eighty times as many samples: in each pixel, and on average over the patch."""
    many = staged(shared_sheet_pdf, wall, evenly_lit(), samples=324)
    inside = many.patch_mask(STILL)
    truth = many.shoot(STILL, 2).light[inside]

    def seen(*, denoise: bool) -> NDArray[np.float32]:
        return staged(shared_sheet_pdf, wall, evenly_lit(), samples=4, denoise=denoise).shoot(STILL, 1).light[inside]

    raw, denoised = seen(denoise=False), seen(denoise=True)
    off = [np.sqrt(np.mean((light - truth) ** 2)) for light in (raw, denoised)]
    assert off[1] < 0.7 * off[0], off
    np.testing.assert_allclose(denoised.mean(axis=0), truth.mean(axis=0), rtol=0.02)
    np.testing.assert_array_equal(seen(denoise=True), denoised)


@pytest.mark.parametrize(("roughness", "measured"), [(0.05, 65), (0.1, 38), (0.3, 6)])
def test_paper_shines_as_measured_gloss_says(roughness: float, measured: float) -> None:
    """ISO 8254-1: light at 75 degrees within 5.7 of the mirror's direction, beside a glass of index 1.54, which has 100."""
    mi, count, half = engine(), 200, np.radians(5.7)
    away = np.radians(75)
    mirrored = np.array([-np.sin(away), 0, np.cos(away)])
    aside = np.array([0.0, 1.0, 0.0])
    apart, around = np.meshgrid((np.arange(count) + 0.5) / count * half, (np.arange(count) + 0.5) / count * 2 * np.pi)
    across = np.cos(around)[..., None] * aside + np.sin(around)[..., None] * np.cross(mirrored, aside)
    seen = np.cos(apart)[..., None] * mirrored + np.sin(apart)[..., None] * across
    angle = np.sin(apart) * half / count * 2 * np.pi / count
    hit = dr.zeros(mi.SurfaceInteraction3f, angle.size)
    hit.wi, hit.wavelengths = mi.Vector3f(float(np.sin(away)), 0.0, float(np.cos(away))), 550.0
    paper = mi.load_dict(plastic({"type": "spectrum", "value": 0.85}, Paper().index, roughness))
    reflected = np.array(paper.eval(mi.BSDFContext(), hit, mi.Vector3f(seen.reshape(-1, 3).T.astype(np.float32))))[0]
    refracted = np.sqrt(1 - (np.sin(away) / 1.54) ** 2)
    across_plane = (np.cos(away) - 1.54 * refracted) / (np.cos(away) + 1.54 * refracted)
    in_plane = (1.54 * np.cos(away) - refracted) / (1.54 * np.cos(away) + refracted)
    glass = (across_plane**2 + in_plane**2) / 2
    assert 100 * (reflected * angle.ravel()).sum() / glass == pytest.approx(measured, rel=0.05)


def test_patch_and_controls_are_held_alike(shared_sheet_pdf: Path, wall: Path) -> None:
    rig = RenderedRig(
        shared_sheet_pdf, evenly_lit(), [(wall, None)], clips=2, frames_per_clip=1, samples=1, frame_wh=SMALL
    )
    frames = list(rig)
    assert len(frames) == len(rig) == 6 and rig.scenes == [0, 0]
    poses = [frame.truth.pose for frame in frames if frame.truth]
    assert poses[0] == poses[1] == poses[2] != poses[3]


def test_a_curl_keeps_the_lengths_of_the_paper(shared_sheet_pdf: Path) -> None:
    layout = RenderedRig(shared_sheet_pdf, evenly_lit(at_m=(-1.3, 0, -1.3), background="room"), []).layouts[0]
    line = np.stack([np.linspace(layout.cut.x_mm, layout.cut.right_mm, 500), np.full(500, layout.cut.y_mm)], axis=1)
    for radius in (60.0, -200.0):
        points = bent(line, layout, Support(shape="curl", axis_deg=90, radius_mm=radius))
        length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
        assert length == pytest.approx(layout.cut.width_mm, rel=1e-4)
        assert np.sign(points[0, 2]) == np.sign(radius)


def test_noise_and_exposure_are_the_cameras(wall: Path) -> None:
    recorded = np.full((60, 80, 3), 0.5, np.float32) * (white(CAMERA, "D65") / white(CAMERA, "D65")[1]).astype(
        np.float32
    )
    plain = Development(CAMERA, "D65", exposure=1.0, read_noise=0, shot_noise=0, jpeg_quality=100)
    still, rng = plain.develop(recorded, np.random.default_rng(0)), np.random.default_rng(0)
    np.testing.assert_allclose(still / 255, linear_to_srgb(np.array(0.5)), atol=0.02)
    assert replace(plain, shot_noise=0.03).develop(recorded, rng).std() > still.std() + 1
    assert replace(plain, exposure=0.5).develop(recorded, rng).mean() < still.mean() - 40


def test_a_pixel_that_is_full_tells_its_neighbours_no_more() -> None:
    plain = Development(CAMERA, "D65", exposure=1.0, read_noise=0, shot_noise=0, jpeg_quality=100)
    camera = ClipCamera(plain, [Mosaic()], fps=30, rng=np.random.default_rng(0))
    developed = []
    for brightest in (3.0, 300.0):
        recorded = np.full((40, 40, 3), 0.2, np.float32)
        recorded[18:22, 18:22] = brightest
        developed.append(camera.develop(recorded, np.random.default_rng(0)))
    np.testing.assert_array_equal(*developed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 1", "lights is missing"),
        ("version = 1\nlights = []", "lights should be"),
        ('[[lights]]\nkind = "lava"', "lights.0.kind should be"),
        ('[[lights]]\nkind = "ambient"\npower = 0', "lights.0.power"),
        ('[support]\nshape = "curl"\nradius_mm = 1\n[[lights]]\nkind = "ambient"', "radius must be 10 mm or more"),
        ("lights = [", "is not valid TOML"),
        (
            'background = "room"\n[[lights]]\nkind = "ambient"\n[motion]\nkind = "walk_past"\nfrom_m = -3',
            "stays between its walls: from_m and to_m from -1.3 to 1.3",
        ),
        ("version = 9", "newer physpatch"),
    ],
)
def test_a_scene_that_is_not_one_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "scene.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        Scene.read(str(path))


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stnad.*stand"):
        Scene.read("stnad")
    with pytest.raises(InputError, match="no file"):
        Scene.read(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="LED-B9"):
        white(CAMERA, "LED-B9")
    with pytest.raises(InputError, match="Leica"):
        white("Leica", "D65")


def test_the_engine_is_a_spectral_one() -> None:
    assert engine().variant().endswith("spectral") and engine() is engine()


@pytest.mark.parametrize(
    "works",
    [
        ("cuda_ad_spectral", "llvm_ad_spectral", "scalar_spectral"),
        ("llvm_ad_spectral", "scalar_spectral"),
        ("scalar_spectral",),
        (),
    ],
)
def test_the_fastest_variant_that_works_is_chosen(works: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(engine(), "set_variant", chosen.append)
    monkeypatch.setattr("captures.sources.rendered.engine._works", lambda variant: variant in works)
    if works:
        engine.__wrapped__()
    else:
        with pytest.raises(UnavailableError, match="none of cuda_ad_spectral, llvm_ad_spectral, scalar_spectral"):
            engine.__wrapped__()
    assert chosen == list(works[:1])


def test_the_newest_llvm_is_found_in_a_distributions_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / "lib64", tmp_path / "llvm-17" / "lib", tmp_path / "llvm-15" / "lib"]
    names = ("libLLVM-16.so", "libLLVM.so.17.0", "libLLVM-15.so")
    for folder, name in zip(folders, names, strict=True):
        folder.mkdir(parents=True)
        (folder / name).touch()
    patterns = (str(tmp_path / "lib64"), str(tmp_path / "llvm-*" / "lib"), str(tmp_path / "none"))
    monkeypatch.setattr("captures.sources.rendered.engine._LLVM_FOLDERS", patterns)
    assert newest_llvm() == tmp_path / "llvm-17" / "lib" / "libLLVM.so.17.0"
    monkeypatch.setattr("captures.sources.rendered.engine._LLVM_FOLDERS", patterns[2:])
    assert newest_llvm() is None


def test_frames_stop_when_asked(shared_sheet_pdf: Path, wall: Path) -> None:
    rig = RenderedRig(shared_sheet_pdf, evenly_lit(), [(wall, None)], samples=1, frame_wh=SMALL)
    assert [frame.number for frame in islice(rig, 2)] == [1, 2] and rig.captured == 2


def test_what_is_kept_is_not_rendered_again(
    shared_sheet_pdf: Path, wall: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(**more: object) -> list[np.ndarray]:
        rig = RenderedRig(
            shared_sheet_pdf, Scene.read("stand"), [(wall, None)], clips=1, frames_per_clip=1, frame_wh=SMALL, **more
        )
        return [frame.image for frame in islice(rig, 2)]

    anew, first = film(), film(cache=ShotCache(tmp_path))
    monkeypatch.setattr(SheetScene, "_render", lambda *_: pytest.fail("rendered again"))
    again = film(cache=ShotCache(tmp_path))
    np.testing.assert_array_equal(first, anew)
    np.testing.assert_array_equal(again, anew)
    with pytest.raises(pytest.fail.Exception):
        film(cache=ShotCache(tmp_path), seed=1)
