"""Packages that only some models, data sets or logs need, which are installed by an extra of physpatch."""

from importlib import import_module
from typing import Any

from calibration.common.errors import UnavailableError


def import_extra(package: str, extra: str, needed_by: str = "this model") -> Any:
    """Import a package of an extra; ``needed_by`` says what needs it.

    Raises:
        UnavailableError: it is not installed; the message names the extra.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UnavailableError(
            f"{needed_by} needs {package.partition('.')[0]} ({error}); pip install 'physpatch[{extra}]'"
        ) from error
