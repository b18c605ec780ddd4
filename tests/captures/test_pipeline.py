"""Threads between source and drawing: nothing lost of a file, nothing old of a camera, nothing hanging."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from captures.inference.pipeline import Pipeline as AnyPipeline
from captures.sources.frame import Frame
from captures.sources.latest_frame import LiveFrames
from captures.sources.opening import FileSource


@pytest.fixture(params=["overlapping", "in turn"])
def pipe(request):
    """A pipeline of either kind."""
    return partial(AnyPipeline, overlap=request.param == "overlapping")


class Numbers(FileSource):
    """Frames without content, ten a second by their own times."""

    fps = 10.0

    def __init__(self, count: int, fails: type[Exception] | None = None) -> None:
        self._count, self._fails = count, fails

    def __iter__(self) -> Iterator[Frame]:
        for i in range(self._count):
            yield Frame(np.zeros((2, 2, 3), np.uint8), i / 10, i + 1)
        if self._fails:
            raise self._fails("planted")


class Slow:
    """An analyser that takes so long."""

    def __init__(self, locate_s: float = 0.0, judge_s: float = 0.0, fails_at: int | None = None) -> None:
        self.locate_s, self.judge_s, self.fails_at = locate_s, judge_s, fails_at

    def locate(self, frame: Frame):
        time.sleep(self.locate_s)
        return frame

    def judge(self, frame: Frame):
        time.sleep(self.judge_s)
        if frame.number == self.fails_at:
            raise ValueError("planted in the models")
        late = None if frame.captured is None else time.monotonic() - frame.captured
        return SimpleNamespace(number=frame.number, late=late)


class Camera(LiveFrames):
    """A hundred frames a second."""

    def __init__(self) -> None:
        super().__init__("camera", 100)
        threading.Thread(target=self._film, daemon=True).start()

    def _film(self) -> None:
        while not self._ended:
            self.put(np.zeros((2, 2, 3), np.uint8))
            time.sleep(0.01)


def numbers(pipeline: AnyPipeline) -> list[int]:
    with pipeline:
        return [analysis.number for analysis in pipeline.analyses(5) if analysis is not None]


def test_a_file_is_analysed_in_full_and_in_order(pipe) -> None:
    assert numbers(pipe(Numbers(50), Slow(0.001, 0.002))) == list(range(1, 51))


def test_stages_overlap() -> None:
    begun = time.monotonic()
    numbers(AnyPipeline(Numbers(20), Slow(0.03, 0.03), overlap=True))
    assert time.monotonic() - begun < 20 * 0.06 * 0.85


def test_frames_are_thinned_by_number_and_by_time(pipe) -> None:
    thinned = pipe(Numbers(20), Slow(), every=6)
    assert numbers(thinned) == [1, 7, 13, 19] and thinned.passed_over == 16
    assert numbers(pipe(Numbers(20), Slow(), max_fps=2.5)) == [1, 5, 9, 13, 17]
    assert numbers(pipe(Numbers(20), Slow(), every=2, max_frames=3)) == [1, 3, 5]
    assert numbers(pipe(Numbers(20), Slow(), every=6, after=(-2, -0.3))) == [
        4,
        10,
        16,
    ]  # of files that were begun before


def test_an_answer_is_as_old_as_one_run_and_one_frame(pipe) -> None:
    with Camera() as camera, pipe(camera, Slow(0.02, 0.15)) as pipeline:
        found = [analysis for analysis, _ in zip(pipeline.analyses(5), range(12), strict=False)]
    late = [analysis.late for analysis in found[3:] if analysis is not None and analysis.late is not None]
    assert len(late) >= 8 and sorted(late)[len(late) // 2] < 0.15 + 0.06  # locating it once, and one frame
    assert camera.dropped > 50


@pytest.mark.parametrize(
    ("source", "analyser", "error"),
    [
        (Numbers(5, fails=OSError), Slow(), OSError),
        (Numbers(5, fails=TimeoutError), Slow(), TimeoutError),  # a source's own, and not that no frame came yet
        (Numbers(9), Slow(fails_at=4), ValueError),
    ],
)
def test_what_a_thread_raises_reaches_the_session_after_the_frames_before(source, analyser, error, pipe) -> None:
    came = []
    with pytest.raises(error, match="planted"), pipe(source, analyser) as pipeline:
        came.extend(analysis.number for analysis in pipeline.analyses(5) if analysis is not None)
    assert came == list(range(1, 4 if error is ValueError else 6))


def test_leaving_early_ends_the_threads_even_while_nothing_comes(pipe) -> None:
    silent = LiveFrames("camera", 30)
    with pipe(silent, Slow()) as pipeline:
        assert next(iter(pipeline.analyses(0.05))) is None
        threads = pipeline._threads
    assert not any(thread.is_alive() for thread in threads)
    with pipe(Numbers(10_000), Slow(0, 0.01)) as pipeline:
        next(iter(pipeline.analyses(5)))
        threads = pipeline._threads
    assert not any(thread.is_alive() for thread in threads)
