"""The error family. ``cli.py`` alone turns it into one line on stderr and exit code 2."""

import difflib
from collections.abc import Iterable


class PhyspatchError(Exception):
    """Something the person at the keyboard can mend: says what was wrong, what was expected, what to do."""


class InputError(PhyspatchError):
    """A value, file or folder given by the user cannot be used."""


class UnavailableError(PhyspatchError):
    """Something needed is not to be had here: weights without a network, a camera, a display."""


def unknown_name(what: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for a name that is not among the known ones, with near matches named."""
    spelled = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(repr(spelled[k]) for k in near)}?"
    else:
        hint = f"known: {', '.join(list(spelled.values())[:8])}"
    return InputError(f"unknown {what} {name!r}; {hint}")
