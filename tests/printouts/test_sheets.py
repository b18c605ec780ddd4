"""The PDF, measured by renderers that did not draw it."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.camera.qr_label import label_area, parse_label, read_label
from calibration.camera.sheet_pose import make_detector
from calibration.colour.printing_condition import PrintingCondition
from calibration.common.errors import InputError
from calibration.common.pictures import MOST_PIXELS
from calibration.sheet.charuco_target import board_cells, chart_cells, charuco_board
from calibration.sheet.layout import MARKER_MODULES, SheetLayout
from calibration.sheet.pdf_reader import (
    carried_layouts,
    forget_measured,
    measured_scale,
    page_count,
    printed_layouts,
    rasterise,
    rasterise_sheet,
    store_measured,
)
from physpatch.records.patch_file import Patch
from printouts import print_sheets, print_targets, verification
from printouts.preview import save_preview
from printouts.soft_proof import save_soft_proof
from printouts.verification import verify_sheets

DPI = 300


def words_of(pdf: Path) -> str:
    """The text of the first page."""
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        return str(document[0].get_textpage().get_text_range())


@pytest.fixture
def vivid() -> Patch:
    """No grey cell, so that the square can be told from the page by colour alone."""
    cells = np.zeros((10, 10, 3), np.uint8)
    cells[..., 0] = np.arange(100).reshape(10, 10) + 150
    cells[::2, 1::2] = (20, 90, 240)
    return Patch(cells)


# --- lengths and colours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "paper"), [(size, paper) for size in (20, 100, 250, 1000) for paper in ("a4", "letter", "a3")]
)
def test_a_sheet_measures_what_was_asked(size: int, paper: str, patch: Patch, tmp_path: Path) -> None:
    """At 600 dpi, by PDFium: 0.1 mm in 100 mm, colours within one step, every marker and the code read at 100 dpi."""
    out = tmp_path / "sheet.pdf"
    print_sheets(patch, size, out, paper=paper)
    assert out.stat().st_size < 200_000
    (proof,) = verify_sheets(out, patch)
    assert proof.problems == ()
    for planned, measured in zip(proof.planned_mm, proof.measured_mm, strict=True):
        assert planned == size and measured == pytest.approx(size, abs=0.001 * size)
    assert proof.rulers_mm == pytest.approx((100, 100), abs=0.1)
    assert proof.worst_step <= 1
    assert proof.markers_read == proof.markers == 4 and proof.label_read


@pytest.mark.parametrize(("size", "paper"), [(100, "a4"), (100, "letter"), (20, "a4"), (250, "a3")])
def test_poppler_measures_the_same(size: int, paper: str, vivid: Patch, tmp_path: Path) -> None:
    if not shutil.which("pdftoppm"):
        pytest.skip("poppler-utils is not installed")
    out = tmp_path / "sheet.pdf"
    (layout,) = print_sheets(vivid, size, out, paper=paper)
    subprocess.run(["pdftoppm", "-r", str(DPI), "-f", "1", "-l", "1", "-png", out, tmp_path / "page"], check=True)
    with Image.open(next(tmp_path.glob("page*.png"))) as image:
        raster = np.asarray(image.convert("RGB")).astype(int)
    coloured = raster.max(axis=2) - raster.min(axis=2) > 40
    mm = 25.4 / DPI
    for axis, start in ((0, layout.patch.x_mm), (1, layout.patch.y_mm)):
        along = np.where(coloured.any(axis=axis))[0]
        assert along[0] * mm == pytest.approx(start, abs=0.2)
        assert (along[-1] - along[0] + 1) * mm == pytest.approx(size, abs=0.2)


def test_no_hairlines_between_cells(tmp_path: Path) -> None:
    """A patch of one colour is one colour all over, whatever the resolution."""
    out = tmp_path / "flat.pdf"
    (layout,) = print_sheets(Patch(np.full((7, 7, 3), 40, np.uint8)), 70, out)
    for dpi in (97, 150, 233):
        raster, mm = rasterise(out, dpi), dpi / 25.4
        inner = raster[
            int((layout.patch.y_mm + 1) * mm) : int((layout.patch.y_mm + 69) * mm),
            int((layout.patch.x_mm + 1) * mm) : int((layout.patch.x_mm + 69) * mm),
        ]
        assert inner.min() == inner.max() == 40


def test_vector_cells_and_no_picture(sheet_pdf: Path) -> None:
    assert b"/Subtype /Image" not in sheet_pdf.read_bytes()


# --- markers and code ------------------------------------------------------------------------------------------------------


def test_marker_corners_lie_where_the_layout_says(sheet_pdf: Path) -> None:
    for page, layout in enumerate(carried_layouts(sheet_pdf)):
        grey = cv2.cvtColor(rasterise(sheet_pdf, 100, page), cv2.COLOR_RGB2GRAY)
        corners, ids, _ = make_detector().detectMarkers(grey)
        assert sorted(ids.ravel()) == sorted(m.id for m in layout.markers)
        expected = layout.marker_corners_mm()
        for quad, marker in zip(corners, ids.ravel(), strict=True):
            np.testing.assert_allclose(quad.reshape(4, 2) * 25.4 / 100, expected[int(marker)], atol=0.3)


def tilted(raster: np.ndarray, layout: SheetLayout, dpi: float, px_a_bit: float) -> np.ndarray:
    """The sheet turned by 45 degrees about its upright axis before a camera: its nearest edge has this resolution."""
    width, height = layout.page_mm
    focal = 4 * width
    corners = np.array(
        [[-width / 2, -height / 2], [width / 2, -height / 2], [width / 2, height / 2], [-width / 2, height / 2]]
    )
    depth = focal + corners[:, 0] * np.sin(np.pi / 4)
    scale = px_a_bit * MARKER_MODULES / layout.markers[0].rect.width_mm
    seen = np.column_stack([corners[:, 0] * np.cos(np.pi / 4), corners[:, 1]]) * (focal / depth)[:, None] * scale
    seen -= seen.min(axis=0) - 10
    source = np.array([[0, 0], [raster.shape[1], 0], [raster.shape[1], raster.shape[0]], [0, raster.shape[0]]])
    warp = cv2.getPerspectiveTransform(source.astype(np.float32), (4 * seen).astype(np.float32))
    size = (4 * (seen.max(axis=0) + 10)).astype(int)
    large = cv2.warpPerspective(raster, warp, tuple(map(int, size)), borderValue=(255,) * 3, flags=cv2.INTER_AREA)
    return cv2.resize(large, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("size", "paper"), [(20, "a4"), (100, "letter"), (250, "a3"), (1000, "a3")])
def test_markers_are_read_at_45_degrees_and_5_pixels_a_bit(size: int, paper: str, patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "sheet.pdf"
    (layout,) = print_sheets(patch, size, out, paper=paper)
    dpi = 25.4 * 10 * MARKER_MODULES / layout.markers[0].rect.width_mm
    picture = tilted(rasterise_sheet(out, layout, 0, dpi), layout, dpi, px_a_bit=5)
    _, ids, _ = make_detector().detectMarkers(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    assert ids is not None and set(ids.ravel()) >= {m.id for m in layout.markers}


def test_the_code_names_patch_kind_and_size(sheet_pdf: Path) -> None:
    for page, layout in enumerate(carried_layouts(sheet_pdf)):
        area, per_mm = label_area(layout), 100 / 25.4
        x, y, side = (round(at * per_mm) for at in (area.x_mm, area.y_mm, area.width_mm))
        label = read_label(rasterise(sheet_pdf, 100, page)[y : y + side, x : x + side])
        assert label is not None
        assert (label.patch_id, label.kind, label.width_mm) == (layout.patch_id, layout.kind, 100)


def test_a_hidden_or_strange_code_is_no_label() -> None:
    assert read_label(np.full((120, 90, 3), 255, np.uint8)) is None
    assert read_label(np.full((0, 90, 3), 255, np.uint8)) is None  # a label beyond the page
    assert parse_label("https://example.org") is None


# --- posters and cut-outs --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@example(size=513.0, rows=1, columns=1, paper="a4")  # in four parts, the cell's seams would run through markers
@given(
    size=st.floats(210, 900),
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    paper=st.sampled_from(["a4", "letter", "a5"]),
)
def test_the_tiles_make_up_the_patch_exactly(
    size: float, rows: int, columns: int, paper: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cells = np.random.default_rng(rows * 13 + columns).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    out = tmp_path_factory.mktemp("poster") / "poster.pdf"
    (layout,) = print_sheets(Patch(cells), size, out, paper=paper)
    assert page_count(out) == layout.pages
    dpi = 40
    glued, per_mm = rasterise_sheet(out, layout, 0, dpi), dpi / 25.4
    place, cell = layout.patch, layout.cell_mm
    rows_px = ((place.y_mm + (np.arange(rows * 4) + 0.5) * cell / 4) * per_mm).astype(int)
    columns_px = ((place.x_mm + (np.arange(columns * 4) + 0.5) * cell / 4) * per_mm).astype(int)
    seen = glued[np.ix_(rows_px, columns_px)].astype(int)
    inside = min(cell * per_mm / 8, 3) >= 2  # pixels from a cell's border
    if inside:
        assert np.abs(seen - cells.repeat(4, 0).repeat(4, 1)).max() <= 1
    _, ids, _ = make_detector().detectMarkers(cv2.cvtColor(rasterise_sheet(out, layout, 0, 60), cv2.COLOR_RGB2GRAY))
    assert ids is not None and set(ids.ravel()) >= {m.id for m in layout.markers}


def test_a_poster_of_each_control(patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "poster.pdf"
    layouts = print_sheets(patch, 300, out, controls=("grey",))
    assert [layout.kind for layout in layouts] == ["patch", "grey"]
    assert page_count(out) == sum(layout.pages for layout in layouts)
    assert [proof.problems for proof in verify_sheets(out, patch)] == [(), ()]


def test_a_poster_whose_seams_lie_on_the_edges_of_the_patch_measures_what_was_asked(tmp_path: Path) -> None:
    patch = Patch(np.random.default_rng(56).integers(0, 256, (4, 4, 3), dtype=np.uint8))
    (layout,) = print_sheets(patch, 200, tmp_path / "poster.pdf", paper="a6")
    seams = [tile.part.bottom_mm for tile in layout.tiles]
    assert layout.patch.y_mm in seams and layout.patch.bottom_mm in seams
    (proof,) = verify_sheets(tmp_path / "poster.pdf", patch)
    assert proof.problems == () and proof.measured_mm == pytest.approx((200, 200), abs=0.1)


def test_a_page_of_three_metres_is_measured_at_a_resolution_that_fits(patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "wall.pdf"
    print_sheets(patch, 2000, out, paper="2500x3000mm")
    assert np.prod(rasterise(out, 600).shape[:2]) <= MOST_PIXELS
    (proof,) = verify_sheets(out, patch)
    assert proof.problems == () and proof.measured_mm == pytest.approx((2000, 2000), abs=0.2)


def test_a_label_half_a_millimetre_wide_does_not_fill_the_memory(
    sheet_pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = [
        replace(layout, label=replace(layout.label, width_mm=0.5)) if layout.kind == "grey" else layout
        for layout in carried_layouts(sheet_pdf)
    ]
    monkeypatch.setattr(verification, "carried_layouts", lambda _: tuple(layouts))
    problems = {proof.kind: proof.problems for proof in verify_sheets(sheet_pdf)}
    assert problems["grey"] == ("the QR code is unreadable or does not match the sheet",) and not problems["patch"]


def test_tiles_beyond_their_pages_are_refused(patch: Patch, tmp_path: Path) -> None:
    out = tmp_path / "poster.pdf"
    (layout,) = print_sheets(patch, 300, out)
    for moved in ((150.0, 7.0), (-150.0, 7.0)):
        tiles = (replace(layout.tiles[0], at_mm=moved), *layout.tiles[1:])
        with pytest.raises(InputError, match=r"page 2 of .*poster.pdf is not what its layout says; restore it"):
            rasterise_sheet(out, replace(layout, tiles=tiles), 0, 30)


@pytest.mark.parametrize("cut", ["square", "circle"])
def test_a_cut_out_bleeds_and_keeps_its_markers_outside(cut: str, vivid: Patch, tmp_path: Path) -> None:
    out = tmp_path / "cut.pdf"
    (layout,) = print_sheets(vivid, 80, out, cut=cut, bleed_mm=3)
    (proof,) = verify_sheets(out, vivid)
    assert proof.problems == () and proof.measured_mm == pytest.approx((80, 80), abs=0.08)
    assert layout.cut == layout.patch
    raster, mm = rasterise(out, 300), 300 / 25.4
    middle = int((layout.patch.y_mm + 36) * mm)

    def at(x_mm: float, row: int = middle) -> list[int]:
        return raster[row, int(x_mm * mm)].tolist()

    assert at(layout.patch.x_mm - 2) == vivid.cells[4, 0].tolist()  # the outer cell goes on over the cut
    assert at(layout.patch.x_mm - 4) == [255, 255, 255]
    corner = at(layout.patch.x_mm + 2, int((layout.patch.y_mm + 2) * mm))
    assert corner == ([255, 255, 255] if cut == "circle" else vivid.cells[0, 0].tolist())
    data = out.read_bytes()
    assert b"/TrimBox" in data and b"/BleedBox" in data


# --- calibration sheets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", ["a4", "letter", "a3"])
def test_the_board_is_the_one_that_opencv_knows(paper: str, tmp_path: Path) -> None:
    out = tmp_path / "calibration.pdf"
    board, chart = print_targets(out, paper=paper)
    assert [board.kind, chart.kind] == ["board", "chart"]
    assert [proof.problems for proof in verify_sheets(out)] == [(), ()]
    dpi = 300
    grey = cv2.cvtColor(rasterise(out, dpi), cv2.COLOR_RGB2GRAY)
    known = charuco_board(board)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(known).detectBoard(grey)
    rows, columns = board.grid
    assert len(ids) == (rows - 1) * (columns - 1)
    expected = np.array(known.getChessboardCorners())[ids.ravel(), :2] + (board.patch.x_mm, board.patch.y_mm)
    np.testing.assert_allclose((corners.reshape(-1, 2) + 0.5) * 25.4 / dpi, expected, atol=0.1)


def test_the_chart_has_a_hundred_colours_a_ramp_and_an_order_by_seed() -> None:
    cells = chart_cells(0).reshape(-1, 3)
    assert len(np.unique(cells, axis=0)) == 100
    assert (cells[:, 0] == cells[:, 1]).sum() >= 16 and ((cells == cells[:, :1]).all(axis=1)).sum() == 16
    assert sorted(map(tuple, cells)) == sorted(map(tuple, chart_cells(1).reshape(-1, 3)))
    assert (cells != chart_cells(1).reshape(-1, 3)).any()
    np.testing.assert_array_equal(board_cells()[:2, :2, 0], [[0, 255], [255, 0]])


def test_calibration_sheets_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not fit on A4"):
        print_targets(tmp_path / "c.pdf", size_mm=400)
    with pytest.raises(InputError, match="a board of 63 mm has markers that printers blur; expected at least 64 mm"):
        print_targets(tmp_path / "c.pdf", size_mm=63)
    with pytest.raises(InputError, match="90X130MM is too small for the calibration sheets"):
        print_targets(tmp_path / "c.pdf", paper="90x130mm")
    assert print_targets(tmp_path / "c.pdf", size_mm=64, paper="a6")[0].cell_mm == 8


# --- proof -----------------------------------------------------------------------------------------------------------------


def test_the_proof_finds_what_is_wrong(patch: Patch, sheet_pdf: Path, tmp_path: Path) -> None:
    """A sheet that carries one layout and shows another: wrong size, wrong colours, markers elsewhere."""
    other = tmp_path / "other.pdf"
    print_sheets(Patch(255 - patch.cells), 98, other)
    import pypdfium2

    # PDFium copies pages, not metadata; so the metadata of a good sheet is put over the pages of the bad one.
    good, bad = sheet_pdf.read_bytes(), other.read_bytes()
    keywords = good[good.index(b"/Keywords") : good.index(b"/ModDate")]
    start, end = bad.index(b"/Keywords"), bad.index(b"/ModDate")
    forged = tmp_path / "forged.pdf"
    forged.write_bytes(bad[:start] + keywords + bad[end:])
    assert len(pypdfium2.PdfDocument(forged)) == 1  # its table of places is off now, which PDFium mends
    layouts = carried_layouts(forged)
    assert layouts[0].patch.width_mm == 100
    with pytest.raises(InputError, match="has 1 pages, not page 2"):
        verify_sheets(forged, patch)
    single = tmp_path / "single.pdf"
    print_sheets(patch, 100, single)
    good = single.read_bytes()
    forged.write_bytes(bad[:start] + good[good.index(b"/Keywords") : good.index(b"/ModDate")] + bad[end:])
    (proof,) = verify_sheets(forged, patch)
    text = "; ".join(proof.problems)
    assert "steps off its colour" in text and "the QR code is unreadable or does not match" in text


def test_the_proof_is_of_the_right_patch(sheet_pdf: Path, vivid: Patch) -> None:
    with pytest.raises(InputError, match=f"not {vivid.id}"):
        verify_sheets(sheet_pdf, vivid)


def test_too_many_cells_to_carry_need_the_run(tmp_path: Path) -> None:
    patch = Patch(np.random.default_rng(0).integers(0, 256, (70, 70, 3), dtype=np.uint8))
    out = tmp_path / "fine.pdf"
    print_sheets(patch, 140, out)
    with pytest.raises(InputError, match="pass the run"):
        verify_sheets(out)
    assert verify_sheets(out, patch)[0].problems == ()
    plain = PrintingCondition.identity()
    with pytest.raises(InputError, match="pass the run"):
        save_soft_proof(out, plain)
    assert not save_soft_proof(out, plain, patch).out_of_gamut.any()


def test_measured_rulers_become_the_true_size(sheet_pdf: Path, patch: Patch) -> None:
    assert measured_scale(sheet_pdf) is None and printed_layouts(sheet_pdf) == carried_layouts(sheet_pdf)
    store_measured(sheet_pdf, (99.2, 99.4))
    assert measured_scale(sheet_pdf) == pytest.approx((0.992, 0.994))
    assert printed_layouts(sheet_pdf)[0].patch.width_mm == pytest.approx(99.2)
    assert not forget_measured(sheet_pdf)  # the same file still
    print_sheets(patch, 90, sheet_pdf)
    with pytest.raises(InputError, match="earlier version"):
        printed_layouts(sheet_pdf)
    assert forget_measured(sheet_pdf) and measured_scale(sheet_pdf) is None


def test_rulers_that_no_printer_makes(sheet_pdf: Path) -> None:
    with pytest.raises(InputError, match="rulers of 100 x 100 mm cannot measure"):
        store_measured(sheet_pdf, (9.92, 9.94))


def test_a_broken_note(sheet_pdf: Path) -> None:
    store_measured(sheet_pdf, (99.2, 99.4)).write_text('{"scale_x": "wide"}')
    with pytest.raises(InputError, match="delete it and measure again"):
        printed_layouts(sheet_pdf)
    sheet_pdf.with_suffix(".measured.json").write_text("{")
    assert forget_measured(sheet_pdf) and measured_scale(sheet_pdf) is None  # a sheet printed anew needs it no more


# --- the file --------------------------------------------------------------------------------------------------------------


def test_the_pdf_says_what_it_is(sheet_pdf: Path, patch: Patch) -> None:
    data = sheet_pdf.read_bytes()
    assert b"/PrintScaling /None" in data
    assert b"/OutputIntents" in data and b"sRGB" in data
    assert len(data) < 200_000
    layouts = carried_layouts(sheet_pdf)
    assert [layout.kind for layout in layouts] == ["patch", "grey", "random"]
    assert layouts[0].patch_id == patch.id and layouts[1].patch_id == patch.control("grey").id
    np.testing.assert_array_equal(layouts[0].cells, patch.cells)


def test_the_output_intent_holds_a_profile_that_opens(sheet_pdf: Path) -> None:
    """Read by Poppler's tool where it is there; the profile itself by LittleCMS."""
    import io
    import re
    import zlib
    from base64 import a85decode

    from PIL import ImageCms

    data = sheet_pdf.read_bytes()
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", data, re.DOTALL):
        for unpack in (
            lambda raw: zlib.decompress(raw),
            lambda raw: zlib.decompress(a85decode(raw.strip(), adobe=False)),
        ):
            try:
                found.append(unpack(stream.strip()))
            except (ValueError, zlib.error):
                continue
    profiles = [text for text in found if text[36:40] == b"acsp"]
    assert len(profiles) == 1
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.getOpenProfile(io.BytesIO(profiles[0])))


