"""The split between photographs for training and for evaluation, decided by each photograph's content alone.

The end of a file's SHA-256, read as a fraction in [0, 1), is the photograph's position. A photograph whose position is below
the held-out share is never trained on: not in another folder or list, not under another seed, not for another task. A
shuffled split cannot promise that, because what it holds out depends on the rest of the list.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from calibration.common.errors import InputError
from calibration.common.files import file_sha256

_DIGITS = 16  # hexadecimal digits of a SHA-256 that name a photograph: 64 bits


class DetectorParts(NamedTuple):
    """The three disjoint parts of the photographs for making an embedded detector; ``watched`` is for validation."""

    train: list[Path]
    watched: list[Path]
    test: list[Path]


TEST_BELOW, WATCHED_BELOW = (
    0.5,
    0.6,
)  # positions: the default held-out part of runs, then the validation part of a detector


def content_id(path: Path) -> str:
    """Name a photograph by its bytes: the last 16 hexadecimal digits of the file's SHA-256.

    Raises:
        InputError: the file is missing or cannot be read.
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
    """Compute a photograph's position in [0, 1) from its content; equal files have equal positions."""
    return int(content_id(path), 16) / 16**_DIGITS


def is_held_out(path: Path, share: float) -> bool:
    """Tell whether a photograph is held out where ``share`` of all photographs are."""
    return position(path) < share


def detector_parts(paths: Iterable[Path]) -> DetectorParts:
    """Split photographs for making a detector that patches will be measured on.

    Its test part is the one that runs hold out by default, so that no patch is measured on photographs that its victim was
    trained on.
    """
    parts = DetectorParts([], [], [])
    for path in paths:
        fraction = position(path)
        (parts.test if fraction < TEST_BELOW else parts.watched if fraction < WATCHED_BELOW else parts.train).append(
            path
        )
    return parts


def refuse_overlap(measured: Sequence[Path], learned: Collection[str], learner: str, cure: str) -> None:
    """Refuse to measure on photographs that something was trained on.

    Args:
        measured: the photographs to measure on.
        learned: :func:`content_id` of every photograph that was trained on.
        learner: name of what was trained, for the message: "this run", "the network signs".
        cure: what the user can do.

    Raises:
        InputError: at least one photograph is on both sides.
    """
    shared = [path for path in dict.fromkeys(measured) if content_id(path) in learned]
    if shared:
        raise InputError(
            f"{learner} was trained on {len(shared)} of the {len(dict.fromkeys(measured))} photographs to measure on, such as "
            f"{shared[0].name}; {cure}"
        )
