"""What rooms are made of, as meshes: with Mitsuba's own rectangles and spheres, a room took an eighth longer to render."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captures.sources.rendered.surfaces import Mesh, skin_of

_BALL_RINGS = 32


def rectangle_mesh(to_world: NDArray[np.floating]) -> Mesh:
    """Lay a square from -1 to 1 in x and y, whose front its z points away from, by a transform (4, 4)."""
    corners = np.array([[-1, -1, 0, 1], [1, -1, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1]])
    points = (corners @ to_world.T)[:, :3].astype(np.float32)
    return Mesh(points, np.array([[0, 1, 2], [0, 2, 3]], np.uint32), np.zeros((4, 2), np.float32))


def ball_mesh(centre: Sequence[float], radius: float) -> Mesh:
    """Make a ball."""
    angle = np.linspace(0, np.pi, _BALL_RINGS + 1)
    turn = np.linspace(0, 2 * np.pi, 2 * _BALL_RINGS + 1)
    ring = np.stack([np.cos(turn), np.zeros_like(turn), np.sin(turn)], axis=1)
    return skin_of([radius * (np.sin(a) * ring + [0, np.cos(a), 0]) + centre for a in angle])
