"""Words and formats that several parts of a report share."""

import re
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.common.success import MEASURES
from captures.results.aggregation import Tally
from captures.sources.opencv import rgb
from physpatch.stats.intervals import Interval, Rate, percent

SHEET_DPI = 60
CODE_SPAN = re.compile(r"`([^`]+)`")  # what a program takes, in a text for people
PARTS_OF_A_DEMO = ("session", "run")  # folders that are called after what they are
UNITS = {"step": "steps of the plan", "clip": "clips", "scene": "scenes"}  # by Tally.independent_kind
CELLS = {"step": "steps", "clip": "clips", "pose cell": "pose cells"}  # the units themselves, not their clips
SHORT = {
    "target": "target first",
    "wrong": "wrong answer",
    "hidden": "nothing detected on the object",
    "relabelled": "detected as something else",
    "false_boxes": "false box at the patch",
}


def rate_words(rate: Rate) -> str:
    """Format a rate, such as ``41.0 % (30.2 to 52.8, n = 80)``; a dash if nothing was counted."""
    if rate.rate is None:
        return "–"
    if rate.ci95 is None:
        if rate.within95 is None:
            return f"{percent(rate.rate)} (one case)".replace(" ", "\N{NO-BREAK SPACE}")
        low, high = (100 * end for end in rate.within95)
        words = f"{percent(rate.rate)}|(one case;|within it {low:.1f} to {high:.1f})"
        return words.replace(" ", "\N{NO-BREAK SPACE}").replace("|", " ")
    words = f"{percent(rate.rate)}|({100 * rate.ci95[0]:.1f} to {100 * rate.ci95[1]:.1f},|n = {rate.n})"
    return words.replace(" ", "\N{NO-BREAK SPACE}").replace("|", " ")  # lines break only between its parts


def folder_name(folder: Path) -> str:
    """Return the name of a run's or session's folder, with its parent's if it says only what the folder is."""
    folder = folder.resolve()
    return f"{folder.parent.name}/{folder.name}" if folder.name in PARTS_OF_A_DEMO else folder.name


def moment_words(iso: str) -> str:
    """Format a moment of a record, ISO 8601, such as ``2026-11-27 at 19:44``; anything else stays as it is."""
    try:
        return datetime.fromisoformat(iso).strftime("%Y-%m-%d at %H:%M") if "T" in iso else iso
    except ValueError:
        return iso


def precision_words(ap: float | None, ci95: Interval | None) -> str:
    """Format an average precision, such as ``0.41 (0.30 to 0.53)``; a dash without one."""
    if ap is None:
        return "–"
    return f"{ap:.2f}" if ci95 is None else f"{ap:.2f} ({ci95[0]:.2f} to {ci95[1]:.2f})"


def short_interval(rate: Rate) -> str:
    """Format the interval of a rate for a cell of a map, such as ``30 to 53``."""
    return "one case" if rate.ci95 is None else "{:.0f} to {:.0f}".format(*(100 * end for end in rate.ci95))


def measures_of(tally: Tally, model: str) -> list[str]:
    """List the measures that are available for a model, in the order of ``MEASURES``."""
    return [m for m in MEASURES if any(tally.rates(model, m, c) for c in tally.conditions(model))]


def packed(picture: NDArray[np.uint8], suffix: str, quality: int = 95) -> bytes:
    """Encode a picture, (H, W, 3) RGB uint8, as PNG, or as JPEG of a quality from 0 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, rgb(picture), options)
    return data.tobytes()
