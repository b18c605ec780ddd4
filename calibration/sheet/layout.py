"""The layout of a printed sheet, in millimetres.

Printing draws a :class:`SheetLayout`, and a session locates the sheet with the same one. Coordinates are millimetres from
the top left corner of the sheet, x to the right, y down. A sheet is one page or, for a larger patch, a poster of several
:class:`Tile` pages; coordinates are then those of the assembled poster.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, unknown_name
from calibration.common.units import finite, finite_pair, whole

LAYOUT_VERSION = 2
MARKER_MODULES = 6  # 4x4 data bits and a black rim of one bit on each side
# The sheets of a session; a drawing shows another sign in the place of the patch on a sign.
SHEET_KINDS = ("patch", "grey", "random", "shuffled", "drawing")
CALIBRATION_KINDS = ("chart", "board")  # the sheets of `calibrate sheet`
CUTS = ("sheet", "square", "circle")
_KINDS = SHEET_KINDS + CALIBRATION_KINDS
# Printed sheets carry these ids, so a further kind takes new ones: the drawing's follow those of the board's own markers.
_FIRST_IDS = {"patch": 0, "grey": 4, "random": 8, "shuffled": 12, "chart": 16, "board": 20, "drawing": 50}
BOARD_FIRST_ID = 24  # of a ChArUco board's own markers
_CROP_OFFSET_MM, _CROP_MM = 1.0, 2.5
_MOST_CELLS_CARRIED = 4096
_FARTHEST_MM = 100_000.0  # no poster is as large
_MOST_COUNTED = 10_000
_CORNERS = 4
_CIRCLE_CORNERS = 128


@dataclass(frozen=True)
class Rect:
    """An upright rectangle, in millimetres."""

    x_mm: float
    y_mm: float
    width_mm: float
    height_mm: float

    @property
    def right_mm(self) -> float:
        """Return the x coordinate of the right edge."""
        return self.x_mm + self.width_mm

    @property
    def bottom_mm(self) -> float:
        """Return the y coordinate of the bottom edge."""
        return self.y_mm + self.height_mm

    @property
    def corners_mm(self) -> NDArray[np.float32]:
        """Return the corners, (4, 2), clockwise from the top left: OpenCV's order for ArUco markers."""
        x, y, right, bottom = self.x_mm, self.y_mm, self.right_mm, self.bottom_mm
        return np.array([[x, y], [right, y], [right, bottom], [x, bottom]], dtype=np.float32)

    def overlaps(self, other: "Rect") -> bool:
        """Return whether the two rectangles share any area."""
        return (
            self.x_mm < other.right_mm
            and other.x_mm < self.right_mm
            and self.y_mm < other.bottom_mm
            and other.y_mm < self.bottom_mm
        )

    def common(self, other: "Rect") -> "Rect | None":
        """Return the intersection of the two rectangles; None if it is empty."""
        if not self.overlaps(other):
            return None
        x, y = max(self.x_mm, other.x_mm), max(self.y_mm, other.y_mm)
        return Rect(x, y, min(self.right_mm, other.right_mm) - x, min(self.bottom_mm, other.bottom_mm) - y)

    def grown(self, by_mm: float) -> "Rect":
        """Return the rectangle extended by ``by_mm`` on every side."""
        return Rect(self.x_mm - by_mm, self.y_mm - by_mm, self.width_mm + 2 * by_mm, self.height_mm + 2 * by_mm)

    def shifted(self, x_mm: float, y_mm: float) -> "Rect":
        """Return the rectangle moved by ``x_mm`` to the right and ``y_mm`` down."""
        return Rect(self.x_mm + x_mm, self.y_mm + y_mm, self.width_mm, self.height_mm)

    def scaled(self, x: float, y: float) -> "Rect":
        """Return the rectangle with the sheet scaled by ``x`` and ``y`` about its origin."""
        return Rect(self.x_mm * x, self.y_mm * y, self.width_mm * x, self.height_mm * y)


@dataclass(frozen=True)
class Marker:
    """One ArUco marker: its id in :func:`marker_dictionary` and its rectangle, including the black border."""

    id: int
    rect: Rect


