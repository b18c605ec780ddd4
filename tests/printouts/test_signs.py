"""Signs on paper: to scale, as drawn, with the patch where training has it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest

from calibration.camera.sheet_pose import find_sheet
from calibration.colour.sheet_colour import observe
from calibration.common.errors import InputError
from calibration.sheet.layout import SHEET_KINDS, layouts_from_json, layouts_to_json
from calibration.sheet.pdf_reader import carried_layouts, rasterise
from calibration.sheet.road_signs import SIGNS, sign
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch import Patch
from physpatch.attack.placement import Carrier
from physpatch.records.patch_exchange import drawing
from physpatch.records.patch_file import CONTROLS
from printouts import print_on_sign, print_sign
from printouts.verification import verify_sheets

DPI = 254  # ten pixels a millimetre
PER_MM = 10


@pytest.mark.parametrize("name", SIGNS)
def test_a_printed_sign_is_as_large_and_looks_as_drawn(name: str, tmp_path: Path) -> None:
    out = tmp_path / "sign.pdf"
    print_sign(name, 120, out)
    page = rasterise(out, DPI, 0)
    drawn = sign(name).draw(120 * PER_MM)
    inked = (np.abs(page.astype(int) - 255).max(axis=2) > 4).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(inked)
    left, top, width, height = max(boxes[1:].tolist(), key=lambda box: box[4])[:4]
    assert width == pytest.approx(120 * PER_MM, abs=2)
    rows = np.flatnonzero((drawn[..., 3] > 0).any(axis=1))
    seen = page[top : top + height, left : left + width]
    wanted = cv2.resize(drawn[rows[0] : rows[-1] + 1], (width, height), interpolation=cv2.INTER_AREA)
    inside = cv2.erode((wanted[..., 3] == 255).astype(np.uint8), np.ones((7, 7))) > 0
    far = np.abs(seen.astype(int) - wanted[..., :3].astype(int)).max(axis=2) > 8
    assert (far & inside).mean() < 0.01  # edges between its colours


def test_a_sign_alone_cannot_be_measured_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "sign.pdf"
    print_sign("stop", 120, out)
    with pypdfium2.PdfDocument(out) as document:
        words = document[0].get_textpage().get_text_range()
    assert "if not, print again at 100 %" in words and "--measured" not in words
    with pytest.raises(
        InputError, match=r"sign\.pdf: this PDF shows a sign alone, which has no markers; print it with"
    ):
        verify_sheets(out)


def test_the_patch_lies_on_the_sheet_where_it_lies_in_training(patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "sheet.pdf"
    layouts = print_on_sign(patch, "stop", 150, out, controls=("grey", "random"))
    assert [layout.kind for layout in layouts] == ["patch", "grey", "random"]
    assert carried_layouts(out) == layouts == layouts_from_json(layouts_to_json(layouts))
    layout, carrier = layouts[0], Carrier.of_sign("stop", (10, 10), 0.2)
    assert layout.carrier_rect is not None and layout.carrier_rect.width_mm == pytest.approx(150)
    per_texel = 150 / carrier.texels.shape[-1]
    on_sign = np.array([layout.patch.x_mm - layout.face.x_mm, layout.patch.y_mm - layout.face.y_mm])
    assert on_sign == pytest.approx(np.array(carrier.box[:2]) * per_texel, abs=per_texel)
    assert layout.patch.width_mm**2 / (150**2 * sign("stop").area) == pytest.approx(0.2)
    for proof in verify_sheets(out, patch):
        assert proof.problems == () and proof.markers_read == 4 and proof.worst_step == 0
    moved = layout.printed((0.99, 1.01))
    assert moved.carrier_rect is not None and moved.carrier_rect.width_mm == pytest.approx(148.5)


def test_a_drawing_of_the_sign_that_it_is_taken_for_is_a_sheet_that_a_camera_tells_apart(
    patch: Patch, tmp_path: Path
) -> None:
    out, wall = tmp_path / "sheet.pdf", tmp_path / "wall.png"
    layouts = print_on_sign(patch, "stop", 150, out, controls=CONTROLS, drawing=drawing("no entry", (10, 10)))
    assert [layout.kind for layout in layouts] == list(SHEET_KINDS)
    assert layouts[-1].patch == layouts[0].patch and (layouts[-1].cells == drawing("no entry", (10, 10)).cells).all()
    assert [(proof.problems, proof.markers_read) for proof in verify_sheets(out, patch)] == [((), 4)] * 5
    with pypdfium2.PdfDocument(out) as document:
        assert "physpatch control: drawing of the no entry sign" in document[4].get_textpage().get_text_range()
    cv2.imwrite(str(wall), np.full((480, 640, 3), 120, np.uint8))
    rig = VirtualRig(out, [(wall, None)], truth=replace(RigTruth.draw(0), vignette=0.0))
    for number, kind in enumerate(SHEET_KINDS):
        frame = rig.render(number, RigPose(0.6, 0, 0, 20, 5, 10), rig.background(wall), np.random.default_rng(0))
        pose = find_sheet(frame, rig.layouts, rig.intrinsics)
        assert pose is not None and pose.layout.kind == kind


def test_beside_the_sign_the_patch_has_its_place_on_the_sheet(patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "sheet.pdf"
    layout, *_ = print_on_sign(patch, "stop", 110, out, at=(0.5, 1.3))
    own = layout.carrier_rect
    assert own is not None and own.width_mm == pytest.approx(110)
    assert layout.patch.y_mm + layout.patch.height_mm / 2 == pytest.approx(own.y_mm + 1.3 * 110)
    assert layout.patch.x_mm + layout.patch.width_mm / 2 == pytest.approx(own.x_mm + 55)
    assert layout.face.width_mm == pytest.approx(layout.face.height_mm) and layout.white.x_mm < layout.face.x_mm
    for proof in verify_sheets(out, patch):
        assert proof.problems == () and proof.markers_read == 4 and proof.worst_step == 0
    with pytest.raises(InputError, match=r"a patch beside it do not fit on A4; the largest size is 1\d\d mm"):
        print_on_sign(patch, "stop", 180, out, at=(0.5, 1.3))


def test_a_camera_finds_the_sheet_and_reads_its_light(patch: Patch, tmp_path: Path) -> None:
    out, wall = tmp_path / "sheet.pdf", tmp_path / "wall.png"
    print_on_sign(patch, "stop", 150, out)
    cv2.imwrite(str(wall), np.full((480, 640, 3), 120, np.uint8))
    rig = VirtualRig(out, [(wall, None)], truth=replace(RigTruth.draw(0), vignette=0.0))
    frame = rig.render(0, RigPose(0.45, 0, 0, 10, 0, 0), rig.background(wall), np.random.default_rng(0))
    pose = find_sheet(frame, rig.layouts, rig.intrinsics)
    assert pose is not None and pose.distance_m == pytest.approx(0.45, rel=0.02)
    shot = observe(frame, pose)
    assert shot is not None and shot.px_per_cell == pytest.approx(554 * 0.0061 / 0.45, rel=0.06)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size_mm": 20}, "print the sign at least 25 mm wide"),
        ({"size_mm": 400}, "does not fit on A4"),
        ({"carrier": "tree"}, "unknown sign"),
        ({"share": 0.7}, "extends over the edge of the stop sign"),
    ],
)
def test_what_cannot_be_printed_on_a_sign(change: dict, words: str, patch: Patch, tmp_path: Path) -> None:
    settings = {"carrier": "stop", "size_mm": 150, "out": tmp_path / "sheet.pdf"} | change
    with pytest.raises(InputError, match=words):
        print_on_sign(patch, **settings)
    assert not (tmp_path / "sheet.pdf").exists()
