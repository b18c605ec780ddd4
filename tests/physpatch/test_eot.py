"""EOT: sampled as data, replayed exactly, agreeing with OpenCV's warp and with the pose room's angles."""

from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from kornia.filters import gaussian_blur2d
from scipy.interpolate import RBFInterpolator
from torch import Tensor
from torch.autograd import gradcheck

from calibration.camera.sheet_pose import rotation_matrix
from calibration.colour.colour_space import linear_to_srgb, srgb_to_linear
from physpatch.attack.placement import Placement
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.rendering.compositing import patch_size_px, place_patch
from physpatch.rendering.eot import EotParams, patch_corners, sample
from physpatch.rendering.windows import Windows, windows_around
from physpatch.transforms import TRANSFORMS, parameters
from physpatch.transforms.kernels.jpeg import compress, subsample_chroma
from physpatch.transforms.kernels.lens import bend, bend_field, blur_kernels
from physpatch.transforms.kernels.sharpening import sharpen
from physpatch.transforms.kernels.tone_curve import develop
from physpatch.victims.registry import load_victim

GEOMETRY_ONLY = EotConfig.none().changed(rotation_deg=(-40, 40), tilt_deg=(-30, 30), scale=(0.7, 1.3))


def draw(config: EotConfig = EotConfig(), batch: int = 8, seed: int = 0) -> EotParams:
    return sample(config, batch, torch.Generator().manual_seed(seed))


def test_saturation_and_sharpening_are_of_the_patch_alone() -> None:
    picture = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    coverage = torch.zeros(2, 1, 40, 40)
    coverage[..., 10:30, 10:30] = 1
    draw = EotParams({"saturation": torch.tensor([0.0, 3.0]), "sharpening": torch.tensor([0.0, 0.5])}, 0)
    for transform, expected in (
        (TRANSFORMS["saturation"](), lambda image: image.mean(axis=2, keepdims=True).repeat(3, axis=2)),
        (TRANSFORMS["sharpening"](), lambda image: image),
    ):
        changed = transform.apply(picture, coverage, draw)
        outside = (coverage == 0).expand_as(picture)
        assert torch.equal(changed[outside], picture[outside]) and not torch.equal(changed[1], picture[1])
        assert changed.min() >= 0 and changed.max() <= 1
        first = picture[0].permute(1, 2, 0).numpy()
        inner = np.s_[10:30, 10:30]
        np.testing.assert_allclose(changed[0].permute(1, 2, 0).numpy()[inner], expected(first)[inner], atol=1e-6)
    second = picture[1].permute(1, 2, 0).numpy()
    mask = second + 0.5 * (second - cv2.GaussianBlur(second, (5, 5), 1.0, borderType=cv2.BORDER_REFLECT_101))
    np.testing.assert_allclose(changed[1].permute(1, 2, 0).numpy()[inner], mask.clip(0, 1)[inner], atol=1e-4)


def test_every_parameter_stays_in_its_range_and_fills_it() -> None:
    config = EotConfig.preset("desk")
    params = draw(config, 4000)
    names = {"roll_deg": "rotation_deg", "yaw_deg": "tilt_deg", "pitch_deg": "tilt_deg"}
    for name in ("roll_deg", "yaw_deg", "pitch_deg", *(n for n in parameters() if not n.endswith("_deg"))):
        low, high = getattr(config, names.get(name, name))
        values = getattr(params, name)
        assert low <= values.min() and values.max() <= high
        assert values.max() - values.min() > 0.98 * (high - low)
    for angle in (params.motion_angle, params.shadow_angle):
        assert angle.min() >= 0 and 0.98 * 2 * np.pi < angle.max() - angle.min() <= 2 * np.pi


