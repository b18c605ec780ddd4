"""Load a rig profile, match it with printed sheets, and summarise it."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration.colour.printing_condition import nearest_condition
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.common.errors import InputError
from calibration.common.files import write_picture
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import measured_scale, printed_layouts
from captures.gap.session_colours import session_lights
from captures.results.recorded_session import RecordedSession


def open_rig(profile: Path) -> RigProfile:
    """Load a profile, or create an empty one if the file does not exist."""
    return RigProfile.load(profile) if profile.exists() else RigProfile()


def calibration_layout(sheet: Path, kind: str) -> SheetLayout:
    """Find the ``board`` or the ``chart`` in a PDF, in true millimetres.

    Raises:
        InputError: if there is no such file, or it has no such sheet.
    """
    if not sheet.exists():
        raise InputError(f"no file {sheet}: print it with `physpatch calibrate sheet`, or pass another to --sheet")
    for layout in printed_layouts(sheet):
        if layout.kind == kind:
            return layout
    raise InputError(f"{sheet} contains no {kind}; pass the PDF of `physpatch calibrate sheet` to --sheet")


def colours_of_session(folder: Path, light: str | None = None) -> tuple[list[LightProfile], str]:
    """Measure the colours of a session's lights on its own sheets.

    Args:
        folder: of the session.
        light: a name for its only light; None for the names in the session.

    Returns:
        The lights, and the sheet on which they were measured, in words.

    Raises:
        InputError: if there is no session, no sheet shows its colours clearly, or a name is given for several lights.
    """
    session = RecordedSession.open(folder)
    rig, measured_on = session_lights(session, next(iter(session.tally.models), ""))
    if not rig.lights:
        raise InputError(f"{folder}: colours measured on {measured_on}")
    if light is not None and len(rig.lights) > 1:
        names = ", ".join(fitted.name for fitted in rig.lights)
        raise InputError(f"{folder} has several lights ({names}), which keep their names; omit --light")
    return [fitted if light is None else replace(fitted, name=light) for fitted in rig.lights], measured_on


def print_scale(rig: RigProfile, sheet: Path) -> tuple[float, float] | None:
    """Return the scale of the sheet, across and down, if its rulers were measured; otherwise that of the rig."""
    measured = measured_scale(sheet)
    return rig.print_scale if measured is None else measured


def save_light_picture(profile: Path, light: LightProfile) -> Path:
    """Save a picture of the chart under one light beside the profile; return its path."""
    path = profile.with_name(f"{profile.stem}-light-{'-'.join(re.findall(r'[^ /:]+', light.name)) or 'light'}.png")
    write_picture(path, light.picture())
    return path


def light_numbers(light: LightProfile) -> dict[str, Any]:
    """Return the measurements under a light as JSON values, without the colours themselves."""
    numbers = {k: v for k, v in asdict(light).items() if k not in ("sent", "seen", "map")}
    condition, distance = nearest_condition(np.array(light.sent) / 255, np.array(light.seen) / 255)
    nearest = {"name": condition.name, "intent": condition.intent, "median_de00": round(distance, 2)}
    return numbers | {"gamut_share": light.gamut_share, "nearest_condition": nearest}
