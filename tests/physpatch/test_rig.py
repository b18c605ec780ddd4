"""Training against a measured rig: the colour map's torch twin, and the ranges taken from a profile."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch.autograd import gradcheck

from calibration.colour.colour_map import ColourMap, monomials, print_from_dict
from calibration.colour.colour_space import linear_to_srgb
from calibration.colour.printing_condition import load_condition
from calibration.colour.rig_profile import LightProfile, RigProfile
from calibration.colour.tone_mapping import TERMS
from calibration.common.errors import InputError
from physpatch.attack.penalties import non_printability
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import place_patch
from physpatch.rendering.eot import sample
from physpatch.rendering.rig_ranges import WhiteBalance, eot_for_rig
from physpatch.transforms.kernels.print_colour import apply_map, printed_cells, printed_palette


def some_map(domain: str, degree: int, seed: int = 0) -> ColourMap:
    table = np.random.default_rng(seed).normal(0, 0.03, (len(monomials(degree)), 3))
    table[0] += 0.08
    table[1:4] += 0.6 * np.eye(3)
    return ColourMap(domain, degree, tuple(map(tuple, table)))


def toned_map() -> ColourMap:
    table = np.random.default_rng(0).normal(0, 0.05, (TERMS, 3))
    table[1:4] += 0.8 * np.eye(3)
    return ColourMap("toned", 1, tuple(map(tuple, table)), curve=(0.3, -0.4))


def some_light(name: str = "lamp", **changes) -> LightProfile:
    light = LightProfile(
        name=name,
        map=some_map("coded", 3),
        white=(0.8, 0.7, 0.6),
        white_range=(0.5, 0.8),
        read_noise=0.003,
        shot_noise=0.01,
        blur_px=1.2,
        frame_wh=(1280, 960),
        shots=3,
        before=(9.0, 20.0),
        after=(0.4, 1.0),
        sent=((0, 0, 0),),
        seen=((30, 30, 30),),
    )
    return replace(light, **changes)


@pytest.mark.parametrize("domain", ["linear", "coded"])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_twin_computes_the_same(domain: str, degree: int) -> None:
    one = some_map(domain, degree)
    cells = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(1))
    expected = one.apply(cells.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(apply_map(cells, one).permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("domain", ["linear", "coded"])
def test_the_twin_has_the_right_gradient(domain: str) -> None:
    cells = (0.2 + 0.6 * torch.rand(1, 3, 3, 2, dtype=torch.float64)).requires_grad_()
    assert gradcheck(lambda c: apply_map(c, some_map(domain, 3)), cells, atol=1e-6)


def test_the_twin_of_a_toned_map_computes_the_same_with_the_right_gradient() -> None:
    one = toned_map()
    cells = torch.rand(2, 3, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = one.apply(cells.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(apply_map(cells, one).permute(0, 2, 3, 1).numpy(), expected, atol=1e-9)
    middle = (0.3 + 0.4 * cells[:1]).requires_grad_()
    assert gradcheck(lambda c: apply_map(c, one), middle, atol=1e-6)
    black = torch.zeros(1, 3, 2, 2, requires_grad=True)
    gradient = torch.autograd.grad(apply_map(black, one).sum(), black)[0]
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) < 10  # no root's at 0


def test_printing_conditions_agree_with_their_tables_and_have_a_gradient() -> None:
    conditions = (load_condition("coated"), load_condition("newspaper"))
    light = torch.tensor([0.2, 0.7, 0.4])
    cells = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    printed = printed_cells(cells, conditions, light)
    for image, which in enumerate((0, 1, 0)):
        reflected = conditions[which].reflectance(cells.permute(1, 2, 0).numpy()).clip(0, 1)
        np.testing.assert_allclose(printed[image].permute(1, 2, 0).numpy(), linear_to_srgb(reflected), atol=1e-12)
    own = printed_cells(torch.stack([cells, cells.flip(2), cells]), conditions, light)
    torch.testing.assert_close(own[1], printed_cells(cells.flip(2), conditions, light)[1])
    inner = (0.1 + 0.8 * cells[:, :2, :2]).requires_grad_()
    assert gradcheck(lambda c: printed_cells(c, conditions, light), inner, atol=1e-6)
    mixed = (conditions[0], some_map("coded", 2))
    torch.testing.assert_close(printed_cells(cells, mixed, light)[1], apply_map(cells[None], mixed[1])[0])
    for level in (0.0, 1.0):  # a solid colour can leave the face of the table
        solid = torch.full((3, 2, 2), level, requires_grad=True)
        (gradient,) = torch.autograd.grad(printed_cells(solid, conditions, light).sum(), solid)
        assert gradient.abs().min() > 1e-3
    assert printed_palette(conditions).max() < 0.99  # no paper is perfectly white
    eot = EotConfig(prints=conditions)
    assert EotConfig.from_dict(json.loads(json.dumps(eot.to_dict()))) == eot


def test_conditions_are_mixed_as_their_tables_are() -> None:
    conditions = (load_condition("coated"), load_condition("newspaper"), load_condition("uncoated"))
    light, other, mix = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0.9, 0.1, 0.5]), torch.tensor([0.3, -0.2, 0.7])
    cells = torch.rand(3, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    printed = printed_cells(cells, conditions, light, other=other, mix=mix)
    for image, (first, second) in enumerate(((0, 2), (2, 0), (1, 1))):
        table = conditions[first].blended(conditions[second], float(mix[image]))
        seen = table.soft_proof(cells[image].permute(1, 2, 0).numpy(), relative=False)
        # `blended` stops at black, and so a little before the look-up does
        np.testing.assert_allclose(printed[image].permute(1, 2, 0).numpy(), seen, atol=2e-3)
    fade = torch.tensor([0.0, 0.2, 1.0])
    faded = printed_cells(cells, conditions, light, fade=fade)
    own = rgb_to_linear_rgb(printed_cells(cells, conditions, light))
    for image, condition in enumerate((0, 2, 1)):
        paper = torch.from_numpy(conditions[condition].white).double()[:, None, None]
        seen = linear_rgb_to_rgb(((1 - fade[image]) * own[image] + fade[image] * paper).clamp(0, 1))
        torch.testing.assert_close(faded[image], seen, atol=1e-5, rtol=0)
    drawn = sample(EotConfig.preset("desk"), 200, torch.Generator().manual_seed(0))
    assert drawn.print_mix.min() < -0.1 and drawn.print_mix.max() > 0.9 and drawn.light.std() > 0.2
    plain = sample(EotConfig(prints=(some_map("coded", 2),)), 4, torch.Generator().manual_seed(0))
    assert not plain.print_mix.any()  # measured colours are not mixed


def test_a_map_on_a_printing_condition_is_its_own_twin() -> None:
    base = load_condition("coated")
    one = replace(some_map("linear", 2), base=base)
    cells = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(1))
    expected = one.apply(cells.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(apply_map(cells, one).permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert print_from_dict(json.loads(json.dumps(one.to_dict()))) == one
    with pytest.raises(InputError, match="is a polynomial on linear light"):
        replace(some_map("coded", 2), base=base)


@pytest.mark.parametrize("domain", ["linear", "coded"])
def test_a_solid_ink_that_a_map_puts_outside_the_range_keeps_its_gradient(domain: str) -> None:
    stretched = ((-0.02,) * 3, *(tuple(row) for row in 1.05 * np.eye(3)))
    for level in (0.0, 1.0):
        cells = torch.full((1, 3, 2, 2), level, requires_grad=True)
        seen = apply_map(cells, ColourMap(domain, 1, stretched))
        torch.testing.assert_close(seen, torch.full_like(seen, level))
        assert torch.autograd.grad(seen.sum(), cells)[0].min() > 0


def test_every_image_has_its_own_light() -> None:
    prints = (some_map("coded", 1, 1), some_map("linear", 2, 2))
    cells, light = torch.rand(3, 4, 4), torch.tensor([0.1, 0.7, 0.49])
    seen = printed_cells(cells, prints, light)
    for image, which in enumerate((0, 1, 0)):
        torch.testing.assert_close(seen[image], apply_map(cells[None], prints[which])[0])
    batch = torch.rand(3, 3, 4, 4)
    own = printed_cells(batch, prints, light)
    torch.testing.assert_close(own[1], apply_map(batch[1:2], prints[1])[0])


def test_placement_prints_the_cells_first() -> None:
    one = some_map("coded", 2)
    config = EotConfig().changed(prints=(one,))
    params = sample(config, 2, torch.Generator().manual_seed(0))
    plain = sample(EotConfig(), 2, torch.Generator().manual_seed(0))
    images, cells = torch.rand(2, 3, 64, 64), torch.rand(3, 4, 4)
    printed = place_patch(images, cells, params, 0.2)[0]
    assert torch.equal(printed, place_patch(images, apply_map(cells[None], one)[0], plain, 0.2)[0])


def test_a_part_of_a_draw_keeps_its_prints() -> None:
    config = EotConfig().changed(prints=(some_map("coded", 1), some_map("linear", 3)))
    params = sample(config, 6, torch.Generator().manual_seed(3))
    assert float(params.light.std()) > 0
    assert params.part(slice(0, 2)).prints == params.prints


def test_a_run_with_prints_survives_its_json() -> None:
    import json

    config = TrainConfig.of(eot=EotConfig().changed(prints=(some_map("coded", 3),)), profile="0" * 64)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_ranges_come_from_what_was_measured() -> None:
    sun = some_light("sun", white=(0.7, 0.7, 0.8), white_range=(0.6, 0.95), blur_px=0.8)
    eot = eot_for_rig(EotConfig(), RigProfile(lights=(some_light(), sun)))
    assert eot.prints == (some_light().map, sun.map)
    # levels are means over the channels: a gain is what red and blue are of them
    dark, bright = (
        np.sqrt(red * blue) * 3 / sum((red, green, blue)) for red, green, blue in ((0.8, 0.7, 0.6), sun.white)
    )
    assert eot.gain == pytest.approx((0.9 * 0.5 * dark, 1.1 * 0.95 * bright))
    shrink = 224 / 960
    assert eot.blur_px == pytest.approx((0.5 * 0.8 * shrink, 1.0))  # desk's, which is more than was measured
    assert eot.noise == pytest.approx((0, 0.03))
    still = EotConfig().changed(blur_px=(0.0, 0.0), noise=(0.0, 0.0))
    measured = eot_for_rig(still, RigProfile(lights=(some_light(), sun)))
    assert measured.blur_px == pytest.approx((0.5 * 0.8 * shrink, 1.5 * 1.2 * shrink))
    assert measured.noise == pytest.approx((0, 1.5 * np.hypot(0.003, 0.01) * shrink))
    assert eot.temperature[0] < np.sqrt(0.7 / 0.8) < np.sqrt(0.8 / 0.6) < eot.temperature[1]
    assert eot.rotation_deg == EotConfig().rotation_deg and eot.jpeg == EotConfig().jpeg


def test_a_green_cast_becomes_the_tint() -> None:
    """Measured lights lie within the ranges in all three channels."""
    lights = (some_light(white=(0.6, 0.72, 0.55), white_range=(0.6, 0.65)), some_light("b", white=(0.7, 0.66, 0.72)))
    eot = eot_for_rig(EotConfig(), RigProfile(lights=lights))
    tints = [green / np.sqrt(red * blue) for red, green, blue in (light.white for light in lights)]
    assert eot.tint == pytest.approx((0.97 * min(tints), 1.03 * max(tints)))
    for light in lights:
        found = WhiteBalance.of(light.white)
        for name, (low, high) in (("gain", eot.gain), ("temperature", eot.temperature), ("tint", eot.tint)):
            assert low < getattr(found, name) < high
        red_green_blue = found.gain * np.array([found.temperature, found.tint, 1 / found.temperature])
        assert red_green_blue == pytest.approx(light.white)


def test_a_profile_without_colours_is_refused() -> None:
    with pytest.raises(InputError, match="calibrate colour"):
        eot_for_rig(EotConfig(), RigProfile())


def test_the_measured_palette_is_the_gamut() -> None:
    """A colour from the gamut costs nothing, one far outside much."""
    one = some_map("coded", 1)
    palette = printed_palette((one,))
    assert palette.shape == (125, 3)
    inside = palette[60][:, None, None]
    outside = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    assert float(non_printability(inside, palette)) < 1e-3 < 0.1 < float(non_printability(outside, palette))