def test_shadow_and_glare_lie_where_they_are_drawn() -> None:
    at = torch.linspace(-0.5, 0.5, 101)
    light, x, y = torch.full((2, 3, 101, 101), 0.5), at[None, None, :], at[None, :, None]
    turned = torch.tensor([0.0, np.pi / 2])
    half_plane = EotParams(
        {"shadow": torch.full((2,), 0.6), "shadow_angle": turned, "shadow_offset": torch.full((2,), 0.2)}, 0
    )
    dark = TRANSFORMS["shadow"]().apply(light, x, y, half_plane)
    assert dark[0, 0, 50, [0, 70, 78]].tolist() == pytest.approx([0.5, 0.35, 0.5 - 0.3 / (1 + np.exp(-1))], abs=1e-3)
    torch.testing.assert_close(dark[1], dark[0].transpose(1, 2))
    place = torch.tensor([[0.1, -0.3]]).expand(2, 2)
    spot = EotParams({"glare": torch.tensor([0.4, 0.0]), "glare_place": place, "glare_size": torch.full((2,), 0.2)}, 0)
    added = TRANSFORMS["glare"]().apply(light, x, y, spot) - light
    assert added[0, 1, [20, 20, 40], [60, 80, 60]].tolist() == pytest.approx([0.4, *[0.4 * np.exp(-0.5)] * 2], abs=1e-3)
    assert not added[1].any()


def test_a_draw_replays_bit_for_bit() -> None:
    images, cells, params = torch.rand(8, 3, 64, 64), torch.rand(3, 10, 10), draw()
    first, again = (place_patch(images, cells, params, 0.2)[0] for _ in range(2))
    assert torch.equal(first, again)
    same = draw()
    assert same.keys() == params.keys() and same.grain_seed == params.grain_seed and same.prints == params.prints
    assert all(torch.equal(params[name], same[name]) for name in params)


def test_no_eot_moves_only_the_place() -> None:
    params = draw(EotConfig.none())
    corners = patch_corners(params, (40, 40), (128, 128))
    assert torch.allclose(corners[:, 2] - corners[:, 0], torch.tensor([40.0, 40.0]), atol=1e-4)
    assert corners[:, 0].std(dim=0).min() > 5
    cells = torch.rand(3, 4, 4)
    composite, coverage = place_patch(torch.rand(8, 3, 128, 128), cells, params, (40 / 128) ** 2)
    inside = coverage[:, 0] > 0.999
    colors = composite.permute(0, 2, 3, 1)[inside]
    nearest = (colors[:, None] - cells.flatten(1).T[None]).abs().sum(dim=2).amin(dim=1)
    assert float(nearest.median()) < 1e-3  # away from the cells' edges the colours are exactly the patch's


def test_the_patch_stays_inside_the_image_and_covers_the_area_asked_for() -> None:
    corners = patch_corners(draw(GEOMETRY_ONLY, 500), (60, 60), (224, 224))
    assert corners.min() >= -0.51 and corners.max() <= 223.51
    assert patch_size_px(0.15, (10, 10), (224, 224)) == pytest.approx((86.75, 86.75), abs=0.01)
    width, height = patch_size_px(0.2, (5, 10), (100, 100))
    assert width * height == pytest.approx(2000) and width == pytest.approx(2 * height)
    _, coverage = place_patch(torch.zeros(64, 3, 224, 224), torch.rand(3, 10, 10), draw(EotConfig.none(), 64), 0.15)
    assert coverage.mean(dim=(1, 2, 3)).numpy() == pytest.approx(np.full(64, 0.15), abs=0.004)


def test_corners_follow_the_pose_rooms_rotation() -> None:
    """The same angles mean the same thing in training and in a measured pose."""
    params, wh = draw(GEOMETRY_ONLY, 16), (224, 224)
    corners = patch_corners(params, (50, 50), wh).numpy()
    for i in range(16):
        rotation = rotation_matrix(float(params.yaw_deg[i]), float(params.pitch_deg[i]), float(params.roll_deg[i]))
        side = 50 * float(params.scale[i]) / 2
        in_camera = np.array([[-side, -side, 0], [side, -side, 0], [side, side, 0], [-side, side, 0]]) @ rotation.T
        projected = in_camera[:, :2] / (1 + in_camera[:, 2:] / (1.2 * 224))
        moved = projected - projected.min(axis=0) + corners[i].min(axis=0)
        np.testing.assert_allclose(corners[i], moved, atol=1e-3)


