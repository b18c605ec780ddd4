"""Markers, lens, colour and signs on other people's photographs: python benchmarks/real_photographs.py --data DIR

DIR holds any of these folders; those that are absent or empty are left out:

- ``colour-checker-sheets/``: photographs, anywhere below it, of a sheet with markers of DICT_4X4_50, ids 0, 1, 3, 2 clockwise,
  round a ColorChecker Classic or Mini, and ``reference_values.csv`` (square, Lab_l, Lab_a, Lab_b under D50).
- ``charuco-*/``: a folder of frames for each camera, all of one ChArUco board, whose size is --board, and optionally a
  ``*.camset`` with reference lenses.
- ``stop-signs/``: photographs that a stop sign fills.

Prints one JSON object. Colours are held out: each is predicted by a map that was chosen and fitted without it. Lenses are
fitted to disjoint halves of the views, to count how often the claimed 95 % interval of their difference holds 0. Signs are
pasted onto a plain frame at several sizes.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from one_line import run_main
from scipy import stats
from skimage.color import lab2xyz, xyz2rgb

from calibration.camera.board_views import LEAST_VIEWS, BoardView, LensFit, fit_lens
from calibration.camera.sheet_pose import make_detector
from calibration.colour.colour_map import fit_colour_map
from calibration.colour.colour_space import LINEAR_LEVELS, delta_e00, linear_to_srgb
from calibration.colour.illumination import SmoothLight
from calibration.common.errors import InputError
from calibration.common.pictures import read_picture
from physpatch.stats.intervals import median_over, wilson

_SUFFIXES = (".jpg", ".jpeg", ".png")
_MARKERS = (0, 1, 3, 2)  # clockwise from the top left
_RECTIFIED, _MARGIN = (700, 1000), 100  # pixels; the markers' centres lie on the margin
# First and last cell's centre of a chart that stands in the rectified sheet as the Classic and the Mini do.
_CHARTS = {"classic": (211, 217, 490, 763), "mini": (229, 277, 494, 728)}
_CELLS = (6, 4)
_SHIFTS, _STRETCHES = (-16, -8, 0, 8, 16), (-7, 0, 7)  # pixels, tried on each side of a chart's usual place
_INNER = 0.2  # of the distance between cells: half the side of the part that is measured
_RING_STEPS, _RING_SMOOTH_PX, _FROM_MARKER = 60, 9, 70
_FOLDS = 8
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50, _D65 = np.array([0.9642, 1.0, 0.8251]), np.array([0.95047, 1.0, 1.08883])
_SHARES, _FRAME_PX, _GREY = (0.2, 0.35, 0.5, 0.6), 640, 128
_SPLITS = 10
_PARTS = ("markers", "colour", "lens", "signs")


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--board",
        type=board_of,
        default="20x20:4:3.2:1000",
        help="columns x rows : square mm : marker mm : dictionary",
    )
    parser.add_argument("--only", nargs="*", choices=_PARTS, default=_PARTS)
    options = parser.parse_args()
    result: dict[str, object] = {}
    sheets = options.data / "colour-checker-sheets"
    if pictures_in(sheets) and {"markers", "colour"} & set(options.only):
        result |= markers_and_colour(sheets)
    for boards in sorted(options.data.glob("charuco-*")):
        if "lens" in options.only:
            result[f"lens {boards.name}"] = lenses(boards, options.board)
    if pictures_in(options.data / "stop-signs") and "signs" in options.only:
        result["signs"] = signs(options.data / "stop-signs")
    if not result:
        parser.error(f"{options.data} has none of the folders that {', '.join(options.only)} read; see --help")
    print(json.dumps(result))  # noqa: T201


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures anywhere below a folder; none where there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def rate(hits: int, n: int) -> dict[str, Any]:
    """Give a share with its 95 % interval."""
    low, high = wilson(hits, n).ci95
    return {"hits": hits, "n": n, "rate": round(hits / n, 4), "ci95": [round(low, 4), round(high, 4)]}


# --- markers and colours -------------------------------------------------------------------------------------------------


def markers_and_colour(folder: Path) -> dict[str, object]:
    """Find the markers, and predict each colour of each chart by maps fitted to the others."""
    sent = reference_colours(folder / "reference_values.csv")
    detector, sheets_found, errors, before = make_detector(), 0, [], []
    pictures = pictures_in(folder)
    for path in pictures:
        frame = read_picture(path)
        corners, ids, _ = detector.detectMarkers(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        places = {} if ids is None else dict(zip(ids.ravel().tolist(), corners, strict=True))
        if not all(marker in places for marker in _MARKERS):
            continue
        sheets_found += 1
        centres = np.array([places[marker].reshape(4, 2).mean(axis=0) for marker in _MARKERS], np.float32)
        colours = chart_colours(frame, centres, sent)
        errors.append(held_out_errors(sent.reshape(-1, 3), colours))
        before.append(delta_e00(sent.reshape(-1, 3), colours))
    if not sheets_found:
        return {"markers": rate(0, len(pictures)), "colour": None}
    by_picture = [float(np.median(cell_errors)) for cell_errors in errors]
    middle = median_over(by_picture)
    return {
        "markers": rate(sheets_found, len(pictures)),
        "colour": {
            "pictures": len(errors),
            "cells": int(sum(map(len, errors))),
            "de00_before": round(float(np.median(before)), 2),
            "de00_median": round(float(np.median(errors)), 2),
            "de00_p95": round(float(np.percentile(errors, 95)), 2),
            "picture_median": middle.median and round(middle.median, 2),
            "picture_median_ci95": None if middle.ci95 is None else [round(bound, 2) for bound in middle.ci95],
        },
    }


def reference_colours(file: Path) -> NDArray[np.float64]:
    """Read a ColorChecker's Lab values under D50, as sRGB in [0, 1], (6, 4, 3): rows F to A, columns 1 to 4."""
    values = np.zeros((*_CELLS, 3))
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            letter, number = row["square"][0], int(row["square"][1])
            values["FEDCBA".index(letter), number - 1] = [float(row[key]) for key in ("Lab_l", "Lab_a", "Lab_b")]
    cones = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D65) / (_BRADFORD @ _D50)) @ _BRADFORD
    return np.asarray(xyz2rgb(lab2xyz(values, illuminant="D50") @ cones.T))


