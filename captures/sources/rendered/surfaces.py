"""Shapes: a held sheet, flat, curled or rippled, and bodies with a skin over rings. And what they are made of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.common.errors import InputError
from calibration.sheet.layout import Rect, SheetLayout
from captures.sources.rendered.scene_file import Support

GAP_MM = 0.5  # between paper and what holds it
_FACETS = 64  # along each side of a bent sheet
_LONGEST, _MOST_PARTS = 2, 100  # of a skin between two rings: a part's length by its width, and their number
_CLOTH_SHARE, _LARGEST_CLOTH = 2.0, 10.0  # of the sheet's sides

Floats = NDArray[np.floating]
Spec = dict[str, Any]  # what Mitsuba builds an object from


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        points: (V, 3) millimetres from the centre of the patch in the sheet's axes: x right, y down, z into the paper.
        faces: (F, 3) indices, clockwise as the camera sees them.
        uv: (V, 2) in [0, 1] across and down the cut-out sheet; 0 for other bodies.
    """

    points: NDArray[np.float32]
    faces: NDArray[np.uint32]
    uv: NDArray[np.float32]


def require_fit(layout: SheetLayout, support: Support) -> None:
    """Check that a sheet can be bent as its support does.

    Raises:
        InputError: if it would go round and overlap itself, or is much smaller than the cloth around it.
    """
    shorter_m = min(layout.cut.width_mm, layout.cut.height_mm) / 1000
    if support.shape == "ripple" and (support.length_m or 0) > _LARGEST_CLOTH * shorter_m:
        raise InputError(
            f"the scene's cloth of {support.length_m:g} m has too many waves for a sheet of {shorter_m:g} m; give it a "
            f"length_m of {_LARGEST_CLOTH * shorter_m:.2g} or less, or print a larger sheet"
        )
    if _PROFILES[support.shape] is not _rolled:
        return
    axis = math.radians(support.axis_deg)
    # The longest straight line on the sheet around the axis: paper that goes round askew passes beside itself.
    sides = (layout.cut.width_mm, abs(math.sin(axis))), (layout.cut.height_mm, abs(math.cos(axis)))
    across_mm = min(side / share for side, share in sides if share)
    round_mm = 2 * math.pi * abs(support.radius_mm)
    if across_mm > round_mm:
        raise InputError(
            f"the sheet is {across_mm:.0f} mm wide around the axis of the scene's {support.shape}, which is {round_mm:.0f} mm "
            f"around; give it a radius_mm of {math.ceil(across_mm / (2 * math.pi))} or more, or print a smaller sheet"
        )


def sheet_mesh(layout: SheetLayout, support: Support, phase: float = 0.0) -> Mesh:
    """Bend a sheet as its support does; the paper keeps its lengths along curls.

    Args:
        layout: of the sheet, whose patch stays where it is, facing the camera at its centre.
        support: what holds it.
        phase: of a ripple, in radians.
    """
    facets = 1 if support.shape == "flat" else _FACETS
    return _bent_mesh(np.linspace(0, 1, facets + 1), np.linspace(0, 1, facets + 1), layout, support, phase)


def cloth_mesh(layout: SheetLayout, support: Support, phase: float = 0.0) -> Mesh:
    """Bend the cloth around and just behind a sheet that has its waves. For arguments see :func:`sheet_mesh`."""
    area, cut = cloth_area(layout, support), layout.cut
    # Facets like those of the sheet, so that neither passes through the other.
    u = np.arange(*_facets(area.x_mm - cut.x_mm, area.right_mm - cut.x_mm, cut.width_mm)) / _FACETS
    v = np.arange(*_facets(area.y_mm - cut.y_mm, area.bottom_mm - cut.y_mm, cut.height_mm)) / _FACETS
    cloth = _bent_mesh(u, v, layout, support, phase)
    return replace(cloth, points=cloth.points + np.array([0, 0, GAP_MM], np.float32), uv=np.zeros_like(cloth.uv))


def cloth_area(layout: SheetLayout, support: Support) -> Rect:
    """Return where cloth lies, in millimetres on the sheet: around its patch, and at least under all of it."""
    cut, (x, y) = layout.cut, layout.patch.corners_mm.mean(axis=0)
    width, height = _CLOTH_SHARE * cut.width_mm, _CLOTH_SHARE * cut.height_mm
    if support.length_m is not None:
        width = height = 1000 * support.length_m
    left, top = min(x - width / 2, cut.x_mm), min(y - height / 2, cut.y_mm)
    return Rect(left, top, max(x + width / 2, cut.right_mm) - left, max(y + height / 2, cut.bottom_mm) - top)


