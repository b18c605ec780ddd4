"""Road signs as polygons: objects for printing, for training scenes and for detectors.

A sign is drawn in a unit square, x to the right, y down. Shapes and colours follow the Vienna Convention on Road Signs and
Signals (1968, annex 1); the lettering is a simplified stroke font.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError, unknown_name

Points = NDArray[np.float64]
RED, WHITE, BLACK, BLUE = (193, 18, 28), (248, 248, 246), (22, 22, 22), (0, 82, 158)
SPEEDS = ("30", "50", "60", "80")
_ROUND = 72  # vertices of a disc
_SUPERSAMPLE = 4
_SHIFT = 6  # fractional bits of pixel coordinates in OpenCV's polygons


@dataclass(frozen=True, eq=False)
class Shape:
    """Polygons (N, 2) in the unit square, in one sRGB colour; they may overlap."""

    colour: tuple[int, int, int]
    polygons: tuple[Points, ...]


@dataclass(frozen=True, eq=False)
class Sign:
    """A road sign.

    Attributes:
        name: the class name that detectors use.
        shapes: from bottom to top; the first is the outline of the sign.
    """

    name: str
    shapes: tuple[Shape, ...]

    @property
    def area(self) -> float:
        """Return the share of the unit square inside the outline."""
        return float(sum(cv2.contourArea(points.astype(np.float32)) for points in self.shapes[0].polygons))

    def draw(self, px: int) -> NDArray[np.uint8]:
        """Draw the sign, (px, px, 4) RGBA uint8, antialiased; alpha is 0 outside the outline, where the colour continues."""
        side = _SUPERSAMPLE * px
        picture = np.full((side, side, 3), self.shapes[0].colour, np.uint8)
        alpha = np.zeros((side, side), np.uint8)
        for points in self.shapes[0].polygons:
            _fill(alpha, points, 255)
        for shape in self.shapes[1:]:
            for points in shape.polygons:
                _fill(picture, points, shape.colour)
        small = cv2.resize(np.dstack([picture, alpha]), (px, px), interpolation=cv2.INTER_AREA)
        return small.astype(np.uint8)


@dataclass(frozen=True)
class Lettering:
    """The word on a stop sign and the border round it; lengths are shares of the sign's width.

    Attributes:
        rim: width of the border, both sides together.
        height, width: of a letter.
        pitch: from a letter to the next.
        pen: width of the strokes, as a share of a letter's box.
    """

    rim: float = 0.07
    height: float = 0.28
    width: float = 0.155
    pitch: float = 0.185
    pen: float = 0.17


_DRAWN = Lettering()


@dataclass(frozen=True)
class Together:
    """A sign and a patch on it or beside it, in the smallest square that holds both.

    Attributes:
        side: of that square, in widths of the sign: 1 for a patch on it.
        sign: left and top of the sign, as shares of that square.
        patch: left, top, width and height of the patch, as shares of that square.
    """

    side: float
    sign: tuple[float, float]
    patch: tuple[float, float, float, float]


def together(on: Sign, grid: tuple[int, int], share: float, at: tuple[float, float] = (0.5, 0.5)) -> Together:
    """Place a patch of square cells on a sign, or beside it on a separate plate, in the plane of the sign.

    Args:
        on: the sign.
        grid: rows and columns of the patch.
        share: area of the patch as a share of the area of the sign.
        at: centre of the patch, across and down, as shares of the sign's box; values below 0 or above 1 are beside it.

    Raises:
        InputError: if the patch extends over the edge of the sign, or the share is 0 or less.
    """
    if not 0 < share < math.inf:
        raise InputError(f"a patch of {share} times the sign's area cannot be placed; expected a share above 0")
    rows, columns = grid
    cell = math.sqrt(share * on.area / (rows * columns))
    width, height = columns * cell, rows * cell
    left, top = at[0] - width / 2, at[1] - height / 2
    if left >= 1 or top >= 1 or left + width <= 0 or top + height <= 0:
        least = min(0.0, left), min(0.0, top)
        most = max(1.0, left + width), max(1.0, top + height)
        side = max(high - low for low, high in zip(least, most, strict=True))
        first = [(low + high - side) / 2 for low, high in zip(least, most, strict=True)]
        place = (left - first[0]) / side, (top - first[1]) / side, width / side, height / side
        return Together(side, (-first[0] / side, -first[1] / side), place)
    (outline,) = (points.astype(np.float32) for points in on.shapes[0].polygons)
    corners = _box(left, top, left + width, top + height)
    if any(cv2.pointPolygonTest(outline, (float(x), float(y)), False) < 0 for x, y in corners):
        raise InputError(
            f"a patch of {100 * share:g} % of the sign, centred at {at[0]:g}, {at[1]:g}, extends over the edge of the "
            f"{on.name} sign; make it smaller, or move it onto the sign or completely beside it"
        )
    return Together(1.0, (0.0, 0.0), (left, top, width, height))


def sign(name: str) -> Sign:
    """Return the sign of :data:`SIGNS` called ``name``.

    Raises:
        InputError: if there is no such sign.
    """
    key = sign_name(name)
    if key is None:
        raise unknown_name("sign", name, SIGNS)
    return SIGNS[key]()


def sign_name(text: str) -> str | None:
    """Return the name in :data:`SIGNS` that ``text`` spells, whatever its case and separators; None if there is none."""
    names = {key.replace(" ", ""): key for key in SIGNS}
    return names.get(text.lower().replace("-", "").replace("_", "").replace(" ", ""))


def stop(lettering: Lettering = _DRAWN) -> Sign:
    """Build the stop sign: a red octagon with a white border and white lettering."""
    octagon = _regular(8, math.pi / 8)
    height, width, pitch = lettering.height, lettering.width, lettering.pitch
    left, top = 0.5 - (3 * pitch + width) / 2, 0.5 - height / 2
    letters = _letters("STOP", lettering.pen)
    word = [_moved(part, left + pitch * i, top, width, height) for i, part in enumerate(letters)]
    return Sign(
        "stop",
        (
            Shape(WHITE, (octagon,)),
            Shape(RED, (_about_middle(octagon, 1 - lettering.rim),)),
            Shape(WHITE, tuple(polygon for part in word for polygon in part)),
        ),
    )


def give_way() -> Sign:
    """Build the yield sign: a white triangle with a red border, pointing down."""
    triangle = np.array([[0.0, 0.07], [1.0, 0.07], [0.5, 0.936]])
    inner = triangle.mean(axis=0) + 0.62 * (triangle - triangle.mean(axis=0))
    return Sign("yield", (Shape(RED, (triangle,)), Shape(WHITE, (inner,))))


def no_entry() -> Sign:
    """Build the no-entry sign: a red disc with a white bar."""
    return Sign("no entry", (Shape(RED, (_disc(0.5, 0.5, 0.5),)), Shape(WHITE, (_box(0.14, 0.41, 0.86, 0.59),))))


def speed_limit(number: str = "50") -> Sign:
    """Build a speed limit sign: a white disc with a red ring and a black two-digit number."""
    digits = [_moved(part, 0.225 + 0.3 * i, 0.31, 0.25, 0.38) for i, part in enumerate(_letters(number))]
    return Sign(
        "speed limit",
        (
            Shape(RED, (_disc(0.5, 0.5, 0.5),)),
            Shape(WHITE, (_disc(0.5, 0.5, 0.39),)),
            Shape(BLACK, tuple(polygon for part in digits for polygon in part)),
        ),
    )


def pedestrian_crossing() -> Sign:
    """Build the pedestrian crossing sign: a blue square with a white triangle and a black figure on stripes."""
    triangle = np.array([[0.5, 0.1], [0.92, 0.86], [0.08, 0.86]])
    figure = [
        [_disc(0.51, 0.315, 0.05)],
        _stroke([(0.51, 0.4), (0.5, 0.56)], 0.085),
        _stroke([(0.5, 0.56), (0.56, 0.66), (0.6, 0.77)], 0.05),
        _stroke([(0.5, 0.56), (0.46, 0.67), (0.39, 0.76)], 0.05),
        _stroke([(0.51, 0.41), (0.59, 0.48), (0.64, 0.53)], 0.035),
        _stroke([(0.51, 0.41), (0.44, 0.49), (0.4, 0.55)], 0.035),
    ]
    stripes = [_box(x, 0.79, x + 0.07, 0.835) for x in (0.2, 0.34, 0.48, 0.62, 0.76)]
    return Sign(
        "pedestrian crossing",
        (
            Shape(BLUE, (_box(0.0, 0.0, 1.0, 1.0),)),
            Shape(WHITE, (triangle,)),
            Shape(BLACK, tuple(polygon for part in figure for polygon in part) + tuple(stripes)),
        ),
    )


SIGNS: dict[str, Callable[[], Sign]] = {
    "stop": stop,
    "yield": give_way,
    "no entry": no_entry,
    "speed limit": speed_limit,
    "pedestrian crossing": pedestrian_crossing,
}


# --- strokes -------------------------------------------------------------------------------------------------------------


def _fill(picture: NDArray[np.uint8], points: Points, colour: int | tuple[int, int, int]) -> None:
    at = np.round((points * len(picture) - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(picture, [at], colour if isinstance(colour, tuple) else (colour,), cv2.LINE_8, _SHIFT)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _disc(x: float, y: float, radius: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    return np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)])


def _regular(corners: int, first: float) -> Points:
    """Build a regular polygon, as large as fits in the unit square."""
    turn = first + 2 * np.pi * np.arange(corners) / corners
    ring = np.column_stack([np.cos(turn), np.sin(turn)])
    return 0.5 + 0.5 * ring / np.abs(ring).max()


def _about_middle(points: Points, by: float) -> Points:
    return 0.5 + by * (points - 0.5)


def _arc(
    x: float, y: float, radius_x: float, radius_y: float, begin_deg: float, end_deg: float
) -> list[tuple[float, float]]:
    """Return points along an ellipse, from 0 degrees on the right clockwise."""
    turns = np.radians(np.linspace(begin_deg, end_deg, 13))
    return [(x + radius_x * math.cos(turn), y + radius_y * math.sin(turn)) for turn in turns]


def _stroke(points: Sequence[tuple[float, float]], width: float) -> list[Points]:
    """Build a polyline of ``width`` with round caps and joins."""
    parts = [_disc(x, y, width / 2) for x, y in points]
    for (x, y), (x_to, y_to) in pairwise(points):
        length = math.hypot(x_to - x, y_to - y)
        across, down = -(y_to - y) / length * width / 2, (x_to - x) / length * width / 2
        parts.append(
            np.array(
                [
                    [x + across, y + down],
                    [x_to + across, y_to + down],
                    [x_to - across, y_to - down],
                    [x - across, y - down],
                ]
            )
        )
    return parts


def _moved(parts: list[Points], x: float, y: float, width: float, height: float) -> list[Points]:
    return [points * (width, height) + (x, y) for points in parts]


_ABOVE, _BELOW = 0.28, 0.72  # centres of a letter's two bowls
_GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "S": [_arc(0.5, _ABOVE, 0.36, 0.21, -20, -270)[:] + _arc(0.5, _BELOW, 0.36, 0.21, -90, 160)],
    "T": [[(0.1, 0.08), (0.9, 0.08)], [(0.5, 0.08), (0.5, 0.93)]],
    "O": [_arc(0.5, 0.5, 0.36, 0.42, 0, 360)],
    "P": [[(0.18, 0.93), (0.18, 0.08), (0.5, 0.08)], _arc(0.5, 0.3, 0.34, 0.22, -90, 90), [(0.5, 0.52), (0.18, 0.52)]],
    "0": [_arc(0.5, 0.5, 0.34, 0.42, 0, 360)],
    "3": [_arc(0.48, _ABOVE, 0.32, 0.2, -160, 90) + _arc(0.48, _BELOW - 0.01, 0.36, 0.22, -90, 160)],
    "5": [[(0.82, 0.08), (0.24, 0.08), (0.2, 0.45)], _arc(0.48, 0.66, 0.36, 0.27, -130, 150)],
    "6": [_arc(0.5, 0.67, 0.34, 0.26, 0, 360), [(0.16, 0.67), (0.24, 0.35), (0.6, 0.07)]],
    "8": [_arc(0.5, _ABOVE, 0.3, 0.2, 0, 360), _arc(0.5, _BELOW - 0.01, 0.35, 0.23, 0, 360)],
}
_PEN = 0.17  # stroke width, as a share of the letter's box


def _letters(text: str, pen: float = _PEN) -> list[list[Points]]:
    return [[points for line in _GLYPHS[letter] for points in _stroke(line, pen)] for letter in text]
