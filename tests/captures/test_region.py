"""What the classifier sees of a frame."""

from types import SimpleNamespace

import numpy as np
import pytest

from calibration.common.errors import InputError
from captures.inference.analyser import to_input
from captures.inference.region import CropRegion, RegionRule
from physpatch.victims.protocol import Preprocessing

SHAPE = (480, 640, 3)
PLAIN = Preprocessing(32, 36, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def sheet_at(x: float, y: float, side: float):
    corners = np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)
    return SimpleNamespace(patch_corners_px=corners, patch_area_px=side * side)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("center", CropRegion(80, 0, 480, 480)),
        ("frame", CropRegion(0, 0, 640, 480)),
        ("10,20,100", CropRegion(10, 20, 100, 100)),
        ("600,20,100", CropRegion(540, 20, 100, 100)),  # moved into the frame
        ("900,20,100", CropRegion(540, 20, 100, 100)),  # as when a phone is turned
        ("0,0,9999", CropRegion(0, 0, 480, 480)),
        ("sheet:0.25", CropRegion(240, 190, 120, 120)),
    ],
)
def test_regions_by_their_words(text: str, expected: CropRegion) -> None:
    rule = RegionRule.parse(text)
    assert str(rule) == text and rule.at(SHAPE, sheet_at(270, 220, 60)) == expected


def test_a_square_that_follows_the_sheet_keeps_the_patchs_share() -> None:
    rule = RegionRule.parse("sheet:0.15")
    for side in (40.0, 90.0, 150.0):
        pose = sheet_at(300, 200, side)
        region = rule.at(SHAPE, pose)
        assert region.mask(pose.patch_corners_px, (224, 224)).mean() == pytest.approx(0.15, abs=0.02)
    assert rule.at(SHAPE, None) == RegionRule().at(SHAPE, None)  # while none is seen
    assert rule.at(SHAPE, sheet_at(0, 0, 460)) == CropRegion(0, 0, 480, 480)  # no larger than the frame


@pytest.mark.parametrize("text", ["centre-ish", "sheet:2", "sheet:x", "1,2", "1,2,3", "-5,0,100", "frame:2", ""])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="region"):
        RegionRule.parse(text)


def test_a_square_outside_of_the_frame_is_refused() -> None:
    with pytest.raises(InputError, match="region 900,0,100 is outside the frame of 640x480"):
        RegionRule.parse("900,0,100").check(SHAPE)
    RegionRule.parse("600,400,100").check(SHAPE)


def test_a_hand_may_drag_either_way() -> None:
    assert str(RegionRule.dragged((100, 100), (160, 150))) == "100,100,60"
    assert str(RegionRule.dragged((160, 150), (100, 100))) == "100,90,60"
    assert RegionRule.dragged((10, 10), (12, 11)) is None


@pytest.mark.parametrize("side", [10, 20, 40])
def test_the_patchs_mask_has_its_pixels_and_no_more(side: int) -> None:
    """It was a pixel wider and higher, 21 % too large for ten pixels."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * side + (100.5, 60.5)
    mask = CropRegion(80, 0, 480, 480).mask(corners, (480, 480))
    assert mask.sum() == side**2 and mask[61, 21] and not mask[60, 21]
    half = CropRegion(80, 0, 480, 480).mask(corners + 0.3, (240, 240))
    assert half.sum() == pytest.approx(side**2 / 4, rel=0.25)


def test_the_whole_frame_is_squeezed_into_the_network() -> None:
    frame = np.zeros(SHAPE, np.uint8)
    frame[:, 320:] = 200
    seen = to_input(frame, PLAIN, RegionRule.parse("frame").at(SHAPE, None))
    assert seen.shape == (1, 3, 32, 32)
    assert float(seen[..., :15].max()) == 0 and float(seen[..., 17:].min()) == pytest.approx(200 / 255)
    left = to_input(frame, PLAIN, RegionRule.parse("0,0,300").at(SHAPE, None))
    assert float(left.max()) == 0
