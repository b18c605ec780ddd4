"""Check numbers that were read from files, where any value may stand in their place."""

import math
from typing import Any


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
