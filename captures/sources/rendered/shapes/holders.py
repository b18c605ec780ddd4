"""What is behind a sheet and moves with it: the plate and the post of a sign or a stand, the body of a mug or a pole."""

import math

import numpy as np

from calibration.sheet.layout import SheetLayout
from captures.sources.rendered.scene_file import PlateOnPost, Support
from captures.sources.rendered.surfaces import GAP_MM, Mesh, skin_of

_RING, _RING_OF_POST = 97, 33  # points of a ring; paper lies around the first


def body_mesh(layout: SheetLayout, support: Support) -> Mesh:
    """Make the body of a cylinder, just inside the paper that is wrapped around it, in the sheet's axes."""
    cut = layout.cut
    half = 0.75 * max(cut.width_mm, cut.height_mm) if support.length_m is None else 500 * support.length_m
    axis = math.radians(support.axis_deg)
    along, around = np.array([math.cos(axis), math.sin(axis), 0.0]), np.array([-math.sin(axis), math.cos(axis), 0.0])
    angle, radius = np.linspace(0, 2 * np.pi, _RING), support.radius_mm - GAP_MM
    depth = support.radius_mm - radius * np.cos(angle)
    ring = radius * np.outer(np.sin(angle), around) + np.outer(depth, [0, 0, 1])
    return skin_of([ring - half * along, ring + half * along])


def plate_mesh(layout: SheetLayout, plate: PlateOnPost) -> Mesh:
    """Make the plate, just behind the sheet and a little larger, in the sheet's axes."""
    centre = layout.patch.corners_mm.mean(axis=0)
    flat = layout.cut.grown(plate.border_mm).corners_mm - centre
    points = np.column_stack([flat, np.full(4, GAP_MM)]).astype(np.float32)
    return Mesh(points, np.array([[0, 3, 1], [1, 3, 2]], np.uint32), np.zeros((4, 2), np.float32))


def post_mesh(layout: SheetLayout, plate: PlateOnPost) -> Mesh:
    """Make the post, behind the plate and down to the ground, in the sheet's axes."""
    centre = layout.patch.corners_mm.mean(axis=0)
    middle, top = layout.cut.corners_mm.mean(axis=0)[0] - centre[0], layout.cut.y_mm - centre[1] - plate.above_mm
    radius = plate.post_mm / 2
    angle = np.linspace(0, 2 * np.pi, _RING_OF_POST)
    ring = np.stack(
        [middle + radius * np.sin(angle), np.full(_RING_OF_POST, top), 3 * GAP_MM + radius - radius * np.cos(angle)],
        axis=1,
    )
    down = np.array([0.0, 1000 * plate.height_m, 0.0])
    return skin_of([ring, ring + down])
