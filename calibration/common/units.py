"""Parse lengths with units."""

import re

from calibration.common.errors import InputError

MM_PER_INCH = 25.4
_MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": MM_PER_INCH, '"': MM_PER_INCH}
_LENGTH = re.compile(r'\s*(\d+(?:\.\d+)?|\.\d+)\s*(mm|cm|m|in|")\s*', re.IGNORECASE)


def parse_length_mm(text: str) -> float:
    """Convert text such as ``10cm``, ``4 in``, ``0.1 m`` or ``95mm`` to millimetres.

    Raises:
        InputError: if it is not a positive number with one of the units mm, cm, m or in.
    """
    match = _LENGTH.fullmatch(text)
    length_mm = float(match[1]) * _MM_PER_UNIT[match[2].lower()] if match else 0.0
    if length_mm <= 0:
        raise InputError(
            f"length {text!r} not understood; expected a positive number with mm, cm, m or in, such as 10cm"
        )
    return length_mm
