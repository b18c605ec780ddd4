"""Transfer methods: what each does to scenes and networks, and that the patch is trained through them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.models
from support import ON_SCREEN
from torch import nn

from calibration.common.errors import InputError
from physpatch.attack.objectives import choose_objective
from physpatch.attack.transfer import TRANSFERS
from physpatch.attack.transfer.base import layers_of
from physpatch.attack.transfer.dropped_blocks import residual_blocks
from physpatch.attack.transfer.feature_mixup import FeatureMixup
from physpatch.records.config import TrainConfig
from physpatch.techniques.flat_minimum import FlatMinimum
from physpatch.training.trainer import Trainer
from physpatch.victims.freezing import freeze
from physpatch.victims.protocol import Victim

CONFIG = TrainConfig.of(steps=30, batch=8, area=0.6, cut="square", grid=(4, 4), seed=3, eot=ON_SCREEN)


class Residual(nn.Module):
    """Adds a little of a convolution to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.normal_(self.convolution.weight, std=0.02, generator=seeded())
        nn.init.zeros_(self.convolution.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.convolution(images)


@pytest.fixture
def residual_victim(tiny_victim) -> Victim:
    """The tiny victim behind two residual blocks."""
    module = nn.Sequential(nn.Sequential(Residual(), Residual()), tiny_victim.module)
    return replace(tiny_victim, module=freeze(module, 32))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disturbed(name: str, scenes: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return TRANSFERS[name]().scenes(scenes, torch.rand(scenes.shape, generator=seeded(9)), seeded(seed))


@pytest.mark.parametrize("name", ["admix", "block-shuffle", "structure"])
def test_scenes_change_by_seed_and_gradients_flow_back(name: str) -> None:
    scenes = torch.rand(3, 3, 32, 32, generator=seeded(1)).requires_grad_()
    shown = disturbed(name, scenes)
    assert shown.shape == scenes.shape and torch.isfinite(shown).all()
    assert torch.equal(shown, disturbed(name, scenes)) and not torch.equal(shown, disturbed(name, scenes, 1))
    shown.sum().backward()
    assert scenes.grad is not None and float((scenes.grad != 0).float().mean()) > 0.8


def test_admix_adds_a_fifth_of_another_photograph_and_halves_the_sum_up_to_four_times() -> None:
    ones, none = torch.ones(40, 3, 2, 2), torch.zeros(40, 3, 2, 2)
    of_scene = TRANSFERS["admix"]().scenes(ones, none, seeded())[:, 0, 0, 0]
    of_others = TRANSFERS["admix"]().scenes(none, ones, seeded())[:, 0, 0, 0]
    assert sorted(set(of_scene.tolist())) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    torch.testing.assert_close(of_others, 0.2 * of_scene)


def test_shuffled_blocks_are_those_of_the_scene() -> None:
    """A scene of four flat quarters keeps its four colours, and each about its area."""
    scene = torch.zeros(1, 1, 64, 64)
    scene[..., 32:, :] += 0.25
    scene[..., 32:] += 0.5
    moved = 0
    for seed in range(8):
        shown = disturbed("block-shuffle", scene, seed)
        for colour in (0.25, 0.5, 0.75):
            assert 0.05 < float((shown - colour).abs().lt(0.05).float().mean()) < 0.6
        moved += bool(shown[..., :16, :16].mean() > 0.2)
    assert moved >= 3  # the dark quarter, the first, is often elsewhere


def test_shuffled_blocks_are_turned_by_24_degrees_at_most() -> None:
    ramp = torch.linspace(1, 2, 64).expand(1, 1, 64, 64)
    steepness = []
    for seed in range(8):
        across = disturbed("block-shuffle", ramp, seed).diff(dim=3) * 63
        steepness.append(across[0, 0, 8:-8, 8:-8].flatten())
    steps = torch.cat(steepness)
    within = (steps > np.cos(np.radians(24.5))) & (steps < 1.01)
    assert float(within.float().mean()) > 0.85  # all but those at the blocks' edges


def test_structure_keeps_each_block_in_its_place() -> None:
    scene = torch.zeros(1, 3, 30, 30)
    scene[..., 10:20, 10:20] = 0.8
    for seed in range(6):
        shown = disturbed("structure", scene, seed)
        assert float(shown[..., 10:20, 10:20].mean()) > 0.3
        assert float(shown[..., :10, :].mean()) < 0.1


def test_features_that_a_ghost_keeps_make_up_for_those_it_drops(tiny_victim) -> None:
    images = torch.rand(8, 3, 32, 32, generator=seeded())
    plain = tiny_victim.module.conv(images)
    with TRANSFERS["ghost"]().inside(tiny_victim, images, seeded()):
        eroded = tiny_victim.module.conv(images)
    dropped = eroded == 0
    assert float(dropped.float().mean()) == pytest.approx(0.012, abs=0.003)
    torch.testing.assert_close(eroded, torch.where(dropped, 0.0, plain / (1 - 0.012)))


@pytest.mark.parametrize(
    ("network", "blocks"), [("resnet18", 5), ("mobilenet_v3_small", 6), ("convnext_tiny", 18), ("vgg11", 0)]
)
def test_the_residual_blocks_of_well_known_networks_are_found(network: str, blocks: int, tiny_victim) -> None:
    """Of ResNet18's eight blocks, three change the size, so that they add nothing to their own input."""
    module = torchvision.models.get_model(network, weights=None).eval()
    preprocessing = replace(tiny_victim.preprocessing, size=64, resize=72)
    assert len(residual_blocks(replace(tiny_victim, module=module, preprocessing=preprocessing))) == blocks


def test_a_block_is_left_out_or_makes_up_for_it(residual_victim, monkeypatch) -> None:
    """Of two blocks, by a rate of 0.5 for the last, the first is left out for a quarter of the scenes."""
    monkeypatch.setattr("physpatch.attack.transfer.dropped_blocks._DROPPED", 0.5)
    first, last = residual_victim.module[0]
    images = torch.rand(400, 3, 8, 8, generator=seeded(1))
    for block, rate in ((first, 0.25), (last, 0.5)):
        with TRANSFERS["dropped-blocks"]().inside(residual_victim, images, seeded()):
            added = block(images) - images
        left_out = added.flatten(1).abs().amax(dim=1) == 0
        assert float(left_out.float().mean()) == pytest.approx(rate, abs=0.06)
        torch.testing.assert_close(
            added[~left_out], (block(images) - images)[~left_out] / (1 - rate), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", ["dropped-blocks", "feature-mixup", "ghost"])
def test_networks_are_other_ones_inside_and_the_same_afterwards(name: str, residual_victim, photographs) -> None:
    images = photographs.central(residual_victim.preprocessing.size)[:8].float() / 255
    plain = residual_victim.scores(images)
    seen = []
    for seed in range(12):  # a draw may mix no layer
        with TRANSFERS[name]().inside(residual_victim, images.flip(0), seeded(seed)):
            seen.append(residual_victim.scores(images))
    changed = [seed for seed, scores in enumerate(seen) if not torch.allclose(scores, plain)]
    assert torch.equal(residual_victim.scores(images), plain)
    with TRANSFERS[name]().inside(residual_victim, images.flip(0), seeded(changed[0])):
        assert torch.equal(residual_victim.scores(images), seen[changed[0]])
    assert all(not layer._forward_hooks for layer in layers_of(residual_victim))


def test_channels_of_a_linear_layer_are_mixed_on_the_last_axis(tiny_victim, monkeypatch) -> None:
    """A transformer's linear layers have outputs (B, tokens, channels), whose channels have a share each."""
    monkeypatch.setattr("physpatch.attack.transfer.feature_mixup._MIXED", 1.0)
    layer, tokens = torch.nn.Linear(4, 5, bias=False), torch.ones(2, 3, 4)
    victim = replace(tiny_victim, module=layer)
    monkeypatch.setattr(type(victim), "scores", lambda self, images: self.module(torch.zeros(2, 3, 4)))
    with FeatureMixup().inside(victim, torch.zeros(2, 3, 8, 8), seeded()):
        kept = layer(tokens) / layer.weight.sum(dim=1)  # the clean features are 0
    assert (
        (kept < 1).any()
        and torch.allclose(kept, kept[:, :1].expand_as(kept))
        and not torch.allclose(kept[0, 0], kept[0, 0, :1])
    )


def test_hooks_are_removed_when_a_pass_fails(tiny_victim, photographs) -> None:
    images = photographs.central(tiny_victim.preprocessing.size)[:4].float() / 255
    with pytest.raises(RuntimeError), TRANSFERS["ghost"]().inside(tiny_victim, images, seeded()):
        tiny_victim.module(torch.zeros(1))
    assert all(not layer._forward_hooks for layer in layers_of(tiny_victim))


@pytest.mark.parametrize("names", [*((name,) for name in sorted(TRANSFERS)), ("ghost", "block-shuffle")], ids="+".join)
def test_training_through_them_works_and_repeats(names: tuple[str, ...], residual_victim, photographs) -> None:
    def trained() -> tuple[np.ndarray, list[float]]:
        trainer = Trainer(residual_victim, photographs, CONFIG.changed(transfer=names), 2)
        losses = [record.loss for record in trainer]
        return trainer.patch.cells, losses

    cells, losses = trained()
    assert np.mean(losses[-8:]) < 0.9 * losses[0]
    red, green, blue = cells.reshape(-1, 3).mean(axis=0)  # blue things are brought about by blue cells
    assert blue > 1.5 * max(red, green)
    np.testing.assert_array_equal(cells, trained()[0])


def test_each_network_of_several_is_disturbed(tiny_victim, photographs) -> None:
    twin = replace(tiny_victim, name="second")
    alone = Trainer(tiny_victim, photographs, CONFIG.changed(steps=2), 2, others=[twin])
    mixed = Trainer(tiny_victim, photographs, CONFIG.changed(steps=2, transfer=("ghost",)), 2, others=[twin])
    plain, other = (next(iter(trainer)).terms for trainer in (alone, mixed))
    assert len(set(plain.values())) == 1 and len(set(other.values())) == 2


def test_those_that_cannot_work_are_refused(residual_victim, photographs) -> None:
    for settings, words in (
        ({"transfer": ("ghosts",)}, "ghost"),
        ({"transfer": ("ghost",), "technique": "black-box"}, "predictions alone"),
    ):
        with pytest.raises(InputError, match=words):
            Trainer(residual_victim, photographs, CONFIG.changed(**settings), 2)
    exported = replace(
        residual_victim, name="exported", module=torch.jit.trace(residual_victim.module, torch.zeros(1, 3, 32, 32))
    )
    for name in ("ghost", "feature-mixup", "dropped-blocks"):
        with pytest.raises(InputError, match=f"exported has no layers that {name} could disturb"):
            Trainer(residual_victim, photographs, CONFIG.changed(transfer=(name,)), 2, others=[exported])
    detector = replace(residual_victim, task="detect")
    with pytest.raises(InputError, match="for classifiers"):
        Trainer(detector, photographs, CONFIG.changed(transfer=("ghost",)), 2)


def test_a_flat_minimum_takes_two_gradients_a_move_off_the_patch() -> None:
    start = torch.full((3, 4, 4), 0.5)
    technique = FlatMinimum(start, 0.1, steps=100)
    weights = torch.randn(start.shape, generator=seeded(4))
    probes = []
    for _ in range(2):
        assert torch.equal(technique._cells, start)
        probes.append(technique.cells().detach().clone())
        (technique.cells() * weights).sum().backward()
        technique.step()
    assert all(0 < float((probe - start).abs().max()) <= 0.3 for probe in probes)
    torch.testing.assert_close(probes[1] - probes[0], 0.15 * weights.sign())  # uphill from the first
    with torch.no_grad():
        torch.testing.assert_close(technique.cells(), start - 0.1 * weights.sign())


def test_a_flat_minimum_moves_along_the_mean_of_both_gradients() -> None:
    start, weights = torch.full((3, 4, 4), 0.5), torch.randn(3, 4, 4, generator=seeded(4))
    technique = FlatMinimum(start, 0.1, steps=100)
    for share in (1.0, -0.5):
        (technique.cells() * share * weights).sum().backward()
        technique.step()
    with torch.no_grad():
        torch.testing.assert_close(technique.cells(), start - 0.1 * weights.sign())


def test_the_logit_goes_on_where_cross_entropy_fades() -> None:
    labels = torch.tensor([0, 1])
    for sure in (0.0, 20.0):
        scores = torch.zeros(2, 5)
        scores[:, 3] = sure
        scores.requires_grad_()
        objective = choose_objective("classify", 3, "logit")
        sum(objective.terms(scores, labels).values()).backward()
        torch.testing.assert_close(scores.grad[:, 3], torch.full((2,), -0.5))
    assert choose_objective("classify", None, "logit").terms(scores.detach(), labels)["logit"] == 0


def test_the_answer_is_all_that_its_objective_sees() -> None:
    scores, labels = torch.eye(4), torch.tensor([0, 1, 1, 3])
    assert choose_objective("classify", 3, "answer").terms(scores, labels)["failed"] == 0.75
    assert choose_objective("classify", None, "answer").terms(100 * scores, labels)["failed"] == 0.75
