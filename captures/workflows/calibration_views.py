"""Film the calibration sheets with feedback on each frame."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera.board_views import COVERAGE_GRID, BoardFinder, BoardView, ViewCollector
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_chart import ChartShot, read_chart
from calibration.common.errors import InputError
from calibration.common.signals import ended_by_ctrl_c
from calibration.common.text import number_of
from calibration.sheet.layout import SheetLayout
from captures.sources.frame import Frame
from captures.sources.opening import FileSource
from captures.sources.virtual_rig import RIG_FPS, VirtualRig
from captures.viewers.overlay import heads_up

MOST_VIEWS = 40
_SHOT_GAP_S = 0.4  # least time between two pictures of the chart from one stream
_REHEARSED = 24  # stills
_REHEARSAL_WH = (960, 720)
_FACING = {"turn_deg": 10.0, "reach": 0.1}  # how a chart is held
_GREEN, _WHITE, _ORANGE = (0, 158, 115), (255, 255, 255), (213, 94, 0)

OnLook = Callable[[NDArray[np.uint8], int, str], bool]
"""Called with the annotated frame, (H, W, 3) RGB uint8, the number of accepted frames and a message; return False to stop."""


class RehearsedSheet(FileSource):
    """A source that shows one calibration sheet to the virtual rig's camera, to rehearse a calibration."""

    fps = RIG_FPS

    def __init__(self, sheet: Path, layout: SheetLayout) -> None:
        """Show the sheet ``layout`` of a PDF.

        Raises:
            InputError: if the PDF is not readable.
        """
        self._rig = VirtualRig(sheet, [(sheet, None)], frame_wh=_REHEARSAL_WH)  # stills are shown before grey
        self._page = [rig_layout.kind for rig_layout in self._rig.layouts].index(layout.kind)
        self._how: dict[str, float] = {} if layout.kind == "board" else _FACING

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._rig.film(self._page, _REHEARSED, np.random.default_rng(0), **self._how):
            self.captured = frame.number
            yield frame


def collect_views(
    frames: Iterable[Frame], finder: BoardFinder, *, live: bool, on_look: OnLook = lambda *_: True
) -> ViewCollector:
    """Collect good views of the board: from a live source until they suffice, from a file until its end.

    Args:
        frames: the source.
        finder: of the printed board.
        live: whether the source is live.
        on_look: receives each frame; see :data:`OnLook`.
    """
    collector = ViewCollector(finder)
    with ended_by_ctrl_c():  # views so far are used
        for frame in frames:
            before = len(collector.views)
            refusal = collector.offer(frame.image)
            accepted_view = collector.views[-1] if len(collector.views) > before else None
            wish = collector.wish
            picture = _board_picture(frame.image, collector, accepted_view, refusal, wish)
            if not on_look(picture, len(collector.views), refusal or wish):
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
    """Measure the chart in up to ``wanted`` usable frames.

    Args:
        frames: the source.
        layout: of the printed chart.
        intrinsics: of the camera; None assumes a typical field of view.
        wanted: number of measurements; None uses all frames.
        on_look: receives each frame; see :data:`OnLook`.

    Returns:
        The measurements, and the number of rejected frames by reason.

    Raises:
        InputError: if no frame is usable; the message is the most common reason.
    """
    shots: list[ChartShot] = []
    refused: Counter[str] = Counter()
    last_s = -np.inf
    with ended_by_ctrl_c():
        for frame in frames:
            if frame.clip is None and frame.time_s - last_s < _SHOT_GAP_S:
                continue
            refusal = ""
            try:
                shots.append(read_chart(frame.image, layout, intrinsics))
                last_s = frame.time_s
            except InputError as error:
                refusal = str(error)
                refused[refusal] += 1
            picture = frame.image.copy()
            words = refusal or f"{len(shots)} picture{'s' * (len(shots) != 1)} of the chart"
            heads_up(picture, [(words, _ORANGE if refusal else _WHITE)])
            if not on_look(picture, len(shots), refusal) or len(shots) == wanted:
                break
    if not shots:
        raise InputError(refused.most_common(1)[0][0] if refused else "the source ended before its first frame")
    return shots, refused


def _board_picture(
    image: NDArray[np.uint8], collector: ViewCollector, accepted_view: BoardView | None, refusal: str, wish: str
) -> NDArray[np.uint8]:
    """Draw the frame, darker where views are missing, with the corners of an accepted view and an instruction."""
    picture = image.copy()
    rows, columns = COVERAGE_GRID
    height, width = picture.shape[:2]
    for row, column in np.argwhere(collector.coverage == 0):
        part = picture[
            row * height // rows : (row + 1) * height // rows,
            column * width // columns : (column + 1) * width // columns,
        ]
        part[:] = (part * 0.55).astype(np.uint8)
    if accepted_view is not None:
        for x, y in accepted_view.corners_px:
            cv2.circle(picture, (round(float(x)), round(float(y))), max(3, width // 320), _GREEN, -1, cv2.LINE_AA)
    lines = [(f"{number_of(len(collector.views), 'view')} accepted", _WHITE)]
    lines += [(refusal, _ORANGE)] if refusal else []
    heads_up(picture, [*lines, (wish or "complete: press q to end", _WHITE)])
    return picture
