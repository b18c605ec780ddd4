"""Colours from the chart: found, freed from the light, fitted, and refused where they can't be trusted."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.color import deltaE_ciede94, deltaE_ciede2000, rgb2lab

from calibration.colour.colour_chart import ChartShot, _noise, mean_shot, read_chart
from calibration.colour.colour_map import ColourMap, _fit_toned_map, _toned_error, fit_colour_map, monomials
from calibration.colour.colour_space import delta_e00, linear_to_srgb, srgb_to_linear
from calibration.colour.illumination import SmoothLight
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.colour.tone_mapping import TERMS, _perceived_axes
from calibration.common.errors import InputError
from calibration.common.files import file_sha256
from calibration.sheet.charuco_target import chart_cells
from calibration.sheet.pdf_reader import rasterise
from captures.sources.held_sheet import RigPose
from captures.sources.virtual_rig import RigTruth, VirtualRig
from physpatch.records.patch_file import Patch
from printouts import print_sheets, print_targets

BEHIND = np.full((960, 1280, 3), 0.3)
STRAIGHT = RigPose(0.36, 0, 0, 8, -6, 3)


def shots(rig: VirtualRig, page: int, count: int = 4) -> list[ChartShot]:
    taken = []
    for frame in rig.film(page, 40, np.random.default_rng(3), turn_deg=15, reach=0.15):
        try:
            taken.append(read_chart(frame.image, rig.layouts[page], rig.intrinsics))
        except InputError:
            continue
        if len(taken) == count:
            break
    return taken


@pytest.fixture(scope="module")
def light(target_rig: VirtualRig) -> LightProfile:
    return LightProfile.fit("lamp", chart_cells(0), shots(target_rig, 1))


@pytest.fixture(scope="module")
def picture(target_rig: VirtualRig) -> np.ndarray:
    for seed in range(9):
        image = target_rig.render(1, STRAIGHT, BEHIND, np.random.default_rng(seed))
        try:
            read_chart(image, target_rig.layouts[1], target_rig.intrinsics)
        except InputError:
            continue
        return image
    raise AssertionError


def test_a_hidden_printer_and_camera_are_predicted(
    target_rig: VirtualRig, light: LightProfile, wall: Path, tmp_path: Path
) -> None:
    """On a sheet of random colours that the fit never saw."""
    assert light.before[0] > 8  # plain paper
    unseen = Patch(np.random.default_rng(8).integers(0, 256, (10, 10, 3), dtype=np.uint8))
    print_sheets(unseen, 170, tmp_path / "unseen.pdf")
    rig = VirtualRig(tmp_path / "unseen.pdf", [(wall, None)], truth=target_rig.truth, lens=target_rig.intrinsics)
    errors = np.concatenate([delta_e00(s.srgb, light.map.apply(unseen.cells / 255)).ravel() for s in shots(rig, 0, 2)])
    assert np.median(errors) <= 1.0 and np.percentile(errors, 95) <= 3.0


def test_the_held_out_error_is_honest(light: LightProfile) -> None:
    """Of the size of the error on colours that the fit did not see, and far below doing nothing."""
    assert light.after[0] <= 1.0 and light.after[1] <= 3.0
    assert light.after[0] < light.before[0] / 5
    assert 0.02 < light.gamut_share < 0.6  # of what was sent


def test_blur_noise_and_white_are_the_cameras(target_rig: VirtualRig, light: LightProfile) -> None:
    truth = target_rig.truth
    assert light.blur_px == pytest.approx(truth.blur_px, abs=0.25)
    expected = np.hypot(truth.read_noise, truth.shot_noise)
    assert np.hypot(light.read_noise, light.shot_noise) == pytest.approx(expected, rel=0.5)
    assert 0.3 < light.white_range[0] < np.mean(light.white) < light.white_range[1] * 1.2 < 1.3


def test_the_order_of_the_cells_does_not_matter(
    target_rig: VirtualRig, light: LightProfile, wall: Path, tmp_path: Path
) -> None:
    print_targets(tmp_path / "other.pdf", seed=7)
    rig = VirtualRig(tmp_path / "other.pdf", [(wall, None)], truth=target_rig.truth, lens=target_rig.intrinsics)
    other = LightProfile.fit("lamp", chart_cells(7), shots(rig, 1))
    colours = np.random.default_rng(0).uniform(0, 1, (200, 3))
    assert np.median(delta_e00(light.map.apply(colours), other.map.apply(colours))) < 0.7


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: np.full_like(p, 90), "no colour chart is visible"),
        (lambda p: np.concatenate([p[:, :640], np.full_like(p[:, 640:], 90)], axis=1), "only 2 of the chart's 4"),
        (lambda p: np.ascontiguousarray(p[:, ::-1]), "mirrored"),
        (lambda p: cv2.GaussianBlur(p, (0, 0), 4), "blurred"),
        (lambda p: np.clip(p.astype(float) * 1.6, 0, 255).astype(np.uint8), "clipped to white"),
        (lambda p: (p * 0.2).astype(np.uint8), "too dark"),
        (lambda p: cv2.resize(p, (256, 192), interpolation=cv2.INTER_AREA), "too small in the picture: come closer"),
    ],
)
def test_pictures_that_cannot_be_trusted(spoil, words: str, picture: np.ndarray, target_rig: VirtualRig) -> None:
    with pytest.raises(InputError, match=words):
        read_chart(spoil(picture), target_rig.layouts[1], target_rig.intrinsics)


def test_a_shadow_on_the_chart(picture: np.ndarray, target_rig: VirtualRig) -> None:
    shaded = picture.copy()
    shaded[:, 600:760] = (shaded[:, 600:760] * 0.6).astype(np.uint8)
    with pytest.raises(InputError, match="a shadow or a reflection"):
        read_chart(shaded, target_rig.layouts[1], target_rig.intrinsics)


def test_another_sheet(target_rig: VirtualRig, wall: Path, patch: Patch, tmp_path: Path) -> None:
    board = target_rig.render(0, STRAIGHT, BEHIND, np.random.default_rng(1))
    with pytest.raises(InputError, match="this is the lens board"):
        read_chart(board, target_rig.layouts[1])
    print_sheets(patch, 170, tmp_path / "patch.pdf")
    other = VirtualRig(tmp_path / "patch.pdf", [(wall, None)], lens=target_rig.intrinsics)
    with pytest.raises(InputError, match="another sheet, not the colour chart"):
        read_chart(other.render(0, STRAIGHT, BEHIND, np.random.default_rng(1)), target_rig.layouts[1])


def test_a_chart_of_another_order(target_rig: VirtualRig, picture: np.ndarray, wall: Path, tmp_path: Path) -> None:
    (_, other) = print_targets(tmp_path / "other.pdf", seed=7)
    with pytest.raises(InputError, match="pass the printed PDF"):
        read_chart(picture, other, target_rig.intrinsics)


def test_a_chart_that_was_printed_at_another_size(tmp_path: Path) -> None:
    """Its markers and colours are the same; every distance was wrong by the ratio of the sizes."""
    (_, own), (_, smaller), (_, larger) = (print_targets(tmp_path / f"{mm}.pdf", size_mm=mm) for mm in (170, 150, 174))
    page = (0.8 * rasterise(tmp_path / "170.pdf", 100, 1)).astype(np.uint8)
    assert read_chart(page, own).px_per_cell > 50
    with pytest.raises(InputError, match=r"printed at 170 x 170 mm, not at 150 x 150 mm .*pass the printed PDF"):
        read_chart(page, smaller)
    with pytest.raises(InputError, match=r"the markers do not fit this sheet: .*aspect ratio"):
        read_chart(page, larger)  # its markers are smaller, compared with the chart


def test_colour_differences_are_those_of_scikit_image() -> None:
    one, other = np.random.default_rng(0).uniform(0, 1, (2, 50, 3))
    np.testing.assert_allclose(delta_e00(one, other), deltaE_ciede2000(rgb2lab(one), rgb2lab(other)))
    assert delta_e00(one, one).max() == 0


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_is_recovered(degree: int) -> None:
    rng = np.random.default_rng(degree)
    sent = rng.uniform(0, 1, (100, 3))
    table = np.zeros((len(monomials(degree)), 3))
    table[0], table[1:4] = 0.1, 0.6 * np.eye(3) + 0.05
    table[4:] = rng.normal(0, 0.02, (len(table) - 4, 3))
    truth = ColourMap("coded", degree, tuple(map(tuple, table)))
    fit = fit_colour_map(sent, truth.apply(sent))
    assert fit.after[1] < 0.2
    assert fit.map.apply(sent) == pytest.approx(truth.apply(sent), abs=0.003)
    # on the colours sent, on the three nearest printing conditions, and with a tone curve
    assert len(fit.candidates) == 6 + 3 * 2 + 1


def developed_by_a_phone(reflected: np.ndarray, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """8-bit sRGB of linear reflectances (..., 3) in a light (..., 1): its sensor's matrix, more saturation, an S-curve."""
    sensor = np.array([[0.86, 0.1, 0.04], [0.06, 0.88, 0.06], [0.02, 0.14, 0.84]])
    exposed = light * (0.01 + 0.75 * reflected @ sensor.T)
    grey = exposed.mean(axis=-1, keepdims=True)
    coded = np.clip(linear_to_srgb(np.clip(grey + 1.35 * (exposed - grey), 0, 1)), 0, 1)
    contrast = 0.2 * coded + 0.8 * coded**2 * (3 - 2 * coded)  # smoothstep, which is no curve of the map's
    return np.clip(contrast * 255 + rng.normal(0, 0.7, coded.shape), 0, 255).round() / 255


