"""Errors in a user's own code, in one line with its file and line."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calibration.common.errors import InputError, PhyspatchError, first_line, lacks_memory

_INSTALLED = ("site-packages", "dist-packages")
_TORCHSCRIPT = "The following operation failed in the TorchScript interpreter"
_HOUSE = Path(__file__).parents[2]
_OURS = tuple(_HOUSE / name for name in ("calibration", "captures", "cli.py", "physpatch", "printouts"))
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


@contextmanager
def in_one_line(what: str, cure: str = "") -> Iterator[None]:
    """Turn whatever a user's code raises in the block into one line: ``what``, the error in words, and a cure.

    Errors that are in words already pass, and so does a lack of memory, which is not the code's fault.

    Raises:
        InputError: the code raised something else.
    """
    try:
        yield
    except PhyspatchError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        if lacks_memory(error):
            raise
        raise InputError(f"{what}: {in_words(error)}{cure and f'; {cure}'}") from error


def in_words(error: BaseException, most: int = 160) -> str:
    """Describe an error: its kind, its first line, and where in the user's own files it was raised, as far as one was."""
    lines = str(error).strip().splitlines()
    if lines and lines[0].startswith(_TORCHSCRIPT):
        return f"{lines[-1][:most]}{place_of(error)}"  # with its own kind; what lies between is the program's code
    words = first_line(error, most) if lines else ""
    text = f"{type(error).__name__}: {words}" if words and words != type(error).__name__ else type(error).__name__
    return f"{text}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """Return the last place in the user's own files that an error passed, in brackets; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno and _is_own(error.filename):
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_own(file: str) -> bool:
    path = Path(file)
    if file.startswith("<") or any(part in _INSTALLED for part in path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in (*_OURS, *_LIBRARIES))
