"""Which photographs a patch may learn from, and which it is measured on: decided by a photograph's content alone.

The end of a file's SHA-256, read as a fraction in [0, 1), is the photograph's position. Below the held-out share it is never
trained on: not in another folder or list, not under another seed, not for another task. A split by shuffling a list cannot
promise that, because what is held out then depends on what else is in the list.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from calibration.common.errors import InputError
from calibration.common.files import file_sha256

_DIGITS = 16  # hexadecimal digits of a SHA-256 that name a photograph: 64 bits


class DetectorParts(NamedTuple):
    """The three disjoint parts of the photographs that an embedded detector is made with."""

    train: list[Path]
    watched: list[Path]
    test: list[Path]


TEST_BELOW, WATCHED_BELOW = 0.5, 0.6  # positions: what runs hold out by default, and what a detector is watched on


def content_id(path: Path) -> str:
    """Name a photograph by its bytes: the last 16 hexadecimal digits of the file's SHA-256.

    Raises:
        InputError: no such file, or it cannot be read.
    """
    try:
        status = path.stat()
        return _content_id(path, status.st_size, status.st_mtime_ns)
    except FileNotFoundError as error:
        raise InputError(f"no image {path}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


@lru_cache(maxsize=65536)
def _content_id(path: Path, _size: int, _modified_ns: int) -> str:
    return file_sha256(path)[-_DIGITS:]


def position(path: Path) -> float:
    """Place a photograph in [0, 1) by its content; equal files have equal positions."""
    return int(content_id(path), 16) / 16**_DIGITS


def is_held_out(path: Path, share: float) -> bool:
    """Tell whether a photograph is kept apart where ``share`` of all photographs are."""
    return position(path) < share


def detector_parts(paths: Iterable[Path]) -> DetectorParts:
    """Sort photographs for making a detector that patches will be measured on.

    Its test part is what runs hold out by default, so that no patch is judged in a photograph that its victim has learned.
    """
    parts = DetectorParts([], [], [])
    for path in paths:
        at = position(path)
        (parts.test if at < TEST_BELOW else parts.watched if at < WATCHED_BELOW else parts.train).append(path)
    return parts


def refuse_overlap(measured: Sequence[Path], learned: Collection[str], learner: str, cure: str) -> None:
    """Refuse to measure on photographs that something has learned from.

    Args:
        measured: what is to be measured on.
        learned: :func:`content_id` of every photograph that was learned from.
        learner: what did, in words: "this run", "the detector signs".
        cure: what the person can do.

    Raises:
        InputError: at least one photograph is on both sides.
    """
    known = [path for path in dict.fromkeys(measured) if content_id(path) in learned]
    if known:
        raise InputError(
            f"{len(known)} of the {len(dict.fromkeys(measured))} photographs to measure on, {known[0].name} for one, are "
            f"among those that {learner} was trained on; {cure}"
        )
