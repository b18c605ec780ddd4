"""Verify a PDF: rasterise it with another library than the one that drew it, measure it and compare."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.qr_label import label_area, parse_label, read_label
from calibration.camera.sheet_pose import make_detector
from calibration.common.errors import InputError
from calibration.sheet.layout import SheetLayout, first_pages
from calibration.sheet.modules import label_text
from calibration.sheet.pdf_reader import carried_layouts, cropped, rasterise, rasterise_sheet
from physpatch.records.patch_file import CONTROLS, Patch
from printouts.measurement import RasterPage, ruler_mm, stretches, worst_step

MEASURE_DPI = 600
READ_DPI = 100
WORST_MM_PER_100 = 0.1
WORST_STEP = 1
_LABEL_PX = 210  # side of a label for reading


@dataclass(frozen=True)
class SheetProof:
    """The measurements of one sheet of a PDF.

    Attributes:
        kind, patch_id, pages: of the sheet.
        planned_mm: width and height of the patch as planned.
        measured_mm: width and height as rasterised; None along an axis without a straight edge.
        rulers_mm: measured length of the rulers, across and down.
        markers_read: number of markers decoded at ``READ_DPI``.
        markers: number of markers of the layout.
        label_read: whether the QR code is readable and agrees with the layout.
        worst_step: largest colour difference of a cell, in 8-bit steps.
        problems: values out of tolerance, in words; empty for a good sheet.
    """

    kind: str
    patch_id: str
    pages: int
    planned_mm: tuple[float, float]
    measured_mm: tuple[float | None, float | None]
    rulers_mm: tuple[float, float]
    markers_read: int
    markers: int
    label_read: bool
    worst_step: int
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return asdict(self)


def verify_sheets(
    path: Path, patch: Patch | None = None, *, on_page: Callable[[int, int], None] = lambda done, total: None
) -> list[SheetProof]:
    """Rasterise and measure every sheet of a PDF.

    Args:
        path: the PDF.
        patch: the patch that it should show; None compares with the colours stored in the PDF.
        on_page: called after each page with the number of pages done and the total.

    Raises:
        InputError: if it is not a PDF of ``physpatch print`` or ``calibrate sheet``, or shows another patch.
    """
    layouts = carried_layouts(path)
    sheet = next((layout for layout in layouts if layout.kind == "patch"), None)
    if patch and sheet and sheet.patch_id != patch.id:
        raise InputError(f"{path} shows patch {sheet.patch_id}, not {patch.id}: print it again, or pass its own run")
    total = sum(layout.pages for layout in layouts)
    proofs = []
    for layout, first in zip(layouts, first_pages(layouts), strict=True):
        cells = shown_cells(path, layout, patch)
        proofs.append(_verify(path, layout, first, cells, lambda page: on_page(page, total)))
    return proofs


def shown_cells(path: Path, layout: SheetLayout, patch: Patch | None) -> NDArray[np.uint8]:
    """Return the cells that a sheet of a PDF should show: those of the patch or its control, or else those stored in the PDF.

    Raises:
        InputError: if the sheet is of another patch and has too many cells to store.
    """
    if patch is not None and layout.kind in ("patch", *CONTROLS):
        expected = patch if layout.kind == "patch" else patch.control(layout.kind)
        if expected.id == layout.patch_id:
            return expected.cells
    if layout.cells is None:
        raise InputError(f"{path} has too many cells to store their colours; pass the run whose patch it shows")
    return layout.cells


def _verify(
    path: Path, layout: SheetLayout, first: int, cells: NDArray[np.uint8], on_page: Callable[[int], None]
) -> SheetProof:
    ratios: tuple[list[float], list[float]] = ([], [])
    worst = 0
    rulers = (0.0, 0.0)
    for number in range(layout.pages):
        raster = rasterise(path, MEASURE_DPI, first + number)
        if number == 0:
            rulers = ruler_mm(raster, layout, 0), ruler_mm(raster, layout, 1)
        if number or not layout.tiles:
            page = RasterPage.of(raster, layout, number)
            worst = max(worst, worst_step(page, cells))
            for axis in (0, 1):
                ratios[axis].extend(stretches(page, cells, axis))
        on_page(first + number + 1)
    planned = (layout.patch.width_mm, layout.patch.height_mm)
    width, height = (
        round(length * float(np.mean(of_lines)), 3) if of_lines else None
        for length, of_lines in zip(planned, ratios, strict=True)
    )
    read = _markers_read(path, layout, first)
    label = _label_read(path, layout, first)
    problems = [
        f"{name} measures {length:.2f} mm instead of {nominal:g}"
        for name, length, nominal in (
            ("width", width, planned[0]),
            ("height", height, planned[1]),
            ("the ruler across", rulers[0], layout.ruler_x.width_mm),
            ("the ruler down", rulers[1], layout.ruler_y.height_mm),
        )
        if length is not None and abs(length - nominal) > WORST_MM_PER_100 * nominal / 100
    ]
    if worst > WORST_STEP:
        problems.append(f"a cell is {worst} steps off its colour")
    if read < len(layout.markers):
        problems.append(f"{len(layout.markers) - read} of {len(layout.markers)} markers cannot be read")
    if not label:
        problems.append("the QR code is unreadable or does not match the sheet")
    return SheetProof(
        kind=layout.kind,
        patch_id=layout.patch_id,
        pages=layout.pages,
        planned_mm=planned,
        measured_mm=(width, height),
        rulers_mm=(round(rulers[0], 3), round(rulers[1], 3)),
        markers_read=read,
        markers=len(layout.markers),
        label_read=label,
        worst_step=worst,
        problems=tuple(problems),
    )


def _markers_read(path: Path, layout: SheetLayout, first: int) -> int:
    grey = cv2.cvtColor(rasterise_sheet(path, layout, first, READ_DPI), cv2.COLOR_RGB2GRAY)
    _, ids, _ = make_detector().detectMarkers(grey)
    decoded = set() if ids is None else {int(i) for i in ids.ravel()}
    return sum(marker.id in decoded for marker in layout.markers)


def _label_read(path: Path, layout: SheetLayout, first: int) -> bool:
    area = label_area(layout)
    raster = rasterise_sheet(path, layout, first, 25.4 * _LABEL_PX / area.width_mm)
    read = read_label(cropped(raster, layout, area))
    return read is not None and read == parse_label(label_text(layout))
