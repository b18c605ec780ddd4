"""Grad-CAM: the numbers, the hooks, the deletion test, and references written out."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from physpatch.evaluation.grad_cam import (
    deletion_auc,
    grad_cam,
    heat_share,
    heat_similarity,
    points_inside,
    random_heat,
)
from physpatch.victims.protocol import Victim


def test_the_map_is_the_relu_of_gradient_weighted_activations(tiny_victim) -> None:
    images = torch.rand(3, 3, 32, 32)
    with grad_cam(tiny_victim) as cam:
        maps = cam(images, [0, 1, 2])
    layer = tiny_victim.module.norm(tiny_victim.module.conv(images)).detach().requires_grad_()
    scores = tiny_victim.module.head(layer.relu().mean(dim=(2, 3)))
    scores[torch.arange(3), torch.arange(3)].sum().backward()
    weights = layer.grad.mean(dim=(2, 3), keepdim=True)
    reference = (weights * layer.detach()).sum(dim=1).relu().numpy()
    low, high = reference.min(axis=(1, 2), keepdims=True), reference.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(maps, (reference - low) / (high - low), atol=1e-4)


def test_one_forward_pass_gives_scores_and_the_heat_of_the_answer(tiny_victim) -> None:
    images = torch.rand(3, 3, 32, 32)
    passes = []
    with grad_cam(tiny_victim) as cam:
        counted = tiny_victim.module.register_forward_hook(lambda *_: passes.append(True))
        scores, maps = cam.top(images)
        counted.remove()
        np.testing.assert_array_equal(maps, cam(images, scores.argmax(dim=1).tolist()))
    assert len(passes) == 1 and not scores.requires_grad
    torch.testing.assert_close(scores, tiny_victim.scores(images).detach())


def test_the_victim_is_left_as_it_was_found(tiny_victim) -> None:
    module = tiny_victim.module.train()
    module.conv.weight.requires_grad_()
    state = copy.deepcopy(module.state_dict())
    with grad_cam(tiny_victim) as cam:
        cam(torch.rand(1, 3, 32, 32), [0])
    assert module.training and module.conv.weight.requires_grad and module.conv.weight.grad is None
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in state.items())


def test_hooks_come_off_when_something_fails_inside(tiny_victim) -> None:
    for kind in (RuntimeError, IndexError):
        with pytest.raises(kind, match="planted"), grad_cam(tiny_victim):
            raise kind("planted")
    assert not any(m._forward_hooks for m in tiny_victim.module.modules())


def test_the_backward_pass_stops_at_the_target_layer(tiny_victim) -> None:
    reached = []
    tiny_victim.module.conv.register_full_backward_hook(lambda *_: reached.append(True))
    with grad_cam(tiny_victim) as cam:
        cam(torch.rand(1, 3, 32, 32, requires_grad=True), [0])
    assert not reached


def test_share_and_similarity() -> None:
    heat, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    heat[:2] = 1
    mask[0] = 1
    assert heat_share(heat, mask) == 0.5
    assert heat_share(np.zeros((4, 4), np.float32), mask) == 0
    assert heat_similarity(heat, heat) == pytest.approx(1)
    assert heat_similarity(heat, 1 - heat) == pytest.approx(-1)
    assert heat_similarity(heat, np.ones((4, 4), np.float32)) == 0
    noise = np.random.default_rng(0).random((2, 9, 9)).astype(np.float32)
    assert heat_similarity(*noise) == pytest.approx(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1], abs=1e-5)


def test_the_pointing_game_asks_where_the_hottest_pixel_is() -> None:
    mask = np.zeros((4, 4), np.float32)
    mask[1:3, 1:3] = 1
    mask[0, 0] = 0.4  # the patch's soft edge
    heat = np.zeros((4, 4), np.float32)
    assert not points_inside(heat, mask) and not points_inside(heat + 1, np.ones_like(mask))  # flat
    heat[2, 1] = 0.8
    assert points_inside(heat, mask)
    heat[0, 0] = 0.9
    assert not points_inside(heat, mask)
    heat[3] = 0.85  # more heat outside, and the hottest pixel inside again
    heat[1, 2] = 1
    assert points_inside(heat, mask)


class MeanNet(nn.Module):
    """Softmax confidences m and 1 - m, m the mean of the pixels under a (H, W) weight, whose sum is 1."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = (images[:, 0] * self.weight).sum(dim=(1, 2)).clamp(1e-7, 1 - 1e-7)
        return torch.stack([mean, 1 - mean], dim=1).log()


def of_weight(victim: Victim, weight: torch.Tensor) -> Victim:
    return replace(victim, categories=("bright", "dark"), module=MeanNet(weight))