def test_the_warp_agrees_with_opencv() -> None:
    """A finely supersampled OpenCV rendering, composited in linear light, differs by little more than antialiasing."""
    size, cells, params = 160, torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1)), draw(GEOMETRY_ONLY, 6)
    images = torch.rand(6, 3, 1, 1).expand(6, 3, size, size).contiguous()
    ours, _ = place_patch(images, cells, params, 0.2)
    corners = patch_corners(params, patch_size_px(0.2, (6, 6), (size, size)), (size, size)).numpy()
    fine, texture = 8, srgb_to_linear(cells.permute(1, 2, 0).numpy()).repeat(64, 0).repeat(64, 1)
    edges = np.array([[0, 0], [384, 0], [384, 384], [0, 384]], dtype=np.float32) - 0.5
    for i in range(6):
        warp = cv2.getPerspectiveTransform(edges, ((corners[i] + 0.5) * fine - 0.5).astype(np.float32))
        layer = cv2.warpPerspective(
            np.dstack([texture, np.ones((384, 384))]), warp, (size * fine, size * fine), flags=cv2.INTER_NEAREST
        )
        layer = cv2.resize(layer, (size, size), interpolation=cv2.INTER_AREA)
        behind = srgb_to_linear(images[i].permute(1, 2, 0).numpy())
        reference = linear_to_srgb(layer[..., :3] + (1 - layer[..., 3:]) * behind)
        difference = np.abs(ours[i].permute(1, 2, 0).numpy() - reference)
        assert difference.mean() < 0.004
        away_from_edges = cv2.erode(
            (cv2.Laplacian(reference, cv2.CV_64F).max(axis=2) < 1e-3).astype(np.uint8), np.ones((3, 3))
        )
        assert difference[away_from_edges > 0].max() < 0.02


@pytest.mark.parametrize(
    ("effect", "check"),
    [
        ({"gain": (0.5, 0.5)}, lambda linear: linear * 0.5),
        ({"gamma": (2.0, 2.0)}, lambda linear: srgb_to_linear(linear_to_srgb(linear) ** 2)),
        ({"temperature": (1.25, 1.25)}, lambda linear: np.clip(linear * [1.25, 1, 0.8], 0, 1)),
        ({"tint": (0.8, 0.8)}, lambda linear: linear * [1, 0.8, 1]),
    ],
)
def test_light_acts_in_linear_values(effect: dict, check) -> None:
    cells = torch.rand(3, 1, 1) * 0.6 + 0.2
    composite, coverage = place_patch(
        torch.zeros(2, 3, 64, 64), cells, draw(EotConfig.none().changed(**effect), 2), 0.3
    )
    inside = composite.permute(0, 2, 3, 1)[coverage[:, 0] > 0.999].numpy()
    expected = linear_to_srgb(check(srgb_to_linear(cells[:, 0, 0].numpy())))
    np.testing.assert_allclose(inside, np.broadcast_to(expected, inside.shape), atol=2e-3)


def test_blur_spreads_shadow_darkens_noise_scatters() -> None:
    white, black = torch.ones(3, 1, 1), torch.zeros(16, 3, 96, 96)
    plain = place_patch(black, white, draw(EotConfig.none(), 16), 0.3)[0]
    blurred = place_patch(black, white, draw(EotConfig.none().changed(blur_px=(2, 2)), 16), 0.3)[1]
    assert (blurred > 0.01).sum() > 1.1 * (plain > 0.01)[:, :1].sum()
    shadowed = place_patch(black, white, draw(EotConfig.none().changed(shadow=(0.8, 0.8)), 16), 0.3)[0]
    assert shadowed.mean() < 0.9 * plain.mean() and shadowed.max() > 0.9
    grainy, covered = place_patch(black, 0.5 * white, draw(EotConfig.none().changed(noise=(0.05, 0.05)), 16), 0.3)
    # at an sRGB value of 0.5, light of 0.214: noise by the root of the light, then the slope of the sRGB curve
    spread = 0.05 * (0.214 + 0.01) ** 0.5 * 1.055 / 2.4 * 0.214 ** (1 / 2.4 - 1)
    assert float(grainy[:, 0][covered[:, 0] > 0.999].std()) == pytest.approx(spread, rel=0.05)
    shone = place_patch(black, 0.2 * white, draw(EotConfig.none().changed(glare=(0.5, 0.5)), 16), 0.3)[0]
    assert 0.6 < shone.max() < 0.8 and shone.amax(dim=(2, 3)).std() < 0.1  # the print's black shines like its white


