"""A thumb over the edge of a patch, which covers as much of it as a scene says."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from calibration.sheet.layout import SheetLayout
from captures.sources.rendered.surfaces import Mesh, skin_of

_WIDTH_MM = 24.0
_WIDEST_SHARE = 0.25  # of a large patch's side that is covered by something wider: several fingers, a hand
_ARM_MM = 1000.0
_STEPS = 30  # of a bisection, which halve what is left


def thumb_mesh(layout: SheetLayout, covers: float, from_deg: float) -> Mesh:
    """Lay a thumb half a thickness above the paper, in the sheet's axes.

    Args:
        layout: of the sheet.
        covers: the share of the patch that it covers, seen from far in front, above 0 and up to a quarter.
        from_deg: the direction from which it comes, 0 from the right, 90 from below.
    """
    outline = layout.patch_outline_mm - layout.patch.corners_mm.mean(axis=0)
    side = min(layout.patch.width_mm, layout.patch.height_mm)
    way = np.deg2rad(from_deg)
    inwards = -np.array([np.cos(way), np.sin(way), 0.0])
    least, most = -2 * side, side
    for _ in range(_STEPS):
        tip = (least + most) / 2
        if _covered(_thumb(side, inwards, tip), outline) < covers:
            least = tip
        else:
            most = tip
    return _thumb(side, inwards, (least + most) / 2)


def before_paper(thumb: Mesh, paper: Mesh) -> Mesh:
    """Bring a thumb in front of whatever lies under it of paper that is bent towards the camera, in the sheet's axes."""
    silhouette = Delaunay(_silhouette(thumb))
    under = paper.points[silhouette.find_simplex(paper.points[:, :2]) >= 0]
    return replace(thumb, points=thumb.points + np.array([0, 0, under[:, 2].min(initial=0.0)], np.float32))


def _covered(thumb: Mesh, outline_mm: NDArray[np.floating]) -> float:
    """Return the share of a patch with an outline (N, 2) that a thumb covers."""
    patch = outline_mm.astype(np.float32)
    return float(cv2.intersectConvexConvex(_silhouette(thumb), patch)[0]) / cv2.contourArea(patch)


def _silhouette(thumb: Mesh) -> NDArray[np.floating]:
    """Return the corners (N, 2) of the convex outline of a thumb, seen from far in front."""
    return cv2.convexHull(np.ascontiguousarray(thumb.points[:, :2]))[:, 0]


def _thumb(side: float, inwards: NDArray[np.floating], tip_mm: float) -> Mesh:
    """Build a thumb over a patch of a side, whose tip is so far beyond the patch's centre."""
    radius = max(_WIDTH_MM, _WIDEST_SHARE * side) / 2
    tip = tip_mm * inwards
    beside, above = np.array([-inwards[1], inwards[0], 0.0]), np.array([0.0, 0.0, -1.0])
    angle = np.linspace(0, 2 * np.pi, 33)
    ring = radius * (np.cos(angle)[:, None] * beside + np.sin(angle)[:, None] * above) + 0.6 * radius * above
    stations = [(t, math.sqrt(1 - t * t)) for t in np.sin(np.linspace(0, np.pi / 2, 9))]  # a rounded tip
    hand = 2.5 * ring - 1.5 * side * inwards + tip  # wider towards the hand, and on to where its arm leaves the picture
    rings = [hand - _ARM_MM * inwards, hand, ring + tip - radius * inwards]
    rings += [
        ring * width + 0.6 * radius * above * (1 - width) + tip + (t - 1) * radius * inwards for t, width in stations
    ]
    return skin_of(rings)
