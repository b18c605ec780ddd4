"""Work for the workers of a Ray cluster, which import this module: little stands at its top, so that they start soon."""

import os
from pathlib import Path
from typing import Any

from calibration.common.errors import InputError


def die_once(item: tuple[str, int]) -> int:
    """Take the worker down at the first try of an odd item."""
    folder, number = item
    marker = Path(folder) / f"{number}"
    if number % 2 and not marker.exists():
        marker.touch()
        os._exit(1)
    return number * number


def refuse(item: int) -> int:
    raise InputError(f"no photographs for {item}")


def measure_in_few_views(cell: Any) -> Any:
    """A bench's cell as the fixture ``few_views`` has it, of which a worker knows nothing."""
    from support import measure_briefly

    from physpatch.benchmark.runner import measure_cell

    measure_briefly()
    return measure_cell(cell)
