"""Where everything lies on a printed sheet, in millimetres.

The one owner of that fact: printing draws from a :class:`SheetLayout`, a session finds the sheet with the same one.
Coordinates are millimetres from the top left corner of the page, x to the right, y down.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import InputError, unknown_name

LAYOUT_VERSION = 1
ARUCO_DICTIONARY = cv2.aruco.DICT_4X4_50
MARKER_MODULES = 6  # 4x4 data bits and a black rim of one bit on each side
SHEET_KINDS = ("patch", "grey", "random", "shuffled")  # four marker ids each: the ids tell a session what it sees
PAGES_MM = {
    "a5": (148.0, 210.0),
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "letter": (215.9, 279.4),
    "legal": (215.9, 355.6),
    "tabloid": (279.4, 431.8),
}

RULER_MM = 100.0
_MARGIN_MM = 5.0  # what most printers leave blank
_RULER_BAND_MM = 9.0
_HEADER_MM = 14.0
_BORDER_MM = 4.0  # white paper between what is printed and the cut line
_MARKER_MM = (8.0, 20.0)
_SMALLEST_CELL_MM = 1.0


@dataclass(frozen=True)
class Rect:
    """An upright rectangle on the page, in millimetres."""

    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float

    @property
    def corners_mm(self) -> NDArray[np.float32]:
        """The corners as (4, 2), clockwise from the top left: OpenCV's order for ArUco markers."""
        x, y, right, bottom = self.x_mm, self.y_mm, self.x_mm + self.width_mm, self.y_mm + self.height_mm
        return np.array([[x, y], [right, y], [right, bottom], [x, bottom]], dtype=np.float32)

    def overlaps(self, other: "Rect") -> bool:
        """Whether the two share any area."""
        return (
            self.x_mm < other.x_mm + other.width_mm
            and other.x_mm < self.x_mm + self.width_mm
            and self.y_mm < other.y_mm + other.height_mm
            and other.y_mm < self.y_mm + self.height_mm
        )


@dataclass(frozen=True)
class Marker:
    """One ArUco marker: its id in ``ARUCO_DICTIONARY`` and its place, black rim included."""

    id: int
    rect: Rect


@dataclass(frozen=True)
class SheetLayout:
    """One page: the patch rectangle, its four corner markers, the cut line around them and two rulers."""

    kind: str
    patch_id: str
    grid: tuple[int, int]  # rows, columns
    page_mm: tuple[float, float]  # width, height
    patch: Rect
    markers: tuple[Marker, ...]
    cut: Rect
    ruler_x: Rect
    ruler_y: Rect

    def __post_init__(self) -> None:
        if self.kind not in SHEET_KINDS:
            raise unknown_name("sheet kind", self.kind, SHEET_KINDS)

    @property
    def cell_mm(self) -> float:
        """Edge of one cell."""
        return self.patch.width_mm / self.grid[1]

    def marker_corners_mm(self) -> dict[int, NDArray[np.float32]]:
        """Marker id to its (4, 2) corners on the page."""
        return {marker.id: marker.rect.corners_mm for marker in self.markers}

    def as_kind(self, kind: str) -> "SheetLayout":
        """The same sheet for another kind of content: only the marker ids differ."""
        ids = marker_ids(kind)
        markers = tuple(replace(marker, id=ids[i]) for i, marker in enumerate(self.markers))
        return replace(self, kind=kind, markers=markers)


def marker_ids(kind: str) -> tuple[int, int, int, int]:
    """The ids of a sheet kind's markers: top left, top right, bottom right, bottom left."""
    if kind not in SHEET_KINDS:
        raise unknown_name("sheet kind", kind, SHEET_KINDS)
    first = 4 * SHEET_KINDS.index(kind)
    return (first, first + 1, first + 2, first + 3)


def page_size_mm(paper: str) -> tuple[float, float]:
    """Width and height of a named paper, portrait.

    Raises:
        InputError: unknown name.
    """
    try:
        return PAGES_MM[paper.lower()]
    except KeyError:
        raise unknown_name("paper", paper, PAGES_MM) from None


def plan_sheet(
    size_mm: float, grid: tuple[int, int], paper: str = "a4", *, kind: str = "patch", patch_id: str = ""
) -> SheetLayout:
    """Lay a patch whose longer side is ``size_mm`` out on one page, portrait or landscape, whichever holds it.

    Raises:
        InputError: too large for the page, or cells below 1 mm.
    """
    rows, columns = grid
    cell_mm = size_mm / max(rows, columns)
    if cell_mm < _SMALLEST_CELL_MM:
        raise InputError(
            f"{size_mm:g} mm over {rows}x{columns} cells makes cells of {cell_mm:.2f} mm; print at least "
            f"{max(rows, columns) * _SMALLEST_CELL_MM:g} mm, printers blur smaller cells"
        )
    width, height = page_size_mm(paper)
    for page_mm in ((width, height), (height, width)):
        layout = _lay_out(page_mm, cell_mm, grid, kind, patch_id)
        if layout is not None:
            return layout
    raise InputError(
        f"a patch of {size_mm:g} mm does not fit on {paper.upper()} with its markers and rulers; the largest there is "
        f"{_largest_mm((width, height), grid)} mm: choose a smaller --size or a larger --paper"
    )


