"""Measure the print-and-camera colour map on the sheets of a session."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_space import srgb_to_linear
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.colour.sheet_colour import LEAST_PX_PER_CELL, observe
from captures.gap.replay import draw_as_measured
from captures.results.recorded_session import RecordedSession, Shown
from captures.sources.opencv import as_kept
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch

_COLOURED = ("random", "shuffled", "patch")  # sheets with suitable colours, the best first
_MOST_SHOTS = 12
_LEAST_EXPLAINED = (
    0.95  # variance that one colour map must explain; less means that the cells are not where the pose has them
)
_REFINEMENTS = 2
_CURE = "film nearer, or keep more frames with --keep all"
Reading = tuple[Shown, ChartShot]


def session_lights(session: RecordedSession, model: str) -> tuple[RigProfile, str]:
    """Measure a colour map for each light of a session.

    Returns:
        The profile, and the sheet it was measured on, or why there is none, in words. The profile has no lights if no sheet is
        large and sharp enough in the kept frames, no map explains its colours, or the sheets are cut as circles.
    """
    if any(layout.cut_shape == "circle" for layout in session.layouts):
        return RigProfile(), "no sheet: those cut as a circle show no whole grid; film one that is not"
    unclear = False
    for condition in _COLOURED:
        layout = next((sheet for sheet in session.layouts if sheet.kind == condition and sheet.cells is not None), None)
        if layout is None or layout.cells is None:
            continue
        readings: dict[str, list[Reading]] = defaultdict(list)
        sizes: dict[str, set[tuple[int, int]]] = defaultdict(set)
        for frame in session.shown(model, condition):
            shot = observe(frame.picture, frame.pose)
            if shot is not None and shot.px_per_cell >= LEAST_PX_PER_CELL:
                name = frame.row.light or ""
                readings[name] = _sharpest([*readings[name], (frame, shot)])  # all pictures would fill the memory
                sizes[name].add(shot.frame_wh)
        lights = [
            _refined(name or "session", layout.cells, of_light)
            for name, of_light in readings.items()
            if len(sizes[name]) == 1
        ]
        clear = tuple(light for light in lights if light.explained >= _LEAST_EXPLAINED)
        if clear:
            return RigProfile(lights=clear), f"the {condition} sheet"
        unclear = unclear or bool(lights)
    if unclear:
        return RigProfile(), f"no sheet: no colour map explains how the sheets look; {_CURE}"
    return RigProfile(), f"no sheet: none with colours was large and sharp enough; {_CURE}"


def _refined(name: str, sent: NDArray[np.uint8], readings: Sequence[Reading]) -> LightProfile:
    """Fit a light so that the sheet, rendered with the fit, is measured like the printed one.

    Blur, noise and the camera's chroma resolution bias the measurement of small cells. A rendered sheet is measured with the
    same bias, which is known there and can be subtracted: indirect inference (Gourieroux, Monfort and Renault 1993).
    """
    shots = [shot for _, shot in readings]
    light = LightProfile.fit(name, sent, shots)
    cells = cells_from_patch(Patch(sent.copy()))  # the cells of a PDF are read-only
    for _ in range(_REFINEMENTS):
        drawn = srgb_to_linear(np.clip(light.map.apply(sent / 255), 0, 1))
        unbiased = []
        for frame, shot in readings:
            rendered = draw_as_measured(frame.picture, cells, frame.pose.patch_corners_px, shot, light.map)
            read = observe(as_kept(rendered), frame.pose)
            unbiased.append(shot if read is None else replace(shot, seen=shot.seen - (read.seen - drawn)))
        light = LightProfile.fit(name, sent, unbiased)
    return light


def _sharpest(readings: Sequence[Reading]) -> list[Reading]:
    """Choose the readings with the least blur relative to the size of a cell."""
    return sorted(readings, key=lambda reading: reading[1].blur_px / reading[1].px_per_cell)[:_MOST_SHOTS]
