"""Parse lengths with units, and check numbers that were read from files, where any value may stand in their place."""

import math
import re
from typing import Any

from calibration.common.errors import InputError

MM_PER_INCH = 25.4
_MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": MM_PER_INCH, '"': MM_PER_INCH}
_LENGTH = re.compile(r'\s*(\d+(?:\.\d+)?|\.\d+)\s*(mm|cm|m|in|")\s*', re.IGNORECASE)
_NOTHING = re.compile(r'\s*0+(?:\.0*)?\s*(mm|cm|m|in|")?\s*', re.IGNORECASE)


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


def parse_margin_mm(text: str) -> float:
    """Convert text as :func:`parse_length_mm` does, and ``0`` with or without a unit to 0."""
    return 0.0 if _NOTHING.fullmatch(text) else parse_length_mm(text)


def finite(value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a number as it is.

    Raises:
        ValueError: what is no finite number from ``low`` to ``high``; a truth value is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r:.40} is not a number")
    if not low <= value <= high or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is out of range")
    return value


def whole(value: Any, low: int, high: int) -> int:
    """Return a whole number as it is; raise ValueError for another value."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r:.40} is not a whole number")
    if not low <= value <= high:
        raise ValueError(f"{value!r:.40} is out of range")
    return value


def finite_pair(values: Any, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """Return two numbers, each as :func:`finite` does; raise ValueError or TypeError for other values."""
    first, second = values
    return finite(first, low, high), finite(second, low, high)