def chart_colours(
    frame: NDArray[np.uint8], centres: NDArray[np.float32], sent: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure a chart's cells relative to the paper, (24, 3) sRGB, from the centres (4, 2) of the markers in a frame."""
    width, height = _RECTIFIED
    left, top, right, bottom = _MARGIN, _MARGIN, width - _MARGIN, height - _MARGIN
    square = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    picture = cv2.warpPerspective(frame, cv2.getPerspectiveTransform(centres, square), _RECTIFIED)
    place = chart_place(picture / 255, sent)
    linear = LINEAR_LEVELS[picture]
    along_x = np.linspace(left + _FROM_MARKER, right - _FROM_MARKER, _RING_STEPS)
    along_y = np.linspace(top + _FROM_MARKER, bottom - _FROM_MARKER, _RING_STEPS)
    ring = np.concatenate(
        [np.column_stack([along_x, np.full(_RING_STEPS, y)]) for y in (top, bottom)]
        + [np.column_stack([np.full(_RING_STEPS, x), along_y]) for x in (left, right)]
    )
    paper = cv2.blur(linear, (_RING_SMOOTH_PX,) * 2)[ring[:, 1].round().astype(int), ring[:, 0].round().astype(int)]
    light = SmoothLight(ring, paper)
    colours, _ = _cell_colours(linear, place)
    relative = colours.reshape(-1, 3) / light(_cell_centres(place).reshape(-1, 2))
    return np.asarray(linear_to_srgb(np.clip(relative, 0, 1)))


def chart_place(picture: NDArray[np.float64], sent: NDArray[np.float64]) -> tuple[float, ...]:
    """Find where a chart stands in the rectified sheet (H, W, 3): first its shift, then its size."""

    def best(places: list[tuple[float, ...]]) -> tuple[float, ...]:
        return min(places, key=lambda place: _misfit(picture, place, sent))

    left, top, right, bottom = best(
        [
            (left + x, top + y, right + x, bottom + y)
            for left, top, right, bottom in _CHARTS.values()
            for x in _SHIFTS
            for y in _SHIFTS
        ]
    )
    return best([(left - x, top - y, right + x, bottom + y) for x in _STRETCHES for y in _STRETCHES])


def _misfit(picture: NDArray[np.float64], place: tuple[float, ...], sent: NDArray[np.float64]) -> float:
    """Tell how far a place is from one where cells are plain and in the reference's order."""
    colours, spread = _cell_colours(picture, place)
    return float(spread.mean() + 0.3 * (1 - np.corrcoef(colours.ravel(), sent.ravel())[0, 1]))


def _cell_centres(place: tuple[float, ...]) -> NDArray[np.float64]:
    left, top, right, bottom = place
    return np.stack(np.meshgrid(np.linspace(left, right, _CELLS[1]), np.linspace(top, bottom, _CELLS[0])), axis=-1)


def _cell_colours(
    picture: NDArray[np.floating], place: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute medians (6, 4, 3) and standard deviations (6, 4, 3) in the middle of each cell."""
    half_x = _INNER * (place[2] - place[0]) / (_CELLS[1] - 1)
    half_y = _INNER * (place[3] - place[1]) / (_CELLS[0] - 1)
    medians, spreads = np.zeros((*_CELLS, 3)), np.zeros((*_CELLS, 3))
    for at, (x, y) in zip(np.ndindex(*_CELLS), _cell_centres(place).reshape(-1, 2), strict=True):
        part = picture[round(y - half_y) : round(y + half_y) + 1, round(x - half_x) : round(x + half_x) + 1]
        medians[at], spreads[at] = np.median(part, axis=(0, 1)), part.std(axis=(0, 1))
    return medians, spreads


def held_out_errors(sent: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute CIEDE2000 (N,) of each colour, predicted by a map that was chosen and fitted without it."""
    folds = np.random.default_rng(0).permutation(len(sent)) % _FOLDS
    predicted = np.zeros_like(seen)
    for fold in range(_FOLDS):
        held_out = folds == fold
        predicted[held_out] = fit_colour_map(sent[~held_out], seen[~held_out]).map.apply(sent[held_out])
    return delta_e00(seen, predicted)


# --- lenses --------------------------------------------------------------------------------------------------------------


class Board:
    """A ChArUco board of any size; it finds itself in frames, and fits a lens as a printed board does."""

    def __init__(self, columns: int, rows: int, square_mm: float, marker_mm: float, dictionary: int) -> None:
        names = cv2.aruco.getPredefinedDictionary(dictionary)
        board = cv2.aruco.CharucoBoard((columns, rows), square_mm, marker_mm, names)
        parameters = cv2.aruco.DetectorParameters()
        parameters.minMarkerPerimeterRate = 0.01
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        self._detector = cv2.aruco.CharucoDetector(board, cv2.aruco.CharucoParameters(), parameters)
        self._points = np.array(board.getChessboardCorners(), np.float32)

    def points_mm(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return corners' places, (N, 3) in mm."""
        return np.ascontiguousarray(self._points[ids])

    def find(self, frame: NDArray[np.uint8]) -> BoardView | None:
        """Find the corners in a frame (H, W, 3) RGB."""
        corners, ids, _, _ = self._detector.detectBoard(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        if ids is None or len(ids) < 10:
            return None
        return BoardView(corners.reshape(-1, 2), ids.ravel(), (frame.shape[1], frame.shape[0]), 0.0, (0.0, 0.0))


def board_of(text: str) -> Board:
    """Read --board.

    Raises:
        ValueError: it is of another form, or there is no such dictionary.
    """
    size, square, marker, dictionary = text.split(":")
    columns, rows = map(int, size.split("x"))
    dictionary_id = getattr(cv2.aruco, f"DICT_4X4_{dictionary}", None)
    if dictionary_id is None:
        raise ValueError(f"no dictionary of {dictionary} markers")
    return Board(columns, rows, float(square), float(marker), dictionary_id)


def lenses(folder: Path, board: Board) -> dict[str, object]:
    """Fit each camera's lens, and count how often the claimed intervals hold what other views find.

    The halves of one camera's views are not independent of each other, so that share has no interval.
    """
    references = {}
    for file in folder.glob("*.camset"):
        references = {name: np.array(camera["int"]) for name, camera in json.loads(file.read_text())["cams"].items()}
    cameras: dict[str, object] = {}
    held, tried = np.zeros(4, int), 0
    for camera in sorted(path for path in folder.iterdir() if path.is_dir()):
        views = [view for path in pictures_in(camera) if (view := board.find(read_picture(path))) is not None]
        try:
            fit = fit_lens(board, views, accept_poor=True)
        except InputError as error:
            cameras[camera.name] = {"views": len(views), "refused": str(error)}
            continue
        cameras[camera.name] = one_lens(fit, references.get(camera.name))
        within, count = halves_that_agree(board, views)
        held, tried = held + within, tried + count
    names = ("fx", "fy", "cx", "cy")
    agreed = {name: f"{hits} of {tried}" for name, hits in zip(names, held.tolist(), strict=True)} if tried else None
    return {"cameras": cameras, "claimed_95_holds_other_views": agreed}


def one_lens(fit: LensFit, reference: NDArray[np.float64] | None) -> dict[str, object]:
    """Give a lens with its claims, and how far a reference (3, 3) is from it."""
    record = fit.to_dict()
    share = {"focal_std_percent": round(100 * fit.focal_share, 3)}
    claims = {key: record[key] for key in ("views", "left_out", "rms_px", "std_px", "ci95_half_px", "caution")} | share
    if reference is None:
        return claims
    offsets = numbers_of(fit) - reference[[0, 1, 0, 1], [0, 1, 2, 2]]
    held = {
        name: bool(abs(offset) <= width)
        for (name, width), offset in zip(record["ci95_half_px"].items(), offsets, strict=True)
    }
    return claims | {
        "off_reference_px": [round(float(offset), 2) for offset in offsets],
        "interval_holds_reference": held,
    }


def numbers_of(fit: LensFit) -> NDArray[np.float64]:
    """Return fx, fy, cx, cy."""
    lens = fit.intrinsics
    return np.array([lens.fx, lens.fy, lens.cx, lens.cy])


def halves_that_agree(board: Board, views: Sequence[BoardView]) -> tuple[NDArray[np.int64], int]:
    """Count, over random halves of the views, how often the 95 % interval of a difference holds 0: (4,) and the tries."""
    rng, held, tried = np.random.default_rng(0), np.zeros(4, int), 0
    if len(views) < 2 * LEAST_VIEWS:
        return held, tried
    for _ in range(_SPLITS):
        order, half = rng.permutation(len(views)), len(views) // 2
        try:
            first, second = (
                fit_lens(board, [views[i] for i in part], accept_poor=True) for part in (order[:half], order[half:])
            )
        except InputError:
            continue
        width = stats.t.ppf(0.975, half - 1) * np.hypot(first.std, second.std)
        held += np.abs(numbers_of(first) - numbers_of(second)) <= width
        tried += 1
    return held, tried


# --- signs ---------------------------------------------------------------------------------------------------------------


def signs(folder: Path) -> dict[str, object]:
    """Detect stop signs pasted onto a grey frame, at several shares of its side."""
    from physpatch.victims.registry import load_detector

    detector, pictures = load_detector("signs"), [read_picture(path) for path in pictures_in(folder)]
    by_share = {}
    for share in _SHARES:
        side = round(share * _FRAME_PX)
        first = (_FRAME_PX - side) // 2
        stop_hits = other_hits = 0
        for picture in pictures:
            frame = np.full((_FRAME_PX, _FRAME_PX, 3), _GREY, np.uint8)
            way = cv2.INTER_AREA if side < min(picture.shape[:2]) else cv2.INTER_LINEAR
            frame[first : first + side, first : first + side] = cv2.resize(picture, (side, side), interpolation=way)
            names = [(detector.categories[detection.index], detection.xyxy) for detection in detector.detect(frame)]
            stop_hits += any(name == "stop" and _overlap(box, first, side) > 0.5 for name, box in names)
            other_hits += any(name != "stop" for name, _ in names)
        by_share[f"{share:g}"] = {"found": rate(stop_hits, len(pictures)), "others": rate(other_hits, len(pictures))}
    return by_share


def _overlap(box: Sequence[float], first: int, side: int) -> float:
    """Compute the intersection over union of a box and the pasted square."""
    left, top, right, bottom = box
    across = min(right, first + side) - max(left, first)
    down = min(bottom, first + side) - max(top, first)
    shared = max(0.0, across) * max(0.0, down)
    return shared / ((right - left) * (bottom - top) + side * side - shared)


if __name__ == "__main__":
    run_main(main)
