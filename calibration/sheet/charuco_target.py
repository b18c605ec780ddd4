"""The calibration targets: a ChArUco board for the lens and a chart of 100 colours for printer and camera."""

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.sheet.layout import BOARD_FIRST_ID, MARKER_MODULES, SheetLayout, marker_dictionary
from calibration.sheet.planning import SMALLEST_CELL_MM

CHART_GRID = (10, 10)
BOARD_GRID = (8, 6)
BOARD_MARKER_SHARE = 0.75  # of a square's edge
SMALLEST_BOARD_MM = max(BOARD_GRID) * SMALLEST_CELL_MM * MARKER_MODULES / BOARD_MARKER_SHARE
"""Longer side of a board whose markers have modules as small as the smallest cells."""
_LATTICE = (0, 85, 170, 255)
_BETWEEN = (42, 128, 212)
_RAMP = (16, 32, 64, 96, 112, 144, 160, 186, 200, 224, 240, 248)


def chart_cells(seed: int = 0) -> NDArray[np.uint8]:
    """Return the colours of the chart, (10, 10, 3) sRGB uint8: a lattice of the RGB cube, its cell centres and a grey ramp.

    The order is shuffled with ``seed``, so that uneven light over the sheet does not correlate with the colours.
    """
    lattice = [(r, g, b) for r in _LATTICE for g in _LATTICE for b in _LATTICE]
    between = [(r, g, b) for r in _BETWEEN for g in _BETWEEN for b in _BETWEEN if not r == g == b]
    colours = np.array([*lattice, *between, *((v, v, v) for v in _RAMP)], dtype=np.uint8)
    return np.random.default_rng(seed).permutation(colours).reshape(*CHART_GRID, 3)


def board_cells() -> NDArray[np.uint8]:
    """Return the squares of the board as cells, (8, 6, 3) uint8: black at the top left, as OpenCV draws it."""
    rows, columns = np.indices(BOARD_GRID)
    return np.where((rows + columns) % 2 == 0, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def charuco_board(layout: SheetLayout) -> cv2.aruco.CharucoBoard:
    """Build OpenCV's model of the board on a sheet of kind ``board``, in mm from the top left corner of the board."""
    rows, columns = layout.grid
    return cv2.aruco.CharucoBoard(
        (columns, rows),
        layout.cell_mm,
        layout.cell_mm * BOARD_MARKER_SHARE,
        marker_dictionary(),
        np.arange(BOARD_FIRST_ID, BOARD_FIRST_ID + rows * columns // 2),
    )
