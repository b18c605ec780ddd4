"""Atomic file writes, folders to write in, checksums, JSON and TOML."""

import fcntl
import hashlib
import json
import lzma
import os
import re
import struct
import tempfile
import time
import tomllib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.common.errors import InputError

DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,
)
"""What :mod:`zipfile`, and NumPy with it, raise for an archive that is damaged, cut off or packed in an unknown way."""
_TEMPORARY = re.compile(r"\..*\.physpatch-([1-9][0-9]*)(\..*)?")
_ABANDONED_S = 2.0
_LEAST_BYTES = 4096  # an empty file needs no space on a full disk


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; rename it to ``path`` if the block succeeds, else delete it.

    The temporary name keeps the suffix, from which image and video writers choose their format. A device or pipe, such as
    ``/dev/stdout``, is written directly.

    Raises:
        OSError: what prevented it; it names ``path``.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        with naming(path):
            yield path
        return
    temporary = temporary_name(path)
    with naming(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent.resolve())
        try:
            yield temporary
            if not temporary.is_symlink():
                with open(temporary, "rb") as written:  # a rename may reach the disk before what it names
                    os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside ``path``, of this process, with the same suffix."""
    return path.with_name(f".{path.stem}.physpatch-{os.getpid()}{path.suffix}")


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes left under temporary names, once for each folder, as scanning a large one takes time.

    What was written a moment ago stays: a process in a container, or on another machine, may write it.
    """
    with suppress(OSError):
        for entry in folder.iterdir():
            named = _TEMPORARY.fullmatch(entry.name)
            if named is None or _runs(int(named[1])):
                continue
            with suppress(OSError):
                if time.time() - entry.lstat().st_mtime > _ABANDONED_S:
                    entry.unlink()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


@contextmanager
def naming(path: Path, stand_in: Path | None = None) -> Iterator[None]:
    """Name ``path`` in errors of the block that name no file, as those of a full disk, or that name ``stand_in``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, stand_in, str(stand_in)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def require_writable(folder: Path, *, file: Path | None = None, cure: str = "use another --out") -> None:
    """Check that files can be written in a folder, or that it can be made where it does not exist; nothing is left there.

    Args:
        folder: to write in.
        file: in the folder, which the message names in its place.
        cure: what to do, for the message.

    Raises:
        InputError: if they cannot; the message says why.
    """
    existing = next(place for place in (folder, *folder.parents, Path()) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as tried:
            tried.write(bytes(_LEAST_BYTES))
    except OSError as error:
        raise InputError(f"{file or folder} cannot be written ({error.strerror}); {cure}") from error


def require_writable_file(path: Path, *, cure: str = "use another --out") -> None:
    """Check that a file can be written or replaced; see :func:`require_writable`."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        if not os.access(path, os.W_OK):  # a device or a pipe, which cannot be tried
            raise InputError(f"{path} cannot be written; {cure}")
        return
    require_writable(path.parent, file=path, cure=cure)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while the block writes there; create the folder, if it does not exist.

    The claim ends with the process, however it ends, and leaves nothing behind. An empty folder that the block was the first
    to need is removed. On file systems without locks, nobody is kept out.

    Raises:
        InputError: if another process has claimed the folder, or it cannot be written.
    """
    require_writable(folder)
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, f"another physpatch is writing in {folder}; wait until it has ended, or use another --out")
        yield
    finally:
        os.close(handle)
        if not existed:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def require_unclaimed(folder: Path) -> None:
    """Check that no process writes in a folder that it has :func:`claimed`; nothing is written for that.

    Raises:
        InputError: if one does.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, f"another physpatch is writing in {folder}; end it, or wait until it has ended")
    finally:
        os.close(handle)


def _lock(handle: int, refusal: str) -> None:
    """Lock an open folder, where its file system has locks; ``refusal`` is the error's text if another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(refusal) from error
    except OSError:
        pass  # as on some network file systems


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))  # names of files may not be UTF-8


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) RGB uint8 image atomically, in the format of the path's suffix."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, cure: str = "restore it from a backup, or create it again") -> Any:
    """Read a JSON file; ``cure`` says what to do if it is damaged.

    Raises:
        InputError: if the file is missing, unreadable or not valid JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"no file {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}); {cure}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits, deep nesting
        raise InputError(f"{path} is not valid JSON; {cure}") from error


def read_toml(path: Path, cure: str = "see the documentation for an example") -> dict[str, Any]:
    """Read a TOML file; ``cure`` says what to do if it is missing or damaged.

    Raises:
        InputError: if the file is missing, unreadable or not valid TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"no file {path}; {cure}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also of what is not UTF-8
        raise InputError(f"{path} is not valid TOML ({error}); {cure}") from error
