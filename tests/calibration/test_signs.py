"""The drawn signs: their shapes, colours and outlines."""

import cv2
import numpy as np
import pytest

from calibration.common.errors import InputError
from calibration.sheet.road_signs import RED, SIGNS, SPEEDS, WHITE, sign, speed_limit


@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_fills_its_square_and_nothing_beyond_its_outline(name: str) -> None:
    drawn = sign(name)
    assert drawn.name == name
    picture = drawn.draw(200)
    assert picture.shape == (200, 200, 4) and picture.dtype == np.uint8
    assert (picture[..., 3] / 255).mean() == pytest.approx(drawn.area, abs=0.004)
    across, down = ((picture[..., 3] > 127).any(axis=axis) for axis in (0, 1))
    assert across[1] and across[-2] and down.mean() > 0.85  # from side to side


def test_the_stop_sign_is_a_red_octagon_with_white_letters() -> None:
    picture = sign("stop").draw(400)
    assert tuple(picture[60, 200, :3]) == RED and tuple(picture[4, 200, :3]) == WHITE
    assert picture[3, 3, 3] == 0 and picture[3, 200, 3] == 255
    letters = (picture[..., :3].min(axis=2) > 200) & (np.hypot(*np.mgrid[-200:200, -200:200]) < 170)
    count, _ = cv2.connectedComponents(letters.astype(np.uint8))
    assert count - 1 == 4  # S, T, O, P


def test_speed_limits_differ_by_their_number() -> None:
    pictures = [speed_limit(number).draw(64) for number in SPEEDS]
    assert len({picture.tobytes() for picture in pictures}) == len(SPEEDS)
    assert {speed_limit(number).name for number in SPEEDS} == {"speed limit"}


def test_names_are_taken_as_people_write_them() -> None:
    assert sign("No-Entry").name == "no entry" and sign("pedestrian_crossing").name == "pedestrian crossing"
    with pytest.raises(InputError, match="unknown sign 'stopp'; did you mean 'stop'"):
        sign("stopp")