def test_colours_of_a_phone_are_predicted_through_its_tone_curve_and_fall_off() -> None:
    """24 colours, of which a quarter are held out, whose light falls by a fifth over the sheet."""
    rng = np.random.default_rng(5)
    errors: dict[str, list[float]] = {"fitted": [], "matrix": []}
    for _ in range(3):
        sent, place = rng.uniform(0, 1, (24, 3)), rng.uniform(-1, 1, (24, 2))
        light = 0.9 - 0.1 * place[:, :1]
        edge = rng.uniform(-1, 1, (60, 2))
        paper = SmoothLight(edge, srgb_to_linear(developed_by_a_phone(np.ones((60, 3)), 0.9 - 0.1 * edge[:, :1], rng)))
        levels = developed_by_a_phone(srgb_to_linear(sent), light, rng)
        seen = linear_to_srgb(np.clip(srgb_to_linear(levels) / paper(place), 0, 1))
        fit = fit_colour_map(sent[:18], seen[:18])
        assert fit.map.domain == "toned" and fit.map.kind == "tone curve"
        matrix = np.linalg.lstsq(srgb_to_linear(sent[:18]), srgb_to_linear(seen[:18]), rcond=None)[0]
        plain = linear_to_srgb(np.clip(srgb_to_linear(sent[18:]) @ matrix, 0, 1))
        errors["fitted"] += list(delta_e00(seen[18:], fit.map.apply(sent[18:])))
        errors["matrix"] += list(delta_e00(seen[18:], plain))
    assert np.median(errors["fitted"]) < min(1.2, 0.75 * np.median(errors["matrix"]))


