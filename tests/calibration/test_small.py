"""Errors, files, units, colour, intrinsics."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from scipy.stats import norm
from skimage.color import rgb2xyz

from calibration.camera.edges import edge_blur_px
from calibration.camera.intrinsics import Intrinsics
from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from calibration.common.errors import InputError, unknown_name
from calibration.common.files import atomic_path, read_json, write_json
from calibration.common.pictures import open_picture, read_picture
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
    assert str(unknown_name("model", "xyzzy", ["resnet50", "vgg16"])).endswith("; known: resnet50, vgg16")
    many = [f"net{number}" for number in range(11)]
    assert str(unknown_name("model", "xyzzy", many)).endswith("net6, net7 and 3 more")


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


def srgb_profile(primaries: dict[bytes, tuple[float, float, float]], name: str) -> bytes:
    """An ICC profile with the transfer curve of sRGB, but with other primaries (XYZ under D50) and another name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for entry in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12):
        at = int.from_bytes(profile[entry + 4 : entry + 8])
        for number, value in enumerate(primaries.get(bytes(profile[entry : entry + 4]), ())):
            profile[at + 8 + 4 * number : at + 12 + 4 * number] = round(value * 65536).to_bytes(4, signed=True)
    return bytes(profile).replace("sRGB".encode("utf-16-be"), name.encode("utf-16-be"))


def test_a_picture_in_the_colours_of_a_phone_is_read_in_srgb(tmp_path: Path) -> None:
    """They were too dull: Display P3 writes the red of sRGB as a smaller one of its own."""
    xyz = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    stored = np.full((4, 4, 3), (234, 51, 35), np.uint8)
    for profile, expected in (
        (None, (234, 51, 35)),
        (b"no profile", (234, 51, 35)),
        (srgb_profile({}, "sRGB"), (234, 51, 35)),
        (srgb_profile(xyz, "D-P3"), (255, 0, 0)),
    ):
        Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_allclose(
            read_picture(tmp_path / "a.png")[0, 0], expected, atol=2 if expected[0] == 255 else 0
        )
        assert (np.array(open_picture(tmp_path / "a.png")) == stored).all()


def test_intrinsics_from_a_field_of_view() -> None:
    camera = Intrinsics.from_hfov(640, 480, 90)
    assert camera.fx == camera.fy == pytest.approx(320)
    assert camera.assumed and camera.matrix[0, 2] == 319.5
    with pytest.raises(InputError, match="field of view"):
        Intrinsics.from_hfov(640, 480, 200)
    with pytest.raises(InputError, match="positive focal lengths"):
        Intrinsics(0, 1, 1, 1, 1, 1)


@pytest.mark.parametrize("sigma", [0.6, 1.5])
def test_the_blur_of_an_edge_is_measured_without_that_of_the_pixels(sigma: float) -> None:
    fine = (np.arange(200 * 32) + 0.5) / 32 - 0.5  # pixel centres are at whole numbers
    row = 40 + 160 * norm.cdf((fine - 100.3) / sigma).reshape(200, 32).mean(axis=1)
    grey = np.tile(row.round().astype(np.uint8), (40, 1))
    points = np.column_stack([np.full(30, 100.3), np.arange(5, 35)])
    measured = edge_blur_px(grey, points, np.tile([1.0, 0.0], (30, 1)), 8.0)
    assert measured == pytest.approx(sigma, abs=0.06)
    assert edge_blur_px(np.full_like(grey, 90), points, np.tile([1.0, 0.0], (30, 1)), 8.0) is None
