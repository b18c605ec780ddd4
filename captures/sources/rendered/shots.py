"""What the pixels record of a scene, and a folder in which it is kept: the same scene is not rendered twice."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.camera import sheet_pose
from calibration.common.files import DAMAGED_ZIP, atomic_path
from captures.sources import held_sheet

_LIMIT_BYTES = 2 * 2**30  # some 1400 shots of 640×480 in a room, 6000 of a sheet before a photograph
_BRIGHTEST = float(np.finfo(np.float16).max)  # a picture of the sun itself may be brighter


@dataclass(frozen=True, eq=False)
class Shot:
    """What the pixels record.

    Attributes:
        light: (H, W, 3) of the sheet and whatever lies before or around it.
        coverage: (H, W), the share of a pixel that these cover; the rest is background.
    """

    light: NDArray[np.float32]
    coverage: NDArray[np.float32]

    def before(self, background: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return what the pixels record, (H, W, 3), with a background where nothing covers it; None for a dark one."""
        return self.light if background is None else self.light + (1 - self.coverage[..., None]) * background

    def rounded(self) -> "Shot":
        """Round to half precision, whose steps of 0.05 % are far below the noise: as it is kept, and so as it always is."""
        light, coverage = self._halved()
        return Shot(light.astype(np.float32), coverage.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write atomically, in half precision and compressed without loss."""
        light, coverage = self._halved()
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, light=light, coverage=coverage)

    def _halved(self) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        return self.light.clip(0, _BRIGHTEST).astype(np.float16), self.coverage.astype(np.float16)

    @classmethod
    def load(cls, path: Path) -> "Shot | None":
        """Read what :meth:`save` wrote; None if it is not there or damaged."""
        try:
            with open(path, "rb") as file, np.load(file) as arrays:  # NumPy leaves a damaged one open
                return cls(arrays["light"].astype(np.float32), arrays["coverage"].astype(np.float32))
        except (OSError, KeyError, *DAMAGED_ZIP):
            return None


class ShotCache:
    """Keeps shots in a folder under the hash of what they show; those not used for longest go when it grows too large.

    Those that this cache was asked for stay whatever their size, so that a scene larger than the limit is not lost again while
    it is rendered: after an interruption it goes on from where it was. They can go once another run renders.
    """

    def __init__(self, folder: Path, *, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes
        self._in_use = set[str]()

    def shot(self, key: str, render: Callable[[], Shot]) -> Shot:
        """Return the shot of this key, rendered if it is not kept yet.

        A folder that cannot be written to, or a full disk, only costs the time to render again.
        """
        path = self._folder / f"{key}.npz"
        self._in_use.add(path.name)
        if (cached_shot := Shot.load(path)) is not None:
            with suppress(OSError):  # another session removed it, or the disk is read-only
                os.utime(path)
            return cached_shot
        shot = render()
        with suppress(OSError):
            shot.save(path)
            self._forget()
        return shot

    def _forget(self) -> None:
        files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in self._folder.glob("*.npz"))
        excess = sum(size for _, size, _ in files) - self._limit_bytes
        for _, size, file in files:
            if excess <= 0:
                return
            if file.name in self._in_use:
                continue
            file.unlink(missing_ok=True)
            excess -= size


def shot_key(*parts: object) -> str:
    """Hash whatever decides what a shot shows: arrays by their values, all else by its ``repr``, and the code that renders."""
    digest = hashlib.sha256(_code_digest())
    for part in _flat(parts):
        if isinstance(part, np.ndarray):
            digest.update(repr((part.shape, part.dtype)).encode())
            digest.update(part.tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _flat(part: object) -> Iterator[object]:
    """Yield NumPy's values in tuples and dataclasses on their own, as their ``repr`` depends on options of printing."""
    if isinstance(part, tuple):
        yield len(part)
        for item in part:
            yield from _flat(item)
    elif is_dataclass(part) and not isinstance(part, type):
        yield type(part).__name__
        for field in fields(part):
            yield from _flat(getattr(part, field.name))
    else:
        yield part.item() if isinstance(part, np.generic) else part


@cache
def _code_digest() -> bytes:
    """Hash the modules that place and render, so that no shot of an earlier version is taken for one of today's."""
    digest = hashlib.sha256()
    outside = (Path(str(module.__file__)) for module in (held_sheet, sheet_pose))
    for module in (*sorted(Path(__file__).parent.rglob("*.py")), *outside):
        digest.update(module.read_bytes())
    return digest.digest()
