"""Pictures inside other files, unpacked to the user's cache folder, where each has a file with the same bytes.

So a photograph is on the same side of the split whether it lies in a folder or in a table.
"""

import hashlib
from pathlib import Path

import platformdirs

from calibration.common.errors import InputError
from calibration.common.files import atomic_path
from calibration.common.pictures import picture_format


def cache_folder() -> Path:
    """Return the folder of what was unpacked. Its content can be made again, so it may be removed."""
    return platformdirs.user_cache_path("physpatch") / "data"


def unpacked(data: bytes, where: str) -> Path:
    """Write a picture to the cache, unless it is there, and return its file.

    Args:
        data: of the picture's file.
        where: it is, for messages.

    Raises:
        InputError: it does not begin like a picture, or is too large, or the cache cannot be written.
    """
    try:
        suffix = picture_format(data).lower()
    except InputError as error:
        raise InputError(f"broken picture in {where} ({error}); leave it out") from error
    digest = hashlib.sha256(data).hexdigest()
    path = cache_folder() / "pictures" / digest[:2] / f"{digest[2:]}.{suffix}"
    if not path.is_file() or path.stat().st_size != len(data):
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise InputError(
                f"{where} cannot be unpacked to {cache_folder()} ({error.strerror}); make room there, or allow to write there"
            ) from error
    return path
