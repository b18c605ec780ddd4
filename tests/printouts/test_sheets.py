"""The PDF, measured by renderers that did not draw it."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from calibration.errors import InputError
from calibration.pdf import carried_layouts, rasterise
from calibration.pose import make_detector
from physpatch.artifact import Patch
from printouts import print_sheets

DPI = 300


def poppler(path: Path, dpi: int, folder: Path) -> np.ndarray:
    subprocess.run(["pdftoppm", "-r", str(dpi), "-f", "1", "-l", "1", "-png", path, folder / "page"], check=True)
    with Image.open(next(folder.glob("page*.png"))) as image:
        return np.asarray(image.convert("RGB"))


def measured_mm(raster: np.ndarray, dpi: int) -> tuple[float, float, float, float]:
    """Left, top, width and height of what is coloured (not grey) on the page."""
    spread = raster.astype(int).max(axis=2) - raster.astype(int).min(axis=2)
    rows, columns = np.where((spread > 40).any(axis=1))[0], np.where((spread > 40).any(axis=0))[0]
    mm = 25.4 / dpi
    return columns[0] * mm, rows[0] * mm, (columns[-1] - columns[0] + 1) * mm, (rows[-1] - rows[0] + 1) * mm


@pytest.fixture
def vivid() -> Patch:
    """No grey cell, so that the square can be told from the page by colour alone."""
    cells = np.zeros((10, 10, 3), np.uint8)
    cells[..., 0] = np.arange(100).reshape(10, 10) + 150
    cells[::2, 1::2] = (20, 90, 240)
    return Patch(cells)


@pytest.mark.parametrize("renderer", ["pdfium", "poppler"])
@pytest.mark.parametrize(("size", "paper"), [(100, "a4"), (100, "letter"), (20, "a4"), (250, "a3")])
def test_the_printed_square_measures_what_was_asked(
    renderer: str, size: int, paper: str, vivid: Patch, tmp_path: Path
) -> None:
    out = tmp_path / "sheet.pdf"
    (layout,) = print_sheets(vivid, size, out, paper=paper)
    if renderer == "poppler" and not shutil.which("pdftoppm"):
        pytest.skip("poppler-utils is not installed")
    raster = rasterise(out, DPI) if renderer == "pdfium" else poppler(out, DPI, tmp_path)
    left, top, width, height = measured_mm(raster, DPI)
    assert (width, height) == pytest.approx((size, size), abs=0.2)
    assert (left, top) == pytest.approx((layout.patch.x_mm, layout.patch.y_mm), abs=0.2)


def test_every_cell_has_the_colour_it_was_given(patch: Patch, sheet_pdf: Path) -> None:
    raster = rasterise(sheet_pdf, DPI)
    place = carried_layouts(sheet_pdf)[0].patch
    centers = (np.arange(10) + 0.5) * 10
    rows = ((place.y_mm + centers) * DPI / 25.4).astype(int)
    columns = ((place.x_mm + centers) * DPI / 25.4).astype(int)
    difference = np.abs(raster[np.ix_(rows, columns)].astype(int) - patch.cells.astype(int))
    assert difference.max() <= 1


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


def test_all_markers_decode_at_100_dpi(sheet_pdf: Path) -> None:
    for page, layout in enumerate(carried_layouts(sheet_pdf)):
        corners, ids, _ = make_detector().detectMarkers(
            cv2.cvtColor(rasterise(sheet_pdf, 100, page), cv2.COLOR_RGB2GRAY)
        )
        assert sorted(ids.ravel()) == sorted(m.id for m in layout.markers)
        expected = layout.marker_corners_mm()
        for quad, marker in zip(corners, ids.ravel(), strict=True):
            np.testing.assert_allclose(quad.reshape(4, 2) * 25.4 / 100, expected[int(marker)], atol=0.3)


def test_the_rulers_are_100_mm_long(sheet_pdf: Path) -> None:
    raster, layout, mm = rasterise(sheet_pdf, 600), carried_layouts(sheet_pdf)[0], 600 / 25.4
    row = raster[round(layout.ruler_x.y_mm * mm) - 1 : round(layout.ruler_x.y_mm * mm) + 2].min(axis=(0, 2))
    dark = np.where(row < 100)[0]
    assert (dark[-1] - dark[0]) / mm == pytest.approx(100, abs=0.3)
    edge = layout.ruler_y.x_mm + layout.ruler_y.width_mm
    column = raster[:, round(edge * mm) - 1 : round(edge * mm) + 2].min(axis=(1, 2))
    dark = np.where(column < 100)[0]
    assert (dark[-1] - dark[0]) / mm == pytest.approx(100, abs=0.3)


def test_the_pdf_says_what_it_is(sheet_pdf: Path, patch: Patch) -> None:
    data = sheet_pdf.read_bytes()
    assert b"/PrintScaling /None" in data
    assert len(data) < 200_000
    layouts = carried_layouts(sheet_pdf)
    assert [layout.kind for layout in layouts] == ["patch", "grey", "random"]
    assert layouts[0].patch_id == patch.id and layouts[1].patch_id == patch.control("grey").id


def test_the_same_patch_gives_the_same_bytes(patch: Patch, sheet_pdf: Path, tmp_path: Path) -> None:
    print_sheets(patch, 100, tmp_path / "again.pdf", controls=("grey", "random"))
    assert (tmp_path / "again.pdf").read_bytes() == sheet_pdf.read_bytes()


def test_bad_pdfs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        rasterise(tmp_path / "none.pdf", 100)
    (tmp_path / "text.pdf").write_text("hello")
    with pytest.raises(InputError, match="not a readable PDF"):
        carried_layouts(tmp_path / "text.pdf")


def test_a_page_that_is_not_there(sheet_pdf: Path) -> None:
    with pytest.raises(InputError, match="has 3 pages, not page 4"):
        rasterise(sheet_pdf, 50, 3)