def test_grain_is_another_one_in_each_draw_and_image() -> None:
    grainy = draw(EotConfig.none().changed(noise=(0.1, 0.1)), 2).changed(place=torch.full((2, 2), 0.5))
    one, other = (
        place_patch(torch.zeros(2, 3, 48, 48), torch.full((3, 1, 1), 0.5), params, 0.3)[0][:, :, 18:30, 18:30]
        for params in (grainy, replace(grainy, grain_seed=grainy.grain_seed + 1))
    )
    for first, second in ((one[0], one[1]), (one, other)):
        assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.3


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize(
    ("effect", "spread"), [({"blur_px": (2, 2)}, 4 * 2 / np.pi**0.5), ({"motion_px": (16, 16)}, 2 * 16 / 6)]
)
def test_blur_is_in_pixels_of_the_image_at_every_scale(effect: dict, spread: float, scale: float) -> None:
    """The integral of a (1 - a) across an edge is s / sqrt(pi) after a Gaussian blur, and l / 6 after an even movement."""
    params = draw(EotConfig.none().changed(scale=(scale, scale), **effect), 2).changed(motion_angle=torch.zeros(2))
    coverage = place_patch(
        torch.zeros(2, 3, 96, 96), torch.ones(3, 10, 10), params.changed(place=torch.full((2, 2), 0.5)), 0.2
    )[1]
    side = scale * 96 * 0.2**0.5
    assert (coverage * (1 - coverage)).sum(dim=(1, 2, 3)).tolist() == pytest.approx([side * spread] * 2, rel=0.3)


def test_cells_smaller_than_a_pixel_are_averaged() -> None:
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(3, 32, 32)
    picture, coverage = place_patch(
        torch.zeros(4, 3, 96, 96), board, draw(EotConfig.none().changed(scale=(0.27, 0.27)), 4), 0.4
    )
    inside = picture[:, 0][coverage[:, 0] > 0.999]
    assert float(inside.mean()) == pytest.approx(0.735, abs=0.02)  # half of white's light
    assert float(inside.std()) < 0.05