def _largest_mm(page_mm: tuple[float, float], grid: tuple[int, int]) -> int:
    longest = max(grid)
    sizes = range(longest, int(max(page_mm)))
    pages = (page_mm, page_mm[::-1])
    return max((s for s in sizes if any(_lay_out(p, s / longest, grid, "patch", "") for p in pages)), default=0)


def _lay_out(
    page_mm: tuple[float, float], cell_mm: float, grid: tuple[int, int], kind: str, patch_id: str
) -> SheetLayout | None:
    """Patch in the middle, markers above and below its corners, rulers on the left and at the bottom; None if it cannot fit."""
    page_width, page_height = page_mm
    width, height = cell_mm * grid[1], cell_mm * grid[0]
    side = _MARGIN_MM + _RULER_BAND_MM
    room_width = page_width - 2 * side
    top, bottom = _MARGIN_MM + _HEADER_MM, page_height - _MARGIN_MM - _RULER_BAND_MM
    smallest, largest = _MARKER_MM
    for marker_mm in np.arange(min(largest, max(smallest, 0.2 * max(width, height))), smallest - 1e-9, -0.5):
        gap = marker_mm / 3  # two modules of quiet zone
        inner_width = max(width, 2 * marker_mm + gap)
        inner_height = height + 2 * (marker_mm + gap)
        if inner_width + 2 * _BORDER_MM <= room_width and inner_height + 2 * _BORDER_MM <= bottom - top:
            break
    else:
        return None
    center_x, center_y = page_width / 2, (top + bottom) / 2
    left, upper = center_x - inner_width / 2, center_y - inner_height / 2
    right, lower = left + inner_width - marker_mm, upper + inner_height - marker_mm
    places = ((left, upper), (right, upper), (right, lower), (left, lower))
    m = float(marker_mm)
    return SheetLayout(
        kind=kind,
        patch_id=patch_id,
        grid=grid,
        page_mm=page_mm,
        patch=Rect(center_x - width / 2, center_y - height / 2, width, height),
        markers=tuple(
            Marker(i, Rect(float(x), float(y), m, m)) for i, (x, y) in zip(marker_ids(kind), places, strict=True)
        ),
        cut=Rect(
            float(left) - _BORDER_MM,
            float(upper) - _BORDER_MM,
            float(inner_width) + 2 * _BORDER_MM,
            float(inner_height) + 2 * _BORDER_MM,
        ),
        ruler_x=Rect(
            (page_width - RULER_MM) / 2, page_height - _MARGIN_MM - _RULER_BAND_MM + 1, RULER_MM, _RULER_BAND_MM - 1
        ),
        ruler_y=Rect(_MARGIN_MM, (page_height - RULER_MM) / 2, _RULER_BAND_MM - 1, RULER_MM),
    )


def layouts_to_json(layouts: tuple[SheetLayout, ...]) -> str:
    """One line of JSON that a PDF carries in its metadata, so that a sheet describes itself."""
    return json.dumps({"physpatch_layout": LAYOUT_VERSION, "pages": [asdict(layout) for layout in layouts]})


def layouts_from_json(text: str) -> tuple[SheetLayout, ...]:
    """Read what :func:`layouts_to_json` wrote.

    Raises:
        InputError: not a layout, or one of a newer version.
    """
    try:
        value = json.loads(text)
        if value["physpatch_layout"] != LAYOUT_VERSION:
            raise InputError(
                f"sheet layout version {value['physpatch_layout']} is newer than this program; update physpatch"
            )
        return tuple(_layout_from_dict(page) for page in value["pages"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError("this PDF carries no physpatch layout; print it with `physpatch print`") from error


def _layout_from_dict(page: dict[str, Any]) -> SheetLayout:
    rects: dict[str, Any] = {name: Rect(**page.pop(name)) for name in ("patch", "cut", "ruler_x", "ruler_y")}
    markers = tuple(Marker(int(m["id"]), Rect(**m["rect"])) for m in page.pop("markers"))
    grid, page_mm = tuple(page.pop("grid")), tuple(page.pop("page_mm"))
    return SheetLayout(grid=grid, page_mm=page_mm, markers=markers, **rects, **page)