def test_a_toned_map_is_monotone_and_survives_its_record() -> None:
    table = np.zeros((TERMS, 3))
    table[1:4] = np.eye(3)
    greys = np.linspace(0, 1, 201)[:, None].repeat(3, axis=1)
    for curve in ((0.5, 0.5), (-0.5, 0.5), (0.5, -0.5), (-0.5, -0.5)):
        one = ColourMap("toned", 1, tuple(map(tuple, table)), curve=curve)
        seen = one.apply(greys)
        assert (np.diff(seen, axis=0) >= -1e-12).all() and seen[0].max() < 1e-9 and seen[-1] == pytest.approx(1)
        assert ColourMap.from_dict(one.to_dict()) == one
    for broken in ((0.8, 0.4), (float("nan"), 0.0)):
        with pytest.raises(InputError, match="cannot have the tone curve"):
            ColourMap("toned", 1, tuple(map(tuple, table)), curve=broken)
    with pytest.raises(InputError, match="cannot have the tone curve"):
        ColourMap("linear", 1, tuple(map(tuple, table[:4])), curve=(0.1, 0.0))


def test_the_errors_of_a_toned_map_are_weighted_as_scikit_image_does_for_cie94() -> None:
    """Along chroma and hue of the colour: along CIELAB's axes, a yellow's errors were weighted as if they were of hue."""
    rng = np.random.default_rng(0)
    seen = rgb2lab(rng.uniform(0, 1, (50, 3)))
    off = rng.normal(0, 0.05, (50, 3))
    weighted = np.einsum("nji,ni->nj", _perceived_axes(seen), off)
    np.testing.assert_allclose(np.linalg.norm(weighted, axis=1), deltaE_ciede94(seen, seen + off), rtol=0.01)


def test_too_few_colours() -> None:
    with pytest.raises(InputError, match="too few"):
        fit_colour_map(np.zeros((5, 3)), np.zeros((5, 3)))


@pytest.mark.parametrize(
    ("domain", "degree", "rows"), [("log", 1, 4), ("coded", 4, 4), ("coded", 2, 4), ("toned", 2, 7), ("toned", 1, 4)]
)
def test_maps_that_cannot_be(domain: str, degree: int, rows: int) -> None:
    with pytest.raises(InputError, match="colour map"):
        ColourMap(domain, degree, ((0.0, 0.0, 0.0),) * rows)