def _facets(first_mm: float, last_mm: float, sheet_mm: float) -> tuple[int, int]:
    """Return the first border, and the one after the last, of facets as wide as those of a sheet's side."""
    return math.floor(first_mm / sheet_mm * _FACETS), math.ceil(last_mm / sheet_mm * _FACETS) + 1


def _bent_mesh(u: Floats, v: Floats, layout: SheetLayout, support: Support, phase: float) -> Mesh:
    """Bend a grid (U,), (V,) of places across and down the sheet, as shares of its sides."""
    cut = layout.cut
    across, down = (a.ravel() for a in np.meshgrid(u, v))
    at_mm = np.stack([cut.x_mm + across * cut.width_mm, cut.y_mm + down * cut.height_mm], axis=1)
    points = bent(at_mm, layout, support, phase)
    corner = (np.arange(len(v) - 1)[:, None] * len(u) + np.arange(len(u) - 1)).ravel()
    a, b, c, d = corner, corner + 1, corner + len(u), corner + len(u) + 1
    faces = np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
    return Mesh(points.astype(np.float32), faces.astype(np.uint32), np.stack([across, down], axis=1).astype(np.float32))


def skin_of(rings: Sequence[Floats]) -> Mesh:
    """Stretch a skin over closed rings of points, (N, 3) each, the last point of a ring being its first.

    Where rings are far apart, there are more between them: the boxes around long facets that lie askew overlap, and rendering
    took up to three times as long.
    """
    rings = [ring for first, second in pairwise(rings) for ring in _between(first, second)] + [rings[-1]]
    count = len(rings[0])
    faces = []
    for number in range(len(rings) - 1):
        first = number * count + np.arange(count - 1)
        second = first + count
        faces += [np.stack([first, first + 1, second], axis=1), np.stack([first + 1, second + 1, second], axis=1)]
    points = np.concatenate(rings).astype(np.float32)
    return Mesh(points, np.concatenate(faces).astype(np.uint32), np.zeros((len(points), 2), np.float32))


def _between(first: Floats, second: Floats) -> list[Floats]:
    """Return the first ring and rings up to the second, at most twice as far apart as they are wide; a wire has fewer."""
    apart = np.linalg.norm(second - first, axis=1).max()
    wide = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
    steps = int(np.clip(np.ceil(apart / (_LONGEST * wide)), 1, _MOST_PARTS))
    return [first + share * (second - first) for share in np.arange(steps) / steps]


def bent(at_mm: Floats, layout: SheetLayout, support: Support, phase: float = 0.0) -> Floats:
    """Bend places (N, 2), in millimetres on the sheet, to points (N, 3) as in :class:`Mesh`."""
    x, y = (at_mm - layout.patch.corners_mm.mean(axis=0)).T
    axis = np.deg2rad(support.axis_deg)
    along, across = x * np.cos(axis) + y * np.sin(axis), y * np.cos(axis) - x * np.sin(axis)
    way, depth = _PROFILES[support.shape](across, support, phase)
    return np.stack(
        [along * np.cos(axis) - way * np.sin(axis), along * np.sin(axis) + way * np.cos(axis), depth], axis=1
    )


def _flat(way: Floats, support: Support, phase: float) -> tuple[Floats, Floats]:
    return way, np.zeros_like(way)


def _rolled(way: Floats, support: Support, phase: float) -> tuple[Floats, Floats]:
    """Roll a way along the paper around a cylinder: place and depth."""
    angle = way / support.radius_mm
    return support.radius_mm * np.sin(angle), support.radius_mm * (1 - np.cos(angle))


def _rippled(way: Floats, support: Support, phase: float) -> tuple[Floats, Floats]:
    turn = 2 * np.pi / support.wavelength_mm
    return way, support.amplitude_mm * (np.sin(turn * way + phase) - np.sin(phase))


_PROFILES: dict[str, Callable[[Floats, Support, float], tuple[Floats, Floats]]] = {
    "flat": _flat,
    "curl": _rolled,
    "cylinder": _rolled,
    "ripple": _rippled,
}


def diffuse(reflectance: float) -> Spec:
    """Describe a grey paint."""
    return {"type": "diffuse", "reflectance": {"type": "spectrum", "value": reflectance}}


def linear_rgb(colour: tuple[float, float, float]) -> Spec:
    """Describe what reflects a colour of linear sRGB."""
    return {"type": "rgb", "value": list(colour)}


def plastic(colour: Spec, index: float, roughness: float) -> Spec:
    """Describe a dielectric surface over a colour, which is reflected in full, as printing tables say what a print reflects.

    ``roughplastic`` would lose 20 to 50 % of it, the more the rougher: light that leaves through a rough surface is lost there.
    """
    alpha_root = math.sqrt(roughness)  # the plugin squares it
    return {"type": "principled", "base_color": colour, "eta": index, "roughness": alpha_root}