def test_gradcheck_of_the_whole_placement() -> None:
    """The gradient that reaches the cells is the true one, through light, blur, warp and linear compositing."""
    config = EotConfig().changed(noise=(0, 0), jpeg=(100, 100))  # these have gradients of their own, tested below
    params = draw(config, 2).to(torch.float64)
    images = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    cells = (torch.rand(3, 2, 2, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    # Each value takes a backward pass: of sums of all 2400 with random weights, five times as many as there are values of
    # cells show an error of one pixel, too.
    weights = torch.randn(2400, 60, dtype=torch.float64)
    assert gradcheck(lambda c: place_patch(images, c, params, 0.3)[0].flatten() @ weights, cells, atol=1e-6, rtol=1e-5)


def test_the_photographs_are_left_alone() -> None:
    images = torch.rand(4, 3, 48, 48)
    before = images.clone()
    composite, coverage = place_patch(images, torch.rand(3, 10, 10), draw(batch=4), 0.1)
    assert torch.equal(images, before)
    outside = (coverage == 0).expand_as(images)
    assert torch.allclose(composite[outside], images[outside], atol=1e-5)  # to linear light and back
    assert composite.min() >= 0 and composite.max() <= 1
    grey = torch.full((4, 3, 48, 48), 0.5)
    dark = EotConfig.none().changed(gamma=(3.0, 3.0), blur_px=(2.0, 2.0), noise=(0.3, 0.3))
    composite, coverage = place_patch(grey, torch.full((3, 1, 1), 0.8), draw(dark, 4), 0.1)
    nearly = ((coverage > 0.001) & (coverage < 0.02)).expand_as(grey)
    # Nor do its tone curve and noise reach them.
    torch.testing.assert_close(composite[nearly], grey[nearly], atol=0.03, rtol=0)


@pytest.mark.parametrize("cut", ["square", "sheet"])
def test_windows_change_no_pixel(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    images, cells, params = (
        torch.rand(7, 3, 120, 104, generator=generator),
        torch.rand(3, 5, 5, generator=generator),
        draw(batch=7),
    )
    placement = Placement.cut(cut, 0.1, (5, 5))
    found: list[Windows] = []

    def rendered(groups: int, whole: bool) -> tuple[Tensor, Tensor]:
        def around(corners: Tensor, reach: Tensor, *rest: Any) -> list[Windows]:
            found[:] = windows_around(corners, reach + (1000 if whole else 0), *rest[:-1], groups)
            return found

        monkeypatch.setattr("physpatch.rendering.compositing.windows_around", around)
        own = cells.clone().requires_grad_()
        composite = placement.compose(images, own, params)
        composite.square().sum().backward()
        assert own.grad is not None
        return composite.detach(), own.grad

    expected, gradient = rendered(1, True)
    assert [window.size for window in found] == [(112, 128)]  # the image, up to whole blocks of JPEG
    for groups in (1, 3, 100):
        composite, same_gradient = rendered(groups, False)
        assert len(found) == min(groups, 7) and sorted(torch.cat([w.images for w in found]).tolist()) == list(range(7))
        assert sum(w.size[0] * w.size[1] * len(w.images) for w in found) < 0.7 * 7 * 112 * 128
        torch.testing.assert_close(composite, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(same_gradient, gradient, atol=1e-4, rtol=1e-4)


def test_windows_hold_all_of_a_patch_that_is_bent(monkeypatch: pytest.MonkeyPatch) -> None:
    params = draw(EotConfig.none().changed(bend=(0.15, 0.15)), 8).changed(place=torch.full((8, 2), 0.5))
    coverage = partial(place_patch, torch.zeros(8, 3, 96, 96), torch.ones(3, 2, 2), params, 0.15)
    seen = coverage()[1]
    whole = "physpatch.rendering.compositing.windows_around"
    monkeypatch.setattr(whole, lambda corners, reach, *rest: windows_around(corners, reach + 1000, *rest))
    torch.testing.assert_close(seen, coverage()[1], atol=1e-5, rtol=0)


def test_whole_images_are_one_group_of_windows() -> None:
    corners = torch.tensor([[[4.0, 4], [12, 12]]] + 4 * [[[2.0, 2], [30, 30]]])
    small, whole = windows_around(corners, torch.zeros(5), (32, 32), 16, 5)
    assert (small.size, small.images.tolist()) == ((16, 16), [0])
    assert (whole.size, whole.images.tolist()) == ((32, 32), [1, 2, 3, 4])


def test_patches_outside_the_image_have_windows_too() -> None:
    """As on a sign of which a camera that moves has lost sight."""
    corners = torch.tensor(
        [[[-50.0, -60], [-20, -60], [-20, -30], [-50, -30]], [[150.0, 10], [190, 10], [190, 40], [150, 40]]]
    )
    (windows,) = windows_around(corners, torch.tensor([2.0, 2.0]), (96, 64), 16, 1)
    assert sorted(windows.corners.tolist()) == [[0, 0], [80, 0]] and windows.size == (16, 48)
    assert [view.shape for view in windows.views(torch.zeros(2, 3, 64, 96))] == [(3, 48, 16)] * 2
    beside = torch.tensor([[[-90.0, 20], [-50, 40]], [[20, -90], [40, -50]]])  # to the left of and above the picture
    (windows,) = windows_around(beside, torch.tensor([2.0, 2.0]), (96, 64), 16, 1)
    assert min(windows.size) > 0 and (windows.corners >= 0).all()


def test_sharpening_is_an_unsharp_mask_with_its_exact_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, 9, 12, generator=generator, dtype=torch.float64).requires_grad_()
    amount = torch.rand(2, 1, 9, 12, generator=generator, dtype=torch.float64)
    assert gradcheck(sharpen, (pictures, amount))
    with torch.no_grad():
        mask = (pictures + amount * (pictures - gaussian_blur2d(pictures, (5, 5), (1.0, 1.0)))).clamp(0, 1)
        inner = (..., slice(2, -2), slice(2, -2))  # kornia mirrors without the outermost pixel
        torch.testing.assert_close(sharpen(pictures, amount)[inner], mask[inner])
    assert torch.equal(sharpen(torch.full((1, 3, 5, 5), 0.25), torch.tensor(3.0)), torch.full((1, 3, 5, 5), 0.25))


def test_a_part_of_a_batch_is_rendered_as_within_the_whole() -> None:
    """What several processes rely on: neither window nor grain nor JPEG's blocks depend on the rest of the batch."""
    images, cells, params = torch.rand(8, 3, 96, 96), torch.rand(3, 10, 10), draw()
    whole = place_patch(images, cells, params, 0.15)[0]
    halves = [place_patch(images[rows], cells, params.part(rows), 0.15)[0] for rows in (slice(0, 4), slice(4, 8))]
    different = (whole - torch.cat(halves)).abs()
    # A rounding of JPEG may fall to the other side, on processors that add in another order: then one of its blocks of
    # 16 x 16 pixels differs, by little. If anything depended on the rest of the batch, most blocks would.
    blocks = torch.nn.functional.max_pool2d(different.amax(dim=1), 16) > 1e-5
    assert blocks.float().mean() < 0.02
    assert different.mean() < 1e-4


def test_a_run_from_before_the_tint_draws_as_it_did() -> None:
    """Numbers of the version before it, bit for bit: the draw, and what the generator gives next."""
    told = TrainConfig().to_dict()
    for newer in ("tint", "saturation", "sharpening", "print_mix", "print_fade"):
        del told["eot"][newer]
    told["eot"]["prints"] = []
    old, generator = TrainConfig.from_dict(told).eot, torch.Generator().manual_seed(7)
    params = sample(old, 2, generator)
    assert old.tint == (1.0, 1.0) and old.temperature == EotConfig().temperature
    assert params.temperature.tolist() == [1.0438019037246704, 0.9561462998390198]
    assert params.jpeg.tolist() == [72.68614196777344, 74.47482299804688]
    assert params.grain_seed == 1214271969 and torch.rand(1, generator=generator).item() == 0.8098766207695007
    tinted = sample(EotConfig(), 2, torch.Generator().manual_seed(7))
    assert torch.equal(tinted.jpeg, params.jpeg) and tinted.tint.std() > 0


@pytest.mark.parametrize("size", [64, 75])
def test_sizes_that_jpeg_does_not_divide(size: int) -> None:
    images = torch.rand(4, 3, size, size)
    composite, coverage = place_patch(images, torch.rand(3, 10, 10), draw(batch=4), 0.15)
    assert composite.shape == images.shape and coverage.shape == (4, 1, size, size)
    outside = (coverage == 0).expand_as(images)
    assert torch.allclose(composite[outside], images[outside], atol=1e-3)


def test_presets_widen_and_narrow() -> None:
    mild, desk, outdoor = (EotConfig.preset(name) for name in ("mild", "desk", "outdoor"))
    for inner, outer in ((mild, desk), (desk, outdoor)):
        for name in parameters():
            (a, b), (low, high) = getattr(inner, name), getattr(outer, name)
            assert low <= a + 1e-9 or name in ("jpeg", "blur_px"), name
            assert b <= high + 1e-9 or name == "jpeg", name
    assert outdoor.narrowed(0) == EotConfig.none().changed(prints=outdoor.prints) and outdoor.narrowed(1) == outdoor
    assert outdoor.narrowed(0.5).scale == pytest.approx((0.75, 1.2))


# --- lens -------------------------------------------------------------------------------------------------------------


def test_blur_kernels_are_a_gaussian_moved_along_a_line() -> None:
    kernels = blur_kernels(torch.tensor([1.2, 0.8]), torch.tensor([0.0, 5.0]), torch.tensor([0.0, 0.5]))
    assert kernels.sum(dim=(1, 2)).tolist() == pytest.approx([1, 1])
    radius = kernels.shape[1] // 2
    at = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.2**2))
    np.testing.assert_allclose(kernels[0], gaussian / gaussian.sum(), atol=1e-3)
    moved = np.zeros_like(gaussian)
    for step in np.linspace(-2.5, 2.5, 401):
        x, y = at[None] - step * np.cos(0.5), at[:, None] - step * np.sin(0.5)
        moved += np.exp(-(x**2 + y**2) / (2 * 0.8**2))
    np.testing.assert_allclose(kernels[1], moved / moved.sum(), atol=1e-3)


def test_the_bend_is_scipys_thin_plate_spline() -> None:
    amount, shape = torch.tensor([0.05]), torch.rand(1, 9, 2) * 2 - 1
    field = bend_field(amount, shape)
    lattice = np.stack(np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1]), axis=-1).reshape(-1, 2)
    reference = RBFInterpolator(lattice, 0.1 * shape[0].numpy(), kernel="thin_plate_spline")
    points = torch.rand(1, 5, 7, 2) * 2 - 1
    moved = (bend(points, field) - points).reshape(-1, 2)
    np.testing.assert_allclose(moved, reference(points.reshape(-1, 2).numpy()), atol=1e-2)
    on_lattice = torch.from_numpy(lattice).float().reshape(1, 3, 3, 2)
    np.testing.assert_allclose((bend(on_lattice, field) - on_lattice).reshape(-1, 2), 0.1 * shape[0], atol=0.012)