def test_a_profile_survives_its_file(light: LightProfile, target_rig: VirtualRig, tmp_path: Path) -> None:
    rig = RigProfile("P1", "plain", "webcam", (0.992, 0.994), target_rig.intrinsics, {"rms_px": 0.1, "views": 20})
    rig = rig.with_light(light).with_light(replace(light, name="sun"))
    path = tmp_path / "rig.json"
    rig.save(path)
    assert RigProfile.load(path) == rig
    assert [one.name for one in rig.with_light(replace(light, shots=9)).lights] == ["sun", "lamp"]
    assert len(file_sha256(path)) == 64
    assert light.picture().shape[2] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("physpatch_rig"), "is not a rig profile"),
        (lambda r: r.update(physpatch_rig=9), "newer physpatch"),
        (lambda r: r["lights"][0].pop("map"), "'map' is missing"),
        (lambda r: r["lights"][0]["map"].update(degree=7), "a colour map of degree 7"),
        (lambda r: r.update(print_scale=[1]), "not a complete rig profile"),
        (lambda r: r.update(print_scale=[0.99, float("nan")]), "not a complete rig profile .nan is out of range"),
        (lambda r: r.update(printer=7), "printer should be text, got 7"),
        (lambda r: r.update(lens={}), "'views' is missing"),
        (lambda r: r.update(lens={"views": 20, "rms_px": []}), r"\[\] is not a number"),
        (lambda r: r["intrinsics"].update(fx="wide"), "rig.json"),
        (lambda r: r["intrinsics"].update(fx=float("inf")), "inf is out of range"),
        (lambda r: r["intrinsics"].update(distortion=[0.1]), "1 terms of distortion"),
        (lambda r: r["lights"][0].update(white=[[], 1, 1]), r"\[\] is not a number"),
        (lambda r: r["lights"][0].update(white=[0, 1, 1]), "paper that is not black"),
        (lambda r: r["lights"][0].update(frame_wh=[640, True]), "True is not a whole number"),
        (lambda r: r["lights"][0].update(before=["x", 1]), "'x' is not a number"),
        (lambda r: r["lights"][0].update(sent=[]), "no colours"),
        (lambda r: r["lights"][0]["seen"].pop(), "as many seen colours"),
        (lambda r: r.update(lights=r["lights"] * 60), "60 lights; expected at most 50"),
        (lambda r: r.update(colour="blue"), "not a complete rig profile"),
    ],
)
def test_profiles_that_are_not(change, words: str, light: LightProfile, target_rig: VirtualRig, tmp_path: Path) -> None:
    import json

    path = tmp_path / "rig.json"
    RigProfile(lights=(light,), intrinsics=target_rig.intrinsics).save(path)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=words):
        RigProfile.load(path)


def test_pictures_of_two_sizes(light: LightProfile, target_rig: VirtualRig) -> None:
    one, two, *_ = shots(target_rig, 1, 2)
    with pytest.raises(InputError, match="differ in size"):
        LightProfile.fit("lamp", chart_cells(0), [one, replace(two, frame_wh=(640, 480))])
    with pytest.raises(InputError, match="no usable picture"):
        LightProfile.fit("lamp", chart_cells(0), [])


def test_newspaper_is_duller_than_coated_paper() -> None:
    coated, newspaper = (RigTruth.draw(1, paper).printing for paper in ("coated", "newspaper"))
    assert newspaper.black.mean() > coated.black.mean() and newspaper.white.mean() < coated.white.mean()


def test_noise_is_told_apart_by_its_growth_with_the_light() -> None:
    light = np.random.default_rng(0).uniform(0.02, 0.9, (6, 9, 3))
    assert _noise(light, 0.004**2 + 0.01**2 * light) == pytest.approx((0.004, 0.01), rel=1e-3)


def test_shots_are_averaged_in_linear_light() -> None:
    shots = [
        ChartShot(np.full((1, 1, 3), light), np.ones(3), (1.0, 1.0), 0, 0, 0, 9, (9, 9)) for light in (0.0, 0.0, 0.6)
    ]
    assert mean_shot(shots) == pytest.approx(np.full((1, 1, 3), linear_to_srgb(np.array(0.2))))


def test_the_error_of_a_map_is_that_on_colours_it_was_not_fitted_to() -> None:
    rng = np.random.default_rng(0)
    sent, seen = rng.uniform(0.2, 0.8, (2, 15, 3))  # which have nothing in common
    fit = fit_colour_map(sent, seen)
    fitted = delta_e00(seen, fit.map.apply(sent))
    assert sum(fit.after) > 1.1 * (np.median(fitted) + np.percentile(fitted, 95))
    toned = delta_e00(seen, _fit_toned_map(sent, seen).apply(sent))
    assert sum(_toned_error(sent, seen, np.arange(15) % 10)) > 1.1 * (np.median(toned) + np.percentile(toned, 95))