def test_the_same_patch_gives_the_same_bytes(patch: Patch, sheet_pdf: Path, tmp_path: Path) -> None:
    again = tmp_path / "again" / sheet_pdf.name  # the name is printed
    print_sheets(patch, 100, again, controls=("grey", "random"))
    assert again.read_bytes() == sheet_pdf.read_bytes()


@pytest.mark.parametrize("size", [100, 300])
@pytest.mark.parametrize(
    ("name", "printed"),
    [("my sheet", "'my sheet.pdf'"), ("long" * 20, "FILE.pdf"), ("\N{HIRAGANA LETTER A}", "FILE.pdf")],
)
def test_the_sheet_says_how_to_save_its_own_measurement(
    size: int, name: str, printed: str, patch: Patch, tmp_path: Path
) -> None:
    """Without the name of the PDF, the command stored what was measured on it for the latest run's."""
    print_sheets(patch, size, tmp_path / f"{name}.pdf")
    assert f"physpatch print --measured WxH --out {printed}" in words_of(tmp_path / f"{name}.pdf")


def test_a_name_is_printed_only_in_letters_that_the_font_has(patch: Patch, tmp_path: Path) -> None:
    for name, printed in (("caf\N{LATIN SMALL LETTER E WITH ACUTE}", True), ("\N{HIRAGANA LETTER A}", False)):
        print_sheets(replace(patch, target={"index": 0, "name": name}), 100, tmp_path / "sheet.pdf")
        assert (f", target {name} - 100 x 100 mm" in words_of(tmp_path / "sheet.pdf")) == printed
        assert (", target" in words_of(tmp_path / "sheet.pdf")) == printed