# --- tone and JPEG ----------------------------------------------------------------------------------------------------


TONES = (0.2, 0.8, 1.0, 1.3, 5.0)


@pytest.mark.parametrize("tone", TONES)
def test_develop_is_the_srgb_curve_with_its_true_gradient(tone: float) -> None:
    light = torch.linspace(0.001, 0.99, 50, dtype=torch.float64).reshape(1, 1, 5, 10).requires_grad_()
    exponent = torch.full((1, 1, 5, 10), tone, dtype=torch.float64)
    np.testing.assert_allclose(
        develop(light, exponent).detach(), linear_to_srgb(light.detach().numpy()) ** tone, atol=1e-12
    )
    assert gradcheck(lambda x: develop(x, exponent), light)
    # near black, where the power is bent into a finite slope: up to a grey level of 1 / 255
    dark = torch.linspace(1e-5, 2.9e-4, 20, dtype=torch.float64).reshape(1, 1, 4, 5).requires_grad_()
    assert gradcheck(lambda x: develop(x, exponent[:, :, :4, :5]), dark, eps=1e-9, atol=1e-4)


@pytest.mark.parametrize("tone", TONES)
def test_developed_black_and_white_have_a_slope(tone: float) -> None:
    """Finite, above 0, and continuous: at both ends, and where the power is bent near black."""
    joint = 1 / 255 / 12.92
    near = (0.0, joint - 1e-12, joint + 1e-12, 1.0, -1e-7, 1 + 1e-6, -0.01, 1.01)
    light = torch.tensor(near, dtype=torch.float64)[None, None, None].requires_grad_()
    seen = develop(light, torch.tensor(tone, dtype=torch.float64))
    (slopes,) = torch.autograd.grad(seen.sum(), light)
    (black, below, above, white, *rounded), outside = slopes.flatten().tolist()[:6], slopes.flatten()[6:]
    at_joint = (1 / 255) ** tone
    assert black == pytest.approx(12.92 * at_joint * 255 / tone) and white == pytest.approx(tone * 1.055 / 2.4)
    assert below == pytest.approx(above, rel=1e-6) == pytest.approx(12.92 * tone * at_joint * 255)
    assert rounded == pytest.approx([black, white], rel=1e-3) and not outside.any()
    values = seen.flatten().tolist()
    assert values[0] == pytest.approx(0, abs=1e-8) and values[3] == pytest.approx(1)
    assert values[1] == pytest.approx(values[2]) == pytest.approx(at_joint)
    assert tone != 1 or black == pytest.approx(12.92)


