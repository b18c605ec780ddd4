"""Read printed sheets back with PDFium, a renderer independent of the library that draws them."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.files import file_sha256, read_json, write_json
from calibration.common.pictures import MOST_PIXELS, check_size
from calibration.common.units import finite_pair
from calibration.sheet.layout import Rect, SheetLayout, layouts_from_json

_PLAUSIBLE_SCALE = (0.9, 1.1)
_CURE = "restore it from a backup, or print it again with `physpatch print`"


def rasterise(path: Path, dpi: float, page: int = 0) -> NDArray[np.uint8]:
    """Render one page as (H, W, 3) RGB uint8 at ``dpi`` dots per inch, or at fewer if it is too large for ``MOST_PIXELS``.

    Raises:
        InputError: if there is no such file or page, or the file is not a PDF.
    """
    from pypdfium2 import PdfiumError

    document = _open(path)
    try:
        if not 0 <= page < len(document):
            raise InputError(f"{path} has {len(document)} pages, not page {page + 1}")
        sides_in = [points / 72 for points in document[page].get_size()]
        dpi = _fitting(dpi, sides_in)
        try:
            check_size(*(math.ceil(side * dpi) for side in sides_in))
        except InputError as error:  # one side of a damaged page may be next to nothing
            raise InputError(f"page {page + 1} of {path} has {error}; {_CURE}") from error
        bitmap = document[page].render(scale=dpi / 72, rev_byteorder=True)
        return np.ascontiguousarray(bitmap.to_numpy()[..., :3])  # without a copy where it is RGB already
    except PdfiumError as error:
        raise InputError(f"page {page + 1} of {path} is damaged; {_CURE}") from error
    finally:
        document.close()


def page_count(path: Path) -> int:
    """Return the number of pages of a PDF.

    Raises:
        InputError: if there is no such file, or it is not a PDF.
    """
    document = _open(path)
    try:
        return len(document)
    finally:
        document.close()


def rasterise_sheet(path: Path, layout: SheetLayout, first_page: int, dpi: float) -> NDArray[np.uint8]:
    """Render one sheet as (H, W, 3) RGB uint8: its page, or its tiles assembled into the poster.

    Raises:
        InputError: as of :func:`rasterise`, or if the pages are not those of the layout.
    """
    if not layout.tiles:
        return rasterise(path, dpi, first_page)
    dpi = _fitting(dpi, [side / 25.4 for side in layout.page_mm])
    per_mm = dpi / 25.4
    width, height = (round(side * per_mm) for side in layout.page_mm)
    glued = np.full((height, width, 3), 255, dtype=np.uint8)
    for number, tile in enumerate(layout.tiles, start=1):
        page = rasterise(path, dpi, first_page + number)
        part = tile.part
        left, right, top, bottom = (round(at * per_mm) for at in (part.x_mm, part.right_mm, part.y_mm, part.bottom_mm))
        x = round((tile.at_mm[0] + part.x_mm - tile.printed.x_mm) * per_mm)
        y = round((tile.at_mm[1] + part.y_mm - tile.printed.y_mm) * per_mm)
        place, pixels = glued[top:bottom, left:right], page[y : y + bottom - top, x : x + right - left]
        if min(left, top, x, y) < 0 or pixels.shape != place.shape:
            raise InputError(f"page {first_page + number + 1} of {path} is not what its layout says; {_CURE}")
        place[:] = pixels
    return glued


def cropped(raster: NDArray[np.uint8], layout: SheetLayout, area: Rect) -> NDArray[np.uint8]:
    """Cut an area of a sheet out of its raster by :func:`rasterise_sheet`; what lies beyond its edges is left out."""
    across, down = raster.shape[1] / layout.page_mm[0], raster.shape[0] / layout.page_mm[1]
    left, right = (max(0, round(at * across)) for at in (area.x_mm, area.right_mm))
    top, bottom = (max(0, round(at * down)) for at in (area.y_mm, area.bottom_mm))
    return raster[top:bottom, left:right]


def _fitting(dpi: float, sides_in: Sequence[float]) -> float:
    """Return ``dpi``, or as many at which a picture of this size in inches has :data:`MOST_PIXELS`."""
    area = math.prod(sides_in) * 1.001  # its sides are rounded up
    return min(dpi, math.sqrt(MOST_PIXELS / area)) if area > 0 else dpi


def carried_layouts(path: Path) -> tuple[SheetLayout, ...]:
    """Read the layouts of a PDF's sheets, as planned, from the metadata that ``physpatch print`` wrote.

    Raises:
        InputError: if there is no such file, it is not a PDF, or another program made it.
    """
    document = _open(path)
    try:
        return layouts_from_json(document.get_metadata_value("Keywords"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    finally:
        document.close()


def printed_layouts(path: Path) -> tuple[SheetLayout, ...]:
    """Read the layouts in true millimetres: as planned, scaled by what the user measured on the printed rulers, if anything.

    Raises:
        InputError: as :func:`carried_layouts`, or if the measurement belongs to an earlier version of the file.
    """
    layouts = carried_layouts(path)
    scale = measured_scale(path)
    return layouts if scale is None else tuple(layout.printed(scale) for layout in layouts)


def store_measured(path: Path, rulers_mm: tuple[float, float]) -> Path:
    """Save the measured lengths of the printed rulers, across and down, in a file beside the PDF; return its path.

    Raises:
        InputError: if the PDF is not a physpatch sheet, or the lengths are implausible.
    """
    layout = carried_layouts(path)[0]
    planned = (layout.ruler_x.width_mm, layout.ruler_y.height_mm)
    scale = tuple(measured / length for measured, length in zip(rulers_mm, planned, strict=True))
    low, high = _PLAUSIBLE_SCALE
    if not all(low <= share <= high for share in scale):
        raise InputError(
            f"rulers of {planned[0]:g} x {planned[1]:g} mm cannot measure {rulers_mm[0]:g} x {rulers_mm[1]:g} mm; expected "
            f"{100 * low:g} to {100 * high:g} % of that, across x down, such as 99.2x99.4mm"
        )
    note = _note(path)
    record = {"rulers_mm": rulers_mm, "scale_x": scale[0], "scale_y": scale[1], "pdf_sha256": file_sha256(path)}
    write_json(note, record)
    return note


def measured_scale(path: Path) -> tuple[float, float] | None:
    """Return the printed length of 1 mm, across and down, as saved by :func:`store_measured`; None if nothing was saved.

    Raises:
        InputError: if the saved file is broken or belongs to another version of the PDF.
    """
    note = _note(path)
    if not note.is_file():
        return None
    record = read_json(note)
    try:
        scale = finite_pair((record["scale_x"], record["scale_y"]), *_PLAUSIBLE_SCALE)
        outdated = record["pdf_sha256"] != file_sha256(path)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{note} is not a measurement of printed rulers; delete it and measure again") from error
    if outdated:
        raise InputError(
            f"{note} was measured on an earlier version of {path.name}: measure the rulers of the new print and pass them "
            "to `physpatch print --measured`, or delete that file"
        )
    return scale


def forget_measured(path: Path) -> bool:
    """Delete the saved measurement of a PDF that has since changed; return whether there was one."""
    note = _note(path)
    if not note.is_file():
        return False
    with suppress(InputError):  # one that cannot be read is of no use
        record = read_json(note)
        if isinstance(record, dict) and record.get("pdf_sha256") == file_sha256(path):
            return False
    note.unlink()
    return True


def _note(path: Path) -> Path:
    return Path(path).with_suffix(".measured.json")


def _open(path: Path):  # type: ignore[no-untyped-def]  # pypdfium2 carries no types
    import pypdfium2

    if not Path(path).is_file():
        raise InputError(f"no file {path}")
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise InputError(f"{path} is not a readable PDF; {_CURE}") from error
