"""Where success was: distance by yaw, sheet by sheet."""

from dataclasses import dataclass

from captures.protocol.plan import PoseGrid
from captures.storage import FrameRow


@dataclass
class Cell:
    """Frames of one sheet in one pose cell; ``hits`` of them, where success can be said, were successes."""

    frames: int = 0
    judged: int = 0
    hits: int = 0


class PoseMap:
    """A classifier's frames, or a detector's, sorted into pose cells as they come."""

    def __init__(self, grid: PoseGrid) -> None:
        self.grid = grid
        self.cells: dict[str, dict[tuple[int, int], Cell]] = {}

    def add(self, row: FrameRow) -> None:
        """Count one row; without a pose it is nowhere."""
        where = self.grid.cell(row.distance_m, row.yaw_deg)
        if where is None:
            return
        cell = self.cells.setdefault(row.condition, {}).setdefault(where, Cell())
        cell.frames += 1
        if row.success is not None:
            cell.judged += 1
            cell.hits += row.success
