"""The exceptions of physpatch. Only ``cli.py`` turns them into one line on stderr and exit code 2."""

import difflib
import re
from collections.abc import Iterable

_MOST_LISTED = 8
_NO_MEMORY = re.compile(r"(out of|not enough|allocate) memory|ALLOC_FAILED")  # as torch, CUDA and ONNX Runtime say it


class PhyspatchError(Exception):
    """An error that the user can fix; the message says what is wrong, what was expected and what to do."""


class InputError(PhyspatchError):
    """A value, file or folder that the user gave cannot be used."""


class NewerVersionError(InputError):
    """A file that a newer physpatch wrote: nothing of it can be trusted to mean what it seems to."""


class UnavailableError(PhyspatchError):
    """A resource is not available: weights without a network connection, a camera, a display."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> InputError:
    """Build the error for a name that is not one of ``choices``; the message suggests similar names.

    Args:
        kind: of the thing that is named, in words: ``technique``.
        name: as the user gave it.
        choices: all valid names.
    """
    spelled = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(repr(spelled[choice]) for choice in near)}?"
    else:
        names = list(spelled.values())
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        hint = f"known: {', '.join(names[:_MOST_LISTED])}{more}"
    return InputError(f"unknown {kind} {name!r}; {hint}")


def first_line(error: BaseException, most: int = 160) -> str:
    """Return the beginning of the first line of an error's words, or its kind if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def lacks_memory(error: BaseException) -> bool:
    """Tell whether an error means that there was not enough memory, whichever library raised it."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))
