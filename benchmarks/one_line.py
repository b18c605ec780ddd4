"""Runs a bench so that what its user can mend is said in one line; shared by all that read photographs, runs or models."""

import sys
from collections.abc import Callable
from pathlib import Path

from calibration.common.errors import PhyspatchError


def run_main(main: Callable[[], None]) -> None:
    """Run ``main``; where it refuses what it was given, say why in one line, and end with the code of a wrong option."""
    try:
        main()
        return
    except PhyspatchError as error:
        reason = str(error)
    except FileNotFoundError as error:
        reason = f"no file {error.filename}" if error.filename else str(error)
    print(f"{Path(sys.argv[0]).name}: error: {reason}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