@pytest.mark.parametrize(("rank", "kept"), [(0, 0), (512, 5), (1023, 10)], ids=["hottest", "middle", "coldest"])
def test_the_class_lasts_until_its_only_pixel_is_removed(tiny_victim, rank: int, kept: int) -> None:
    image, weight = torch.zeros(1, 3, 32, 32), torch.zeros(32, 32)
    image[..., 16, 16] = weight[16, 16] = 1
    heat = np.delete(np.linspace(1, 0, 1024, dtype=np.float32), rank)
    heat = np.insert(heat, 16 * 32 + 16, np.linspace(1, 0, 1024, dtype=np.float32)[rank]).reshape(1, 32, 32)
    blurred = 1 / sum(math.exp(-(x**2) / 8) for x in range(-6, 7)) ** 2  # a sigma of 32 / 16, cut off at three
    area = deletion_auc(of_weight(tiny_victim, weight), image, heat, torch.tensor([0]))
    assert area.item() == pytest.approx((kept + (10 - kept) * blurred) / 10, abs=1e-5)


def test_the_deletion_curve_as_a_slow_loop_draws_it(tiny_victim) -> None:
    rng = np.random.default_rng(0)
    images, heat = rng.random((5, 3, 32, 32)).astype(np.float32), rng.random((5, 32, 32)).astype(np.float32)
    heat[:, 10:] = 0.5  # ties go by rows from the top
    weight = rng.random((32, 32)).astype(np.float32)
    weight /= weight.sum()
    classes = [0, 1, 1, 0, 1]
    areas = []
    for image, hot, index in zip(images[:, 0], heat, classes, strict=True):
        order = sorted(range(1024), key=lambda i: (-hot.flat[i], i))
        shown, gone, curve = image.copy(), gaussian_filter(image, 2, mode="mirror", truncate=3), []
        for percent in range(5, 100, 10):
            for i in order[: math.ceil(percent * 1024 / 100)]:
                shown.flat[i] = gone.flat[i]
            mean = float((shown * weight).sum())
            curve.append(1 - mean if index else mean)
        areas.append(sum(curve) / 10)
    victim = of_weight(tiny_victim, torch.from_numpy(weight))
    measured = deletion_auc(victim, torch.from_numpy(images), heat, torch.tensor(classes))
    np.testing.assert_allclose(measured, areas, atol=2e-5)


def test_deletion_by_heat_beats_random_order_and_coldest_first_loses(tiny_victim) -> None:
    images = torch.full((6, 3, 32, 32), 0.3)
    for i, image in enumerate(images):  # a red square each, all that speaks for class 0
        image[0, 4 * i : 4 * i + 10, 20 - 3 * i : 30 - 3 * i] = 1
    classes = torch.zeros(6, dtype=torch.long)
    with grad_cam(tiny_victim) as cam:
        heat = cam(images, classes.tolist())
    unknowing = random_heat(heat.shape, torch.Generator().manual_seed(0))
    hottest, random, coldest = (deletion_auc(tiny_victim, images, h, classes) for h in (heat, unknowing, -heat))
    assert (hottest + 0.003 < random).all() and (random + 0.001 < coldest).all()  # a blur takes little of a mean colour


def test_deletion_takes_photographs_as_if_each_were_alone_and_leaves_the_victim(tiny_victim) -> None:
    module = tiny_victim.module.train()
    module.conv.weight.requires_grad_()
    state = copy.deepcopy(module.state_dict())
    images, classes = torch.rand(7, 3, 32, 32), torch.arange(7) % 4
    heat = random_heat((7, 32, 32), torch.Generator().manual_seed(1))
    areas = deletion_auc(tiny_victim, images, heat, classes)  # 70 views: three passes
    alone = [deletion_auc(tiny_victim, images[i : i + 1], heat[i : i + 1], classes[i : i + 1]) for i in range(7)]
    torch.testing.assert_close(areas, torch.cat(alone))
    assert areas.shape == (7,) and not areas.requires_grad and 0 < areas.min() <= areas.max() < 1
    assert module.training and module.conv.weight.requires_grad and module.conv.weight.grad is None
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in state.items())


def test_random_heat_is_the_seeds_and_as_coarse_as_a_heat_map() -> None:
    def drawn(seed: int) -> np.ndarray:
        return random_heat((3, 224, 224), torch.Generator().manual_seed(seed))

    one = drawn(0)
    np.testing.assert_array_equal(one, drawn(0))
    assert not np.array_equal(one, drawn(1)) and not np.array_equal(one[0], one[1])
    assert one.shape == (3, 224, 224) and 0 <= one.min() < 0.2 and 0.8 < one.max() <= 1
    assert max(np.abs(np.diff(one, axis=axis)).max() for axis in (1, 2)) <= 1 / 32 + 1e-6  # 7 values over 224 pixels
