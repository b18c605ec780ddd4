"""Errors, files, units, colour, intrinsics."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.color import rgb2xyz

from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from calibration.common.errors import InputError, unknown_name
from calibration.common.files import atomic_path, read_json, write_json
from calibration.common.units import parse_length_mm


@pytest.mark.parametrize(
    ("text", "mm"),
    [("10cm", 100), ("95mm", 95), ("0.1 m", 100), ("4in", 101.6), ('2"', 50.8), (" 7.5 CM ", 75), (".5m", 500)],
)
def test_lengths_are_understood(text: str, mm: float) -> None:
    assert parse_length_mm(text) == pytest.approx(mm)


@pytest.mark.parametrize("text", ["10 parsecs", "10", "cm", "-3cm", "0mm", "1e3mm", "", "10cmm"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not understood; expected a positive number"):
        parse_length_mm(text)


def test_near_names_are_named() -> None:
    assert "did you mean 'resnet50'" in str(unknown_name("model", "Resnet5", ["resnet50", "vgg16"]))
    assert "known: resnet50, vgg16" in str(unknown_name("model", "xyzzy", ["resnet50", "vgg16"]))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of")
        raise RuntimeError("power cut")
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_errors_say_which_file_and_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"grid": [[')
    with pytest.raises(InputError, match=r"broken\.json is not valid JSON \(line 1"):
        read_json(broken)
    with pytest.raises(InputError, match="no file"):
        read_json(tmp_path / "missing.json")
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not valid JSON; restore it"):
        read_json(broken)


def test_srgb_curve_agrees_with_scikit_image_and_inverts() -> None:
    grey = np.linspace(0, 1, 256)
    luminance = rgb2xyz(np.stack([grey] * 3, axis=-1)[None])[0, :, 1]
    np.testing.assert_allclose(srgb_to_linear(grey), luminance, atol=1e-6)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(grey)), grey, atol=1e-7)


def test_intrinsics_from_a_field_of_view() -> None:
    camera = Intrinsics.from_hfov(640, 480, 90)
    assert camera.fx == camera.fy == pytest.approx(320)
    assert camera.assumed and camera.matrix[0, 2] == 319.5
    with pytest.raises(InputError, match="field of view"):
        Intrinsics.from_hfov(640, 480, 200)
    with pytest.raises(InputError, match="positive focal lengths"):
        Intrinsics(0, 1, 1, 1, 1, 1)
