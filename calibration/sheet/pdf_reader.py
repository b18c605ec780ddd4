"""Reading printed sheets back: PDFium, a renderer independent of the library that draws them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.common.files import file_sha256, read_json, write_json
from calibration.sheet.layout import SheetLayout, layouts_from_json

_PLAUSIBLE_SCALE = (0.9, 1.1)


def rasterise(path: Path, dpi: float, page: int = 0) -> NDArray[np.uint8]:
    """Render one page as (H, W, 3) RGB uint8 at ``dpi`` dots per inch.

    Raises:
        InputError: no such file or page, or not a PDF.
    """
    document = _open(path)
    try:
        if not 0 <= page < len(document):
            raise InputError(f"{path} has {len(document)} pages, not page {page + 1}")
        bitmap = document[page].render(scale=dpi / 72, rev_byteorder=True)
        return np.ascontiguousarray(bitmap.to_numpy()[..., :3])  # without a copy where it is RGB already
    finally:
        document.close()


def page_count(path: Path) -> int:
    """How many pages a PDF has.

    Raises:
        InputError: no such file, or not a PDF.
    """
    document = _open(path)
    try:
        return len(document)
    finally:
        document.close()


def rasterise_sheet(path: Path, layout: SheetLayout, first_page: int, dpi: float) -> NDArray[np.uint8]:
    """Render one sheet as (H, W, 3) RGB uint8: its page, or its tiles glued as the assembly map says."""
    if not layout.tiles:
        return rasterise(path, dpi, first_page)
    per_mm = dpi / 25.4
    width, height = (round(side * per_mm) for side in layout.page_mm)
    glued = np.full((height, width, 3), 255, dtype=np.uint8)
    for number, tile in enumerate(layout.tiles, start=1):
        page = rasterise(path, dpi, first_page + number)
        part = tile.part
        left, right, top, bottom = (round(at * per_mm) for at in (part.x_mm, part.right_mm, part.y_mm, part.bottom_mm))
        x = round((tile.at_mm[0] + part.x_mm - tile.printed.x_mm) * per_mm)
        y = round((tile.at_mm[1] + part.y_mm - tile.printed.y_mm) * per_mm)
        glued[top:bottom, left:right] = page[y : y + bottom - top, x : x + right - left]
    return glued


def carried_layouts(path: Path) -> tuple[SheetLayout, ...]:
    """The layouts of a PDF's sheets as planned, as ``physpatch print`` left them in its metadata.

    Raises:
        InputError: no such file, not a PDF, or one from another program.
    """
    document = _open(path)
    try:
        return layouts_from_json(document.get_metadata_value("Keywords"))
    finally:
        document.close()


def printed_layouts(path: Path) -> tuple[SheetLayout, ...]:
    """The layouts in true millimetres: as planned, stretched by what the user measured on the printed rulers, if anything.

    Raises:
        InputError: as :func:`carried_layouts`; or the measurement belongs to an earlier version of the file.
    """
    layouts = carried_layouts(path)
    scale = measured_scale(path)
    return layouts if scale is None else tuple(layout.printed(scale) for layout in layouts)


def store_measured(path: Path, rulers_mm: tuple[float, float]) -> Path:
    """Note beside the PDF what its printed rulers measure, across and down; returns the note's path.

    Raises:
        InputError: not a sheet of physpatch, or lengths that no printer makes of its rulers.
    """
    layout = carried_layouts(path)[0]
    planned = (layout.ruler_x.width_mm, layout.ruler_y.height_mm)
    scale = tuple(seen / length for seen, length in zip(rulers_mm, planned, strict=True))
    low, high = _PLAUSIBLE_SCALE
    if not all(low <= share <= high for share in scale):
        raise InputError(
            f"{rulers_mm[0]:g} x {rulers_mm[1]:g} mm can't be rulers of {planned[0]:g} x {planned[1]:g} mm; expected "
            f"{100 * low:g} to {100 * high:g} % of that, across x down, like 99.2x99.4mm"
        )
    note = _note(path)
    record = {"rulers_mm": rulers_mm, "scale_x": scale[0], "scale_y": scale[1], "pdf_sha256": file_sha256(path)}
    write_json(note, record)
    return note


def measured_scale(path: Path) -> tuple[float, float] | None:
    """What the printer made of 1 mm across and down, as noted by :func:`store_measured`; None where nothing was noted.

    Raises:
        InputError: the note is broken, or was made for another version of the PDF.
    """
    note = _note(path)
    if not note.is_file():
        return None
    record = read_json(note)
    try:
        scale = float(record["scale_x"]), float(record["scale_y"])
        other = record["pdf_sha256"] != file_sha256(path)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{note} is not a measurement of printed rulers; remove it and measure again") from error
    if other:
        raise InputError(
            f"{note} was measured on an earlier version of {path.name}: measure the rulers of the new print and give them "
            "to `physpatch print --measured`, or remove that file"
        )
    return scale


def forget_measured(path: Path) -> bool:
    """Remove the note of a PDF that was written anew as something else; whether there was one."""
    note = _note(path)
    if not note.is_file() or read_json(note).get("pdf_sha256") == file_sha256(path):
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
        raise InputError(f"{path} is not a readable PDF: {error}") from error
