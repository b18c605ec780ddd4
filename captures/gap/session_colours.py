"""What print and camera make of colours, as a session's own sheets show it."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.colour.colour_chart import ChartShot
from calibration.colour.colour_map import srgb_to_linear
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.colour.sheet_colour import LEAST_PX_PER_CELL, observe
from captures.gap.replay import draw_as_measured
from captures.results.recorded_session import RecordedSession, Shown
from captures.sources.opencv import as_kept
from physpatch.records.patch_file import Patch
from physpatch.rendering.cells import cells_from_patch

_COLOURED = ("random", "shuffled", "patch")  # sheets whose colours tell of print and camera, the most telling first
_MOST_SHOTS = 12
_LEAST_EXPLAINED = (
    0.95  # of what a sheet's cells look like, by one map of colours; else they are not where they seem to be
)
_REFINEMENTS = 2
Reading = tuple[Shown, ChartShot]


def session_lights(session: RecordedSession, model: str) -> tuple[RigProfile, str]:
    """Measure print and camera on the session's own sheets, a light each, and say which sheet told.

    Without lights where no sheet is large and sharp enough in the frames that were kept, or no map explains what is seen.
    """
    unclear = False
    for condition in _COLOURED:
        layout = next((one for one in session.layouts if one.kind == condition and one.cells is not None), None)
        if layout is None or layout.cells is None:
            continue
        readings: dict[str, list[Reading]] = defaultdict(list)
        for shown in session.shown(model, condition):
            shot = observe(shown.picture, shown.pose)
            if shot is not None and shot.px_per_cell >= LEAST_PX_PER_CELL:
                readings[shown.row.light or ""].append((shown, shot))
        lights = [
            _refined(name or "session", layout.cells, _sharpest(found))
            for name, found in readings.items()
            if len({shot.frame_wh for _, shot in found}) == 1
        ]
        clear = tuple(light for light in lights if light.explained >= _LEAST_EXPLAINED)
        if clear:
            return RigProfile(lights=clear), f"the {condition} sheet"
        unclear = unclear or bool(lights)
    if unclear:
        return (
            RigProfile(),
            "nowhere: what is seen of the sheets is not what any print and camera make of their colours",
        )
    return RigProfile(), "nowhere: no sheet with colours was large and sharp enough"


def _refined(name: str, sent: NDArray[np.uint8], readings: Sequence[Reading]) -> LightProfile:
    """Fit a light so that the sheet, drawn anew with what was fitted, reads as the printed one did.

    Blur, noise and the camera's coarser colour bias the reading of small cells. What is drawn is read with the same bias, and
    there it is known, so it can be taken off: indirect inference (Gourieroux, Monfort and Renault 1993).
    """
    shots = [shot for _, shot in readings]
    light = LightProfile.fit(name, sent, shots)
    cells = cells_from_patch(Patch(sent.copy()))  # what a PDF carries cannot be written to
    for _ in range(_REFINEMENTS):
        drawn = srgb_to_linear(np.clip(light.map.apply(sent / 255), 0, 1))
        unbiased = []
        for shown, shot in readings:
            again = draw_as_measured(shown.picture, cells, shown.pose.patch_corners_px, shot, light.map)
            read = observe(as_kept(again), shown.pose)
            unbiased.append(shot if read is None else replace(shot, seen=shot.seen - (read.seen - drawn)))
        light = LightProfile.fit(name, sent, unbiased)
    return light


def _sharpest(readings: Sequence[Reading]) -> list[Reading]:
    """Those in which a cell is largest beside the blur."""
    return sorted(readings, key=lambda one: one[1].blur_px / one[1].px_per_cell)[:_MOST_SHOTS]
