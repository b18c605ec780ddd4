"""Paper sizes and the printer's margin, in millimetres."""

from calibration.common.errors import InputError, unknown_name
from calibration.common.units import parse_length_mm

MARGIN_MM = 5.0  # most printers leave this much blank on every side
PAGES_MM = {
    "a6": (105.0, 148.0),
    "a5": (148.0, 210.0),
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "a1": (594.0, 841.0),
    "a0": (841.0, 1189.0),
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "tabloid": (279.4, 431.8),
}
PATCH_SIZE, SIGN_SIZE = "10cm", "15cm"  # defaults: longer side of a patch, width of a sign
_LARGEST_MM = 5000.0  # PDF readers support at most 14400 points, 5080 mm


def print_options(*, sign: bool) -> tuple[str, ...]:
    """Return the options of ``physpatch print`` for the first sheet of a patch, or of one on a sign, with its controls."""
    return ("--size", SIGN_SIZE if sign else PATCH_SIZE, "--controls")


def page_size_mm(paper: str) -> tuple[float, float]:
    """Return width and height in mm of a named paper in portrait, or of a custom size such as ``300x500mm`` or ``8x10in``.

    Raises:
        InputError: if the name is unknown or the size is impossible.
    """
    if paper.lower() in PAGES_MM:
        return PAGES_MM[paper.lower()]
    if not any(digit in paper for digit in "0123456789") or "x" not in paper.lower():
        raise unknown_name("paper", paper, PAGES_MM)
    width, height = parse_extent_mm(paper)
    if max(width, height) > _LARGEST_MM:
        raise InputError(f"paper {paper!r} is larger than a PDF page can be; expected at most {_LARGEST_MM / 1000:g} m")
    return width, height


def parse_extent_mm(text: str) -> tuple[float, float]:
    """Convert text such as ``300x500mm``, ``30 x 50 cm`` or ``8inx10in`` to width and height in millimetres.

    Raises:
        InputError: if it is not two positive lengths.
    """
    first, _, second = text.lower().partition("x")
    unit = second.strip().lstrip("0123456789. ")
    try:
        if first.strip().replace(".", "", 1).isdigit():
            first = first.strip() + unit
        return parse_length_mm(first), parse_length_mm(second)
    except InputError:
        raise InputError(f"{text!r} not understood; expected WIDTHxHEIGHT with a unit, such as 300x500mm") from None
