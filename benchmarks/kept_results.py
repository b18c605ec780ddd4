"""What a bench keeps of each of its parts, so that a killed one goes on; shared by several benches."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calibration.common.files import read_json, write_json


def kept_result(file: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read what a file keeps under ``settings`` of the same value; None for no file, or one with other settings."""
    result = dict(read_json(file)) if file.is_file() else {}
    return result if result.get("settings") == json.loads(json.dumps(settings)) else None


def kept_or_made(file: Path, settings: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Read what a file keeps under these settings, or make and keep it: the same either way."""
    if (result := kept_result(file, settings)) is not None:
        return result
    write_json(file, {"settings": dict(settings), **make()})
    return dict(read_json(file))
