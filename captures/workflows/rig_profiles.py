"""A rig profile between two measurements: opened, matched with its printed sheets, shown as pictures and numbers."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.common.errors import InputError
from calibration.common.files import write_picture
from calibration.sheet.layout import SheetLayout
from calibration.sheet.pdf_reader import printed_layouts


def open_rig(profile: Path) -> RigProfile:
    """Load a profile, or begin an empty one where the file is not there yet."""
    return RigProfile.load(profile) if profile.exists() else RigProfile()


def calibration_layout(sheet: Path, kind: str) -> SheetLayout:
    """Find the ``board`` or the ``chart`` in a PDF, in true millimetres.

    Raises:
        InputError: no such file, or no such sheet in it.
    """
    if not sheet.exists():
        raise InputError(f"no file {sheet}: print it with `physpatch calibrate sheet`, or name it with --sheet")
    for layout in printed_layouts(sheet):
        if layout.kind == kind:
            return layout
    raise InputError(f"{sheet} holds no {kind}; give the PDF of `physpatch calibrate sheet` with --sheet")


def print_scale(rig: RigProfile, layout: SheetLayout) -> tuple[float, float] | None:
    """Return the sheet's scale, across and down, where its rulers were measured; else what the rig has."""
    return layout.scale if layout.scale != (1.0, 1.0) else rig.print_scale


def save_light_picture(profile: Path, light: LightProfile) -> Path:
    """Save the chart under one light beside the profile; whatever the light is called, the name is a file's."""
    path = profile.with_name(f"{profile.stem}-{'-'.join(re.findall(r'[^ /:]+', light.name)) or 'light'}.png")
    write_picture(path, light.picture())
    return path


def light_numbers(light: LightProfile) -> dict[str, Any]:
    """List what was measured under a light as plain JSON, without the colours themselves."""
    numbers = {k: v for k, v in asdict(light).items() if k not in ("sent", "seen", "map")}
    return numbers | {"gamut_share": light.gamut_share}
