"""Reading printed sheets back: PDFium, a renderer independent of the library that draws them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.errors import InputError
from calibration.sheet import SheetLayout, layouts_from_json


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
        return np.array(bitmap.to_numpy()[..., :3])
    finally:
        document.close()


def carried_layouts(path: Path) -> tuple[SheetLayout, ...]:
    """The layouts of a sheet PDF's pages, as ``physpatch print`` left them in its metadata.

    Raises:
        InputError: no such file, not a PDF, or one from another program.
    """
    document = _open(path)
    try:
        return layouts_from_json(document.get_metadata_value("Keywords"))
    finally:
        document.close()


def _open(path: Path):  # type: ignore[no-untyped-def]  # pypdfium2 carries no types
    import pypdfium2

    if not Path(path).is_file():
        raise InputError(f"no file {path}")
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        raise InputError(f"{path} is not a readable PDF: {error}") from error
