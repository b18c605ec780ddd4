"""Grad-CAM: the numbers, the hooks, and a reference written out."""

import copy

import numpy as np
import pytest
import torch

from physpatch.explain import grad_cam, heat_share, heat_similarity


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
