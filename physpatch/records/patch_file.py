"""The patch file: a grid of sRGB cells with its target and provenance. Torch-free, so that printing starts quickly."""

import hashlib
import io
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calibration.common.errors import InputError
from calibration.common.files import read_json, write_json, write_picture

PATCH_VERSION = 1
CONTROLS = ("grey", "random", "shuffled")
PIXEL = "pixel"  # names the grid with one cell per pixel of the image
MAX_CELLS = 512  # per side; a 32x32 patch is already hard to print, and more than this is probably a typo
_PNG_CELL_PX = 32
_MID_GREY = 128


@dataclass(frozen=True, eq=False)
class Patch:
    """A grid of flat colours.

    Attributes:
        cells: (rows, columns, 3) uint8, sRGB.
        target: ``{"index": int, "name": str}`` or None for an untargeted patch.
        provenance: how it was made, as arbitrary JSON.
    """

    cells: NDArray[np.uint8]
    target: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = self.cells
        if not isinstance(cells, np.ndarray) or cells.dtype != np.uint8 or cells.ndim != 3 or cells.shape[2] != 3:
            raise InputError("patch cells must be a (rows, columns, 3) uint8 array")
        check_grid(cells.shape[:2])
        if self.target is not None and not (isinstance(self.target, dict) and {"index", "name"} <= self.target.keys()):
            raise InputError("a patch's target must be null or an object with index and name")

    @property
    def grid(self) -> tuple[int, int]:
        """Return the number of rows and columns."""
        rows, columns = self.cells.shape[:2]
        return rows, columns

    @property
    def id(self) -> str:
        """Compute the id, twelve hexadecimal digits of the SHA-256 of shape and cells: equal patches have equal ids."""
        return hashlib.sha256(repr(self.grid).encode() + self.cells.tobytes()).hexdigest()[:12]

    def control(self, kind: str, seed: int = 0) -> "Patch":
        """Create a harmless patch of the same grid: plain ``grey``, ``random`` colours, or these cells ``shuffled``.

        A control covers the same part of the picture, so only what the patch does beyond it is due to the attack.

        Raises:
            InputError: unknown kind.
        """
        generator = np.random.default_rng(seed)
        if kind == "grey":
            cells = np.full_like(self.cells, _MID_GREY)
        elif kind == "random":
            cells = generator.integers(0, 256, self.cells.shape, dtype=np.uint8)
        elif kind == "shuffled":
            flat = self.cells.reshape(-1, 3)
            cells = flat[generator.permutation(len(flat))].reshape(self.cells.shape)
        else:
            raise InputError(f"unknown control {kind!r}; expected one of {', '.join(CONTROLS)}")
        return Patch(cells, None, {"control": kind, "seed": seed, "of": self.id})

    def picture(self, cell_px: int = _PNG_CELL_PX) -> NDArray[np.uint8]:
        """Render the patch as a picture (rows * cell_px, columns * cell_px, 3), RGB uint8."""
        return self.cells.repeat(cell_px, axis=0).repeat(cell_px, axis=1)

    def save(self, folder: Path) -> None:
        """Write ``patch.json`` and ``patch.png`` into ``folder``."""
        write_picture(Path(folder) / "patch.png", self.picture())
        record = {"physpatch_patch": PATCH_VERSION, "id": self.id, "target": self.target, "provenance": self.provenance}
        write_json(Path(folder) / "patch.json", record | {"grid": self.cells.tolist()})

    @classmethod
    def load(cls, path: Path) -> "Patch":
        """Read ``patch.json``, or the one inside a run folder.

        Raises:
            InputError: the file is missing, truncated or not a patch.
        """
        path = Path(path)
        path = path / "patch.json" if path.is_dir() else path
        cure = f"restore it from a backup{_written_again(path.parent)}"
        record = read_json(path, cure)
        try:
            grid = np.array(record["grid"])
            if grid.dtype.kind not in "iu" or grid.min(initial=0) < 0 or grid.max(initial=0) > 255:
                raise ValueError("grid must hold whole numbers from 0 to 255")
            return cls(grid.astype(np.uint8), record.get("target"), record.get("provenance") or {})
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} is not a patch file: expected a grid of rows x columns x 3 sRGB integers ({error}); {cure}"
            ) from error

    def _repr_png_(self) -> bytes:
        """Show the patch as a picture in a notebook."""
        buffer = io.BytesIO()
        Image.fromarray(self.picture()).save(buffer, format="png")
        return buffer.getvalue()


def _written_again(folder: Path) -> str:
    """Say in words how the patch of a run is made again; empty where that is not known."""
    try:
        imported = read_json(folder / "run.json").get("imported")
    except (InputError, AttributeError):  # no run, or a damaged one
        return ""
    if imported is not None:
        return ", or import the picture again to another --out"
    return f", or have it written again: `physpatch train --resume --out {shlex.quote(str(folder))}`"


def check_grid(grid: tuple[int, ...]) -> None:
    """Refuse grids that are empty or absurdly large.

    Raises:
        InputError: such a grid.
    """
    if len(grid) != 2 or not all(1 <= n <= MAX_CELLS for n in grid):
        raise InputError(
            f"grid {'x'.join(map(str, grid))} is not usable; expected ROWSxCOLUMNS, each 1 to {MAX_CELLS}, like 10x10"
        )


def parse_grid(text: str) -> tuple[int, int]:
    """Parse ``10x10`` into (10, 10).

    Raises:
        InputError: not a grid.
    """
    try:
        rows, columns = (int(number) for number in text.lower().split("x"))
    except ValueError:
        raise InputError(f"grid {text!r} not understood; expected ROWSxCOLUMNS like 10x10") from None
    check_grid((rows, columns))
    return rows, columns


def check_grid_name(text: str) -> str:
    """Return a grid such as ``10x10``, or :data:`PIXEL`, unchanged.

    Raises:
        InputError: neither.
    """
    if text != PIXEL:
        parse_grid(text)
    return text