def test_a_preview_shows_the_pages(sheet_pdf: Path, patch: Patch, tmp_path: Path) -> None:
    with Image.open(save_preview(sheet_pdf)) as picture:
        assert picture.width > 2 * picture.height * 0.9  # three A4 pages in a row
    poster = tmp_path / "poster.pdf"
    print_sheets(patch, 1000, poster)
    with Image.open(save_preview(poster)) as picture:
        assert max(picture.size) <= 2400


def test_bad_pdfs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        rasterise(tmp_path / "none.pdf", 100)
    (tmp_path / "text.pdf").write_text("hello")
    with pytest.raises(InputError, match="not a readable PDF"):
        carried_layouts(tmp_path / "text.pdf")


def test_a_damaged_page_is_named(sheet_pdf: Path) -> None:
    whole = sheet_pdf.read_bytes()
    begin = whole.index(b"/BleedBox") - len(b"6 0 obj\n<<\n")  # of the first page
    end = whole.index(b"endobj", begin)
    sheet_pdf.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    with pytest.raises(InputError, match=r"page 1 of .* is damaged; restore it"):
        rasterise(sheet_pdf, 50)


def test_a_page_that_is_not_there(sheet_pdf: Path) -> None:
    with pytest.raises(InputError, match="has 3 pages, not page 4"):
        rasterise(sheet_pdf, 50, 3)


@pytest.mark.parametrize("scale", ['"wide"', "NaN", "true", "40.0"])
def test_a_measurement_that_cannot_be_is_refused(scale: str, sheet_pdf: Path) -> None:
    note = store_measured(sheet_pdf, (99.2, 99.4))
    text = note.read_text()
    note.write_text(re.sub(r'("scale_x": )[\d.]+', rf"\g<1>{scale}", text))
    with pytest.raises(InputError, match="is not a measurement of printed rulers"):
        measured_scale(sheet_pdf)
    note.write_text("[1]")
    assert forget_measured(sheet_pdf) and not note.exists()
