"""The PDF document: layout metadata, colour intent and no scaling."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import ImageCms
from reportlab.pdfbase import pdfdoc
from reportlab.pdfgen.canvas import Canvas

from calibration.common.files import atomic_path
from calibration.sheet.layout import SheetLayout, layouts_to_json

_ICC_DATE, _ICC_ID = slice(24, 36), slice(84, 100)  # header fields that change with the date


@contextmanager
def new_document(out: Path, title: str, layouts: Sequence[SheetLayout]) -> Iterator[Canvas]:
    """Yield a canvas, and write its PDF to ``out`` if the block succeeds; equal input gives equal bytes.

    Args:
        out: the PDF.
        title: of the document.
        layouts: of the sheets, which the metadata stores.
    """
    with atomic_path(out) as temporary:
        canvas = Canvas(str(temporary), invariant=True)
        canvas.setTitle(title)
        canvas.setCreator("physpatch")
        canvas.setKeywords(layouts_to_json(tuple(layouts)))
        # Not every print dialog respects this hint, so sheets also have rulers.
        canvas.setViewerPreference("PrintScaling", "None")
        _declare_srgb(canvas)
        yield canvas
        canvas.save()


def _declare_srgb(canvas: Canvas) -> None:
    """Declare the colours as sRGB with an output intent.

    The printer driver still converts them to ink in its own way, which `calibrate colour` measures.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_ICC_DATE] = b"\x07\xd0\x00\x01\x00\x01" + bytes(6)
    profile[_ICC_ID] = bytes(16)
    document = canvas._doc
    stream = pdfdoc.PDFStream(
        pdfdoc.PDFDictionary({"N": 3}), bytes(profile), filters=[pdfdoc.PDFZCompress] if canvas._pageCompression else []
    )
    intent = pdfdoc.PDFDictionary(
        {
            "Type": pdfdoc.PDFName("OutputIntent"),
            "S": pdfdoc.PDFName("GTS_PDFA1"),
            "OutputConditionIdentifier": pdfdoc.PDFString("sRGB IEC61966-2.1"),
            "DestOutputProfile": document.Reference(stream),
        }
    )
    catalog = document.Catalog
    catalog.__NoDefault__ = [*catalog.__NoDefault__, "OutputIntents"]
    catalog.OutputIntents = pdfdoc.PDFArray([document.Reference(intent)])