@dataclass(frozen=True)
class Tile:
    """One page of a poster.

    Attributes:
        name: row letter and column number, such as ``B3``.
        part: the part of the poster that this page shows in the assembled poster.
        printed: ``part`` plus the overlap to the right and below, over which the neighbours are glued.
        at_mm: position on the page of the top left corner of ``printed``.
    """

    name: str
    part: Rect
    printed: Rect
    at_mm: tuple[float, float]


@dataclass(frozen=True)
class SheetLayout:
    """One sheet: a patch, a control or a calibration target, with its corner markers, label, cut line and rulers.

    Attributes:
        kind: one of ``SHEET_KINDS`` or ``CALIBRATION_KINDS``; each kind has its own four marker ids.
        patch_id: of the cells shown.
        grid: rows, columns.
        page_mm: width and height of the sheet: one page, or the assembled poster.
        paper_mm: width and height of the paper; for a poster, of each page.
        patch: the rectangle of the cells.
        white: the blank border around the patch or its sign, including both; a session uses it for white balance.
        markers: four, clockwise from the top left.
        label: the square of the QR code.
        cut: the cut line: around the markers, or around the patch alone for a cut-out.
        cut_shape: ``sheet``, or ``square`` or ``circle`` for a cut-out, whose markers stay on the paper around it.
        bleed_mm: how far the colours of a cut-out extend over the cut.
        ruler_x, ruler_y: on the page; for a poster on its first page, the assembly map.
        tiles: the pages of a poster after the assembly map.
        cells_hex: the colours shown, row by row, six digits each; empty if there are too many to store.
        scale: printed length of 1 mm along x and y, as measured on the rulers.
        carrier: the sign of ``calibration.sheet.road_signs`` on which the patch is printed; empty for a patch alone.
        carrier_rect: the square of that sign.
    """

    kind: str
    patch_id: str
    grid: tuple[int, int]
    page_mm: tuple[float, float]
    paper_mm: tuple[float, float]
    patch: Rect
    white: Rect
    markers: tuple[Marker, ...]
    label: Rect
    cut: Rect
    cut_shape: str
    bleed_mm: float
    ruler_x: Rect
    ruler_y: Rect
    tiles: tuple[Tile, ...] = ()
    cells_hex: str = field(default="", repr=False)
    scale: tuple[float, float] = (1.0, 1.0)
    carrier: str = ""
    carrier_rect: Rect | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown_name("sheet kind", self.kind, _KINDS)
        if self.cut_shape not in CUTS:
            raise unknown_name("cut", self.cut_shape, CUTS)

    @property
    def face(self) -> Rect:
        """Return the rectangle inside the white border: the patch, the sign that carries it, or the square around both."""
        own, patch = self.carrier_rect, self.patch
        if own is None or own.overlaps(patch):
            return own or patch
        left, top = min(own.x_mm, patch.x_mm), min(own.y_mm, patch.y_mm)
        width, height = max(own.right_mm, patch.right_mm) - left, max(own.bottom_mm, patch.bottom_mm) - top
        side = max(width, height)
        return Rect(left - (side - width) / 2, top - (side - height) / 2, side, side)

    @property
    def cell_mm(self) -> float:
        """Return the width of one cell."""
        return self.patch.width_mm / self.grid[1]

    def shows_patch(self, at_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which places (..., 2) on the sheet, in millimetres, show the patch: of a circle, those that are cut out."""
        patch = self.patch
        across = (at_mm[..., 0] - patch.x_mm) / patch.width_mm - 0.5
        down = (at_mm[..., 1] - patch.y_mm) / patch.height_mm - 0.5
        if self.cut_shape != "circle":
            return (np.abs(across) < 0.5) & (np.abs(down) < 0.5)
        radius = min(patch.width_mm, patch.height_mm) / 2
        return np.hypot(across * patch.width_mm, down * patch.height_mm) < radius

    @property
    def patch_outline_mm(self) -> NDArray[np.floating]:
        """Return the corners of a polygon (N, 2) around what shows the patch, clockwise; a circle has many."""
        patch = self.patch
        if self.cut_shape != "circle":
            return patch.corners_mm
        angle = np.linspace(0, 2 * np.pi, _CIRCLE_CORNERS, endpoint=False)
        radius = min(patch.width_mm, patch.height_mm) / 2
        return patch.corners_mm.mean(axis=0) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    @property
    def pages(self) -> int:
        """Return the number of PDF pages: one, or the assembly map and the tiles of a poster."""
        return 1 + len(self.tiles)

    @property
    def cells(self) -> NDArray[np.uint8] | None:
        """Return the colours shown, (rows, columns, 3) sRGB uint8; None if the layout does not store them."""
        if not self.cells_hex:
            return None
        return np.frombuffer(bytes.fromhex(self.cells_hex), dtype=np.uint8).reshape(*self.grid, 3)

    @property
    def crop_marks(self) -> tuple[Rect, ...]:
        """Return eight lines at the corners of the cut, outside its bleed, as rectangles of zero width or height."""
        cut, start = self.cut, self.bleed_mm + _CROP_OFFSET_MM
        marks = []
        for y in (cut.y_mm, cut.bottom_mm):
            marks.append(Rect(cut.x_mm - start - _CROP_MM, y, _CROP_MM, 0.0))
            marks.append(Rect(cut.right_mm + start, y, _CROP_MM, 0.0))
        for x in (cut.x_mm, cut.right_mm):
            marks.append(Rect(x, cut.y_mm - start - _CROP_MM, 0.0, _CROP_MM))
            marks.append(Rect(x, cut.bottom_mm + start, 0.0, _CROP_MM))
        return tuple(marks)

    def marker_corners_mm(self) -> dict[int, NDArray[np.float32]]:
        """Return the corners of the markers on the sheet, (4, 2) each, by marker id."""
        return {marker.id: marker.rect.corners_mm for marker in self.markers}

    def showing(self, kind: str, patch_id: str, cells: NDArray[np.uint8]) -> "SheetLayout":
        """Return this layout with other cells (rows, columns, 3) sRGB uint8, and with the marker ids of ``kind``."""
        ids = marker_ids(kind)
        markers = tuple(replace(marker, id=ids[i]) for i, marker in enumerate(self.markers))
        few = cells.shape[0] * cells.shape[1] <= _MOST_CELLS_CARRIED
        return replace(
            self, kind=kind, patch_id=patch_id, markers=markers, cells_hex=cells.tobytes().hex() if few else ""
        )

    def printed(self, scale: tuple[float, float]) -> "SheetLayout":
        """Return the layout in true millimetres, for a printer that scales by ``scale`` along x and y."""
        x, y = scale
        return replace(
            self.with_parts(lambda part: part.scaled(x, y)),
            page_mm=(self.page_mm[0] * x, self.page_mm[1] * y),
            scale=(self.scale[0] * x, self.scale[1] * y),
        )

    def with_parts(self, change: Callable[[Rect], Rect]) -> "SheetLayout":
        """Return the layout with ``change`` applied to each part of the sheet, but not to page, rulers and tiles."""
        return replace(
            self,
            patch=change(self.patch),
            carrier_rect=self.carrier_rect and change(self.carrier_rect),
            white=change(self.white),
            markers=tuple(replace(marker, rect=change(marker.rect)) for marker in self.markers),
            label=change(self.label),
            cut=change(self.cut),
        )

    def cell_rect(self, row: int, column: int) -> Rect:
        """Return the rectangle of one cell."""
        width, height = self.patch.width_mm / self.grid[1], self.patch.height_mm / self.grid[0]
        return Rect(self.patch.x_mm + column * width, self.patch.y_mm + row * height, width, height)


def marker_ids(kind: str) -> tuple[int, int, int, int]:
    """Return the marker ids of a sheet kind: top left, top right, bottom right, bottom left."""
    if kind not in _KINDS:
        raise unknown_name("sheet kind", kind, _KINDS)
    first = _FIRST_IDS[kind]
    return (first, first + 1, first + 2, first + 3)


@cache
def marker_dictionary() -> cv2.aruco.Dictionary:
    """Return the ArUco markers of all sheets and boards: DICT_4X4_50, and as many of DICT_4X4_100 as follow it here."""
    markers = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_100)
    needed = _CORNERS + max(_FIRST_IDS.values())
    return cv2.aruco.Dictionary(markers.bytesList[:needed], markers.markerSize, markers.maxCorrectionBits)


def first_pages(layouts: Sequence[SheetLayout]) -> Iterator[int]:
    """Yield the index of the first page of each sheet of a PDF, counted from 0."""
    page = 0
    for layout in layouts:
        yield page
        page += layout.pages


def layouts_to_json(layouts: tuple[SheetLayout, ...]) -> str:
    """Format layouts as one line of JSON, which a PDF stores in its metadata."""
    return json.dumps({"physpatch_layout": LAYOUT_VERSION, "pages": [asdict(layout) for layout in layouts]})


def layouts_from_json(text: str) -> tuple[SheetLayout, ...]:
    """Parse the output of :func:`layouts_to_json`.

    Raises:
        InputError: if it is not a layout, or has another version.
    """
    try:
        value = json.loads(text)
        version = value["physpatch_layout"]
        if version != LAYOUT_VERSION:
            cure = "update physpatch" if version > LAYOUT_VERSION else "print it again"
            raise InputError(f"this sheet has layout version {version}, this program reads {LAYOUT_VERSION}; {cure}")
        if not value["pages"]:
            raise InputError(
                "this PDF shows a sign alone, which has no markers; print it with a patch: `physpatch print RUN`"
            )
        return tuple(_layout_from_dict(page) for page in value["pages"])
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError) as error:
        raise InputError(
            "this PDF contains no physpatch layout: another program made or changed it; print it with `physpatch print`"
        ) from error


def _layout_from_dict(page: dict[str, Any]) -> SheetLayout:
    names = ("patch", "white", "label", "cut", "ruler_x", "ruler_y")
    rects: dict[str, Any] = {name: _rect(page.pop(name)) for name in names}
    carried = page.pop("carrier_rect", None)
    rects["carrier_rect"] = None if carried is None else _rect(carried)
    markers = tuple(Marker(whole(m["id"], 0, _MOST_COUNTED), _rect(m["rect"])) for m in page.pop("markers"))
    tiles = tuple(
        Tile(
            str(t["name"]), _rect(t["part"]), _rect(t["printed"]), finite_pair(t["at_mm"], -_FARTHEST_MM, _FARTHEST_MM)
        )
        for t in page.pop("tiles")
    )
    pairs: dict[str, Any] = {
        name: finite_pair(page.pop(name), 0, _FARTHEST_MM) for name in ("page_mm", "paper_mm", "scale")
    }
    rows, columns = (whole(count, 1, _MOST_COUNTED) for count in page.pop("grid"))
    layout = SheetLayout(markers=markers, tiles=tiles, grid=(rows, columns), **rects, **pairs, **page)
    _check(layout)
    return layout


def _check(layout: SheetLayout) -> None:
    """Raise ValueError for a sheet that cannot be."""
    finite(layout.bleed_mm, 0, _FARTHEST_MM)
    texts = (layout.kind, layout.patch_id, layout.cut_shape, layout.cells_hex, layout.carrier)
    drawn = (layout.patch, layout.white, layout.cut, layout.label, *(marker.rect for marker in layout.markers))
    sides = [*layout.page_mm, *layout.paper_mm, *layout.scale, layout.ruler_x.width_mm, layout.ruler_y.height_mm]
    sides += [side for rect in drawn for side in (rect.width_mm, rect.height_mm)]
    if not all(isinstance(text, str) for text in texts) or min(sides) <= 0 or len(layout.markers) != _CORNERS:
        raise ValueError("a text, a size or the markers of the sheet")
    if layout.cells_hex and len(bytes.fromhex(layout.cells_hex)) != 3 * math.prod(layout.grid):
        raise ValueError("the number of its colours")


def _rect(value: dict[str, Any]) -> Rect:
    rect = Rect(**value)
    for at in (rect.x_mm, rect.y_mm):
        finite(at, -_FARTHEST_MM, _FARTHEST_MM)
    for side in (rect.width_mm, rect.height_mm):
        finite(side, 0, _FARTHEST_MM)
    return rect
