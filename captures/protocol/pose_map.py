"""Success by distance and yaw, for each sheet."""

from dataclasses import dataclass

from captures.protocol.plan import PoseGrid
from captures.storage import FrameRow


@dataclass
class Cell:
    """Counts for one sheet in one pose cell.

    Attributes:
        frames: all frames.
        judged: frames whose success is known.
        hits: successes.
    """

    frames: int = 0
    judged: int = 0
    hits: int = 0


class PoseMap:
    """Count one model's frames and successes by sheet and pose cell, as they arrive."""

    def __init__(self, grid: PoseGrid) -> None:
        self.grid = grid
        self.cells: dict[str, dict[tuple[int, int], Cell]] = {}

    def add(self, row: FrameRow) -> None:
        """Count one row; a row without a pose is ignored."""
        where = self.grid.cell(row.distance_m, row.yaw_deg)
        if where is None:
            return
        cell = self.cells.setdefault(row.condition, {}).setdefault(where, Cell())
        cell.frames += 1
        if row.success is not None:
            cell.judged += 1
            cell.hits += row.success