@pytest.mark.parametrize("eot", ["none", "desk"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_cells_get_a_gradient_from_a_real_network(level: float, eot: str) -> None:
    victim = load_victim("efficientnet_lite0")
    side = victim.preprocessing.size
    photograph = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
    images = torch.from_numpy(photograph).permute(2, 0, 1)[None].float().expand(4, -1, -1, -1) / 255
    params = draw(EotConfig.none() if eot == "none" else EotConfig.preset(eot), 4)
    cells = torch.full((3, 10, 10), level, requires_grad=True)
    composite, _ = place_patch(images, cells, params, 0.15)
    loss = torch.nn.functional.cross_entropy(victim.scores(composite), torch.full((4,), 566))
    (gradient,) = torch.autograd.grad(loss, cells)
    assert (gradient != 0).float().mean() > 0.99
    typical = gradient.abs().median()
    assert (gradient.abs() > 1e-3 * typical).float().mean() > 0.97  # and not one of rounding


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_jpeg_agrees_with_libjpeg(quality: int) -> None:
    photograph = cv2.resize(skimage.data.astronaut(), (224, 224), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", photograph[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    reference = cv2.imdecode(coded, cv2.IMREAD_COLOR)[:, :, ::-1].astype(np.float32)
    image = torch.from_numpy(photograph).permute(2, 0, 1)[None].float() / 255
    ours = compress(image, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - reference).mean() < 0.75  # of 255: the decoders' rounding
    assert np.abs(photograph - reference).mean() > 3 * np.abs(ours - reference).mean()


def test_jpegs_gradient_is_that_of_chroma_subsampling() -> None:
    images = torch.rand(2, 3, 16, 32, dtype=torch.float64, requires_grad=True)
    assert gradcheck(subsample_chroma, images[..., :8, :8].detach().requires_grad_())  # sixteen of its blocks of 2 x 2
    weights = torch.rand_like(images)
    (coded,) = torch.autograd.grad((compress(images, torch.tensor([30.0, 90.0])) * weights).sum(), images)
    (smooth,) = torch.autograd.grad((subsample_chroma(images) * weights).sum(), images)
    torch.testing.assert_close(coded, smooth)


def test_quality_100_leaves_a_picture_alone() -> None:
    images = torch.rand(2, 3, 16, 16)
    coded = compress(images, torch.tensor([100.0, 50.0]))
    assert torch.equal(coded[0], images[0]) and not torch.equal(coded[1], images[1])
    coarse = [compress(images, torch.full((2,), quality)) for quality in (10.0, 10.4)]
    assert torch.equal(*coarse)  # as libjpeg takes whole numbers


def test_wide_blurs_agree_with_narrow_ones_done_directly(monkeypatch) -> None:
    images, cells = torch.rand(4, 3, 96, 96), torch.rand(3, 5, 5, requires_grad=True)
    params = draw(EotConfig.none().changed(blur_px=(0.5, 2.5), motion_px=(0, 8)), 4)
    results = []
    for widest in (0, 99):
        monkeypatch.setattr("physpatch.rendering.compositing._WIDEST_DIRECT", widest)
        composite, _ = place_patch(images, cells, params, 0.3)
        results.append((composite, *torch.autograd.grad(composite.square().sum(), cells)))
    for spectral, direct in zip(*results, strict=True):
        torch.testing.assert_close(spectral, direct, atol=2e-3, rtol=1e-3)  # the sRGB curve is steep at black
