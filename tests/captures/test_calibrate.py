"""Filming the calibration sheets."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.camera.board_views import BoardFinder
from calibration.common.errors import InputError
from captures.sources.frame import Frame
from captures.sources.virtual_rig import VirtualRig
from captures.workflows.calibration_views import RehearsedSheet, collect_shots, collect_views
from printouts import print_targets


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> VirtualRig:
    folder = tmp_path_factory.mktemp("rig")
    print_targets(folder / "calibration.pdf")
    cv2.imwrite(str(folder / "wall.png"), np.full((10, 10, 3), 128, np.uint8))
    return VirtualRig(folder / "calibration.pdf", [(folder / "wall.png", None)], frame_wh=(960, 720), seed=6)


@pytest.fixture(scope="module")
def board_frames(rig: VirtualRig) -> list[Frame]:
    return list(rig.film(0, 5, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def chart_frames(rig: VirtualRig) -> list[Frame]:
    return list(rig.film(1, 8, np.random.default_rng(0), turn_deg=10, reach=0.1))


def test_the_person_sees_what_was_kept_and_what_to_do(rig: VirtualRig, board_frames: list[Frame]) -> None:
    looks: list[tuple[int, str]] = []

    def on_look(picture: np.ndarray, kept: int, said: str) -> bool:
        assert picture.shape == (720, 960, 3)
        looks.append((kept, said))
        return len(looks) < 4

    blank = Frame(np.full((720, 960, 3), 90, np.uint8), 9.0, 99)
    collector = collect_views([blank, *board_frames], BoardFinder(rig.layouts[0]), live=True, on_look=on_look)
    assert len(looks) == 4 and "no board is visible" in looks[0][1]  # ended by the person
    assert collector.refused and len(collector.views) == looks[-1][0] > 0
    assert any("hold the board" in said for _, said in looks)


def test_control_c_ends_the_filming_and_keeps_the_views(rig: VirtualRig, board_frames: list[Frame]) -> None:
    def interrupted() -> Iterator[Frame]:
        yield from board_frames[:3]
        raise KeyboardInterrupt

    assert len(collect_views(interrupted(), BoardFinder(rig.layouts[0]), live=True).views) > 0


def test_as_many_pictures_of_the_chart_as_wanted(rig: VirtualRig, chart_frames: list[Frame]) -> None:
    shots, _ = collect_shots(chart_frames, rig.layouts[1], rig.intrinsics, wanted=2)
    assert len(shots) == 2


def test_a_stream_gives_no_two_pictures_of_one_moment(rig: VirtualRig, chart_frames: list[Frame]) -> None:
    stream = [
        Frame(frame.image, 0.05 * i, i + 1) for i, frame in enumerate(chart_frames)
    ]  # no clips: a video at 20 frames a second
    shots, _ = collect_shots(stream, rig.layouts[1], rig.intrinsics, wanted=5)
    assert len(shots) == 1


def test_without_any_usable_picture_the_commonest_reason_is_given(rig: VirtualRig) -> None:
    blank = Frame(np.full((720, 960, 3), 90, np.uint8), 0.0, 1, clip=0)
    with pytest.raises(InputError, match="no colour chart is visible"):
        collect_shots([blank], rig.layouts[1], None, wanted=2)
    with pytest.raises(InputError, match="before its first frame"):
        collect_shots([], rig.layouts[1], None, wanted=2)


@pytest.mark.parametrize("kind", ["board", "chart"])
def test_a_calibration_is_rehearsed_with_the_virtual_rig(kind: str, rig: VirtualRig, tmp_path: Path) -> None:
    print_targets(tmp_path / "calibration.pdf")
    layout = next(layout for layout in rig.layouts if layout.kind == kind)
    frames = islice(RehearsedSheet(tmp_path / "calibration.pdf", layout), 3)
    if kind == "board":
        assert collect_views(frames, BoardFinder(layout), live=False).views
    else:
        assert collect_shots(frames, layout, None, wanted=2)[0]
