"""Print the patch of a run: alone, or on the sign that it was trained on."""

from collections.abc import Sequence
from pathlib import Path

from calibration.common.errors import InputError
from calibration.sheet.layout import CUTS, SheetLayout
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from printouts.sheet_pdf import print_on_sign, print_sheets


def print_run(
    patch: Patch,
    config: TrainConfig,
    size_mm: float,
    out: Path,
    *,
    carrier: str | None = None,
    paper: str = "a4",
    controls: Sequence[str] = (),
    cut: str = CUTS[0],
    bleed_mm: float | None = None,
    drawing: Patch | None = None,
) -> tuple[SheetLayout, ...]:
    """Write a PDF with the patch and its controls, on a sign if the run has one.

    Args:
        patch: the patch to print.
        config: of its run; gives the sign, and size and place of the patch on it.
        size_mm: longer side of the patch, or width of the sign.
        out: the PDF.
        carrier: name of a sign to use instead of the run's.
        paper, controls, cut, bleed_mm: as for :func:`printouts.sheet_pdf.print_sheets`.
        drawing: as for :func:`printouts.sheet_pdf.print_on_sign`; without effect for a patch alone.

    Returns:
        The layouts of the sheets.

    Raises:
        InputError: for a cut-out on a sign, and as :func:`print_sheets` and :func:`print_on_sign`.
    """
    sign = carrier or config.object.drawn_sign
    if sign is None:
        return print_sheets(patch, size_mm, out, paper=paper, controls=controls, cut=cut, bleed_mm=bleed_mm)
    if cut != CUTS[0] or bleed_mm is not None:
        raise InputError("a patch on a sign cannot be cut out: omit --cut and --bleed, or print it without --object")
    share, at = config.object.share, config.object.at
    return print_on_sign(patch, sign, size_mm, out, share=share, at=at, paper=paper, controls=controls, drawing=drawing)
