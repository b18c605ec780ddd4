"""Whether patch and controls were filmed alike, by what the camera's driver told of each frame."""

import json
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from captures.sources.frame import NO_SHEET
from captures.storage import FrameRow

_TOLERANCE = 0.05  # of the larger value: drivers round, and a few frames may still adapt
_PATCH = "patch"


def unlike_settings(rows: Iterable[FrameRow]) -> list[str]:
    """List the settings of the camera that differ between the patch and a control, in words; compare medians over frames."""
    by_setting: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in {row.frame: row for row in rows}.values():
        if row.camera is not None and row.condition != NO_SHEET:
            for name, value in json.loads(row.camera).items():
                by_setting[name][row.condition].append(float(value))
    differences = []
    for name, by_sheet in by_setting.items():
        middle = {sheet: median(values) for sheet, values in by_sheet.items()}
        of_patch = middle.pop(_PATCH, None)
        for sheet, value in middle.items():
            if of_patch is not None and abs(value - of_patch) > _TOLERANCE * max(abs(value), abs(of_patch)):
                differences.append(f"{name.replace('_', ' ')} {of_patch:g} with the patch, {value:g} with {sheet}")
    return differences
