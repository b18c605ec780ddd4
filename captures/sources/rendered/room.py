"""A room behind a sheet: walls and a table that catch its shadow and reflect its light, and things that stand there."""

from types import ModuleType
from typing import Any

import numpy as np

from captures.sources.rendered.scene_file import ROOM_BEHIND_M, ROOM_HALF_WIDTH_M, ROOM_TABLE_M
from captures.sources.rendered.shapes.in_mitsuba import mesh_shape
from captures.sources.rendered.shapes.plain import ball_mesh, rectangle_mesh
from captures.sources.rendered.surfaces import Spec, diffuse, linear_rgb, plastic

_HALF_WIDTH_MM = 1000 * ROOM_HALF_WIDTH_M
_HALF_HEIGHT_MM = 900.0  # at least
_BEHIND_MM = 1000 * ROOM_BEHIND_M
_SEEN_HEIGHT = 0.5  # of half a wall, as a share of its distance: half a frame of 4:3 and 60 degrees shows 0.43
_BEHIND_CAMERA_MM = _HALF_WIDTH_MM  # so far do side walls and table go on, for a camera that turns
_TABLE_MM, _CLEAR_MM = 1000 * ROOM_TABLE_M, 30.0  # of the table: below the camera, and at least below the sheet
_WALL, _LEFT, _RIGHT, _TABLE = 0.45, 0.5, 0.4, 0.3  # reflectances of their paint
_INDEX, _GLOSSY = 1.5, 0.1
_CARDBOARD, _BOOK, _BALL = (0.46, 0.32, 0.19), (0.07, 0.2, 0.11), (0.55, 0.06, 0.05)  # linear sRGB


def furnished_room(mitsuba: ModuleType, sheet_mm: float, lowest_mm: float) -> dict[str, Any]:
    """Describe three walls, a table, and on it a cardboard box, two books and a glossy ball, by name.

    Walls and table reach beyond what a camera sees from where the sheet has this distance, turned aside by up to 80 degrees.

    Args:
        mitsuba: see ``engine``.
        sheet_mm: distance of the sheet from the camera.
        lowest_mm: how far below the camera its lowest point is.
    """
    table = max(_TABLE_MM, lowest_mm + _CLEAR_MM)
    back = sheet_mm + _BEHIND_MM
    half_height = max(_HALF_HEIGHT_MM, table, _SEEN_HEIGHT * back)
    middle, half_depth = (back - _BEHIND_CAMERA_MM) / 2, (back + _BEHIND_CAMERA_MM) / 2
    place = mitsuba.ScalarTransform4f

    def wall(at: list[float], axis: list[float], angle_deg: float, half: tuple[float, float], paint: float) -> Any:
        laid = place().translate(at).rotate(axis, angle_deg).scale([*half, 1])
        return mesh_shape("wall", rectangle_mesh(np.array(laid.matrix)), {"type": "twosided", "inner": diffuse(paint)})

    def box(
        at: tuple[float, float], half: tuple[float, float, float], turn_deg: float, colour: Any, base: float
    ) -> Spec:
        """Describe a box that stands ``base`` above the table, ``at`` so far to the right and before the wall."""
        centre = [at[0], table - base - half[1], back - at[1]]
        return {
            "type": "cube",
            "to_world": place().translate(centre).rotate([0, 1, 0], turn_deg).scale(list(half)),
            "bsdf": {"type": "diffuse", "reflectance": linear_rgb(colour)},
        }

    radius = 62.0
    return {
        "wall": wall([0, 0, back], [0, 1, 0], 180, (_HALF_WIDTH_MM, half_height), _WALL),
        "left": wall([-_HALF_WIDTH_MM, 0, middle], [0, 1, 0], 90, (half_depth, half_height), _LEFT),
        "right": wall([_HALF_WIDTH_MM, 0, middle], [0, 1, 0], -90, (half_depth, half_height), _RIGHT),
        "table": wall([0, table, middle], [1, 0, 0], 90, (_HALF_WIDTH_MM, half_depth), _TABLE),
        "box": box((-380, 320), (130, 110, 90), 28, _CARDBOARD, 0),
        "lower book": box((250, 260), (115, 18, 80), -14, _BOOK, 0),
        "upper book": box((262, 268), (100, 14, 70), 9, _CARDBOARD, 36),
        "ball": mesh_shape(
            "ball",
            ball_mesh([500, table - radius, back - 330], radius),
            plastic(linear_rgb(_BALL), _INDEX, _GLOSSY),
        ),
    }
