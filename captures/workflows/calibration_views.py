"""Filming the calibration sheets: which frames are good is said while they come."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.board_views import COVERAGE_GRID, BoardFinder, BoardView, ViewCollector
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_chart import ChartShot, read_chart
from calibration.common.errors import InputError
from calibration.sheet.layout import SheetLayout
from captures.sources.frame import Frame
from captures.viewers.overlay import heads_up

MOST_VIEWS = 40
_SHOT_GAP_S = 0.4  # between two pictures of the chart from one stream, so that they are not the same one
_GREEN, _WHITE, _ORANGE = (0, 158, 115), (255, 255, 255), (213, 94, 0)

OnLook = Callable[[NDArray[np.uint8], int, str], bool]
"""Called with the annotated frame (H, W, 3) RGB, how many are kept, and what was said; False ends."""


def collect_views(
    frames: Iterable[Frame], finder: BoardFinder, *, live: bool, on_look: OnLook = lambda *_: True
) -> ViewCollector:
    """Keep the good views of the board; a live source ends when nothing is missing any more, a file at its end."""
    collector = ViewCollector(finder)
    with suppress(KeyboardInterrupt):  # Ctrl-C ends the filming, and what was filmed counts
        for frame in frames:
            before = len(collector.views)
            said = collector.offer(frame.image)
            kept = collector.views[-1] if len(collector.views) > before else None
            wish = collector.wish
            if not on_look(
                _board_picture(frame.image, collector, kept, said, wish), len(collector.views), said or wish
            ):
                break
            if len(collector.views) >= MOST_VIEWS or (live and not wish):
                break
    return collector


def collect_shots(
    frames: Iterable[Frame],
    layout: SheetLayout,
    intrinsics: Intrinsics | None,
    *,
    wanted: int | None,
    on_look: OnLook = lambda *_: True,
) -> tuple[list[ChartShot], Counter[str]]:
    """Measure the chart in the frames that can be trusted, up to ``wanted``; also why others were not.

    Raises:
        InputError: no frame could be used; says the commonest reason.
    """
    shots: list[ChartShot] = []
    refused: Counter[str] = Counter()
    last_s = -np.inf
    with suppress(KeyboardInterrupt):
        for frame in frames:
            if frame.clip is None and frame.time_s - last_s < _SHOT_GAP_S:
                continue
            said = ""
            try:
                shots.append(read_chart(frame.image, layout, intrinsics))
                last_s = frame.time_s
            except InputError as error:
                said = str(error)
                refused[said] += 1
            picture = frame.image.copy()
            heads_up(
                picture,
                [(said or f"{len(shots)} picture{'s' * (len(shots) != 1)} of the chart", _ORANGE if said else _WHITE)],
            )
            if not on_look(picture, len(shots), said) or len(shots) == wanted:
                break
    if not shots:
        raise InputError(refused.most_common(1)[0][0] if refused else "the source ended before its first frame")
    return shots, refused


def _board_picture(
    image: NDArray[np.uint8], collector: ViewCollector, kept: BoardView | None, said: str, wish: str
) -> NDArray[np.uint8]:
    """The frame, darker where no view has been yet, with the corners just found and what to do."""
    picture = image.copy()
    rows, columns = COVERAGE_GRID
    height, width = picture.shape[:2]
    for row, column in np.argwhere(collector.coverage == 0):
        part = picture[
            row * height // rows : (row + 1) * height // rows,
            column * width // columns : (column + 1) * width // columns,
        ]
        part[:] = (part * 0.55).astype(np.uint8)
    if kept is not None:
        for x, y in kept.corners_px:
            cv2.circle(picture, (round(float(x)), round(float(y))), max(3, width // 320), _GREEN, -1, cv2.LINE_AA)
    lines = [(f"{len(collector.views)} views kept", _WHITE)]
    lines += [(said, _ORANGE)] if said else []
    heads_up(picture, [*lines, (wish or "all there: q ends", _WHITE)])
    return picture
