"""Defences: what each does to a picture, what they are worth, and how they are asked for."""

import json
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from support import CATEGORIES, HORN, ON_SCREEN, ColourDetector, colour_detector, vivid_patch

from calibration.common.errors import InputError
from physpatch.data.photographs import Photographs
from physpatch.defences import DEFENCES, defence_for, defended, named_defences
from physpatch.defences.certification import certified_accuracy
from physpatch.defences.frequency import cover_detail
from physpatch.defences.jpeg import QUALITY, squeeze
from physpatch.defences.lgs import smooth
from physpatch.defences.masking import SIDE, covered, densest_window
from physpatch.defences.median import blur
from physpatch.defences.object_seeker import _new, half_planes
from physpatch.defences.segment_and_complete import _completed
from physpatch.evaluation.classification import ViewSuccess, defence_effect, evaluate_patch
from physpatch.evaluation.grad_cam import differentiable_heat, grad_cam
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.training.trainer import Trainer
from physpatch.victims.detector import Detector
from physpatch.victims.networks.outputs import FixedBatch
from physpatch.victims.protocol import Victim

SIZE = 96
DRAWS = torch.zeros(2)
SQUARE = (slice(30, 66), slice(30, 66))

# Cut out and in the colours of a screen: the sheet would cover most of a tiny picture.
evaluate = partial(evaluate_patch, cut="square", eot=ON_SCREEN)


def landscape(batch: int = 2) -> torch.Tensor:
    """Pictures (B, 3, 96, 96) of slow waves between a dark sky and a dark ground: smooth, but for two lines."""
    y, x = torch.meshgrid(torch.linspace(0, 3, SIZE), torch.linspace(0, 3, SIZE), indexing="ij")
    waves = [0.5 + 0.2 * torch.sin(x * (1 + i) + c) * torch.cos(y + i) for i in range(batch) for c in range(3)]
    pictures = torch.stack(waves).view(batch, 3, SIZE, SIZE)
    pictures[..., :10, :] *= 0.05
    pictures[..., 84:, :] *= 0.05
    return pictures


def patched(batch: int = 2) -> torch.Tensor:
    """The same with a patch of black and white pixels in random order."""
    pictures = landscape(batch)
    noise = torch.rand(36, 36, generator=torch.Generator().manual_seed(0))
    pictures[:, :, *SQUARE] = (noise > 0.5).float()
    return pictures


@pytest.fixture(params=[squeeze, blur, smooth, cover_detail])
def guard(request):
    return request.param


def test_pictures_stay_pictures_and_each_is_by_itself(guard) -> None:
    pictures = torch.cat([patched(1), landscape(2)])
    seen = guard(pictures)
    assert seen.shape == pictures.shape and seen.dtype == pictures.dtype and seen.min() >= 0 and seen.max() <= 1
    alone = torch.cat([guard(one[None]) for one in pictures])
    assert torch.allclose(seen, alone, atol=1e-6)


def test_smooth_pictures_are_left_nearly_as_they_are(guard) -> None:
    assert (guard(landscape()) - landscape()).abs().mean() < 0.03


@pytest.mark.parametrize("guard", [blur, smooth, cover_detail])
def test_a_noisy_patch_loses_its_contrast(guard) -> None:
    before, after = (pictures[:, :, *SQUARE][..., 4:-4, 4:-4] for pictures in (patched(), guard(patched())))
    assert after.diff(dim=3).abs().mean() < 0.5 * before.diff(dim=3).abs().mean()


def test_gradients_are_smoothed_as_a_slow_loop_does_it() -> None:
    picture = torch.rand(1, 3, 95, 65, generator=torch.Generator().manual_seed(0)) * 0.02
    picture[..., 40:52, 27:39] = (torch.rand(12, 12, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    grey = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], picture[0].numpy())
    steps = np.hypot(np.diff(grey, axis=0, append=grey[-1:]), np.diff(grey, axis=1, append=grey[:, -1:]))
    steps = (steps - steps.min()) / (steps.max() - steps.min())
    crowded = np.zeros_like(steps)
    for top in range(0, 95 - 14, 10):  # blocks of 15 pixels that overlap by 5
        for left in range(0, 65 - 14, 10):
            block = np.s_[top : top + 15, left : left + 15]
            crowded[block] = np.maximum(crowded[block], steps[block].mean() > 0.1)
    assert 0.03 < crowded.mean() < 0.5
    expected = picture[0].numpy() * (1 - 2.3 * steps * crowded).clip(0, 1)
    np.testing.assert_allclose(smooth(picture)[0], expected, atol=1e-4)


def test_jpeg_is_libjpegs() -> None:
    picture = (patched(1)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    _, packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    expected = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
    np.testing.assert_allclose(squeeze(patched(1))[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_the_window_lies_where_most_is() -> None:
    energy = torch.zeros(2, 1, SIZE, SIZE)
    energy[0, 0, 5:25, 60:80] = 1
    energy[1, 0, 50:80, 10:40] = 1
    masks = densest_window(energy)
    assert ((masks * energy).sum(dim=(1, 2, 3)) == energy.sum(dim=(1, 2, 3))).all()
    assert masks.sum(dim=(1, 2, 3)).tolist() == [round(SIDE * SIZE) ** 2] * 2
    pictures = landscape()
    filled = covered(pictures, masks)
    assert torch.equal(filled * (1 - masks), pictures * (1 - masks))
    inside = filled[0][:, masks[0, 0] > 0]
    assert torch.allclose(
        inside, pictures[0][:, masks[0, 0] == 0].mean(dim=1, keepdim=True).expand_as(inside), atol=1e-5
    )


def coloured(deg: float = 12.0, side: int = 224) -> tuple[torch.Tensor, torch.Tensor]:
    """A landscape with a turned square of 8x8 coloured cells with a plain disc in it, and its distance from the edge."""
    scale = side / SIZE
    pictures = torch.nn.functional.interpolate(landscape(), size=side, mode="bilinear")
    y, x = torch.meshgrid(*2 * [torch.arange(float(side)) - side / 2], indexing="ij")
    turn = torch.tensor(deg).deg2rad()
    across, down = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    half = 20 * scale
    column, row = (((along + half) / (half / 4)).long().clamp(0, 7) for along in (across, down))
    cells = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))[:, :, row, column]
    beyond = torch.maximum(across.abs(), down.abs()) - half
    return torch.where((beyond < 0) & (across.hypot(down) > 3 * scale), cells, pictures), beyond / side


def test_segments_are_completed_to_their_outlines(tiny_victim: Victim) -> None:
    """A square at an angle, with a hole that does not look like a patch, is covered whole; the rest stays as it is."""
    defence = defence_for(tiny_victim, "sac")
    pictures, beyond = coloured()
    touched = (defence(pictures) != pictures).any(dim=1)
    assert touched[:, beyond < -0.04].float().mean() > 0.75 and touched[:, beyond > 0.08].float().mean() < 0.03
    wide = torch.nn.functional.pad(pictures, (0, 96, 0, 0), mode="replicate")  # of a detector, and not square
    assert (defence(wide)[..., :224] != pictures).any(dim=1)[:, beyond < -0.04].float().mean() > 0.7


def test_outlines_are_grown_by_the_blur_of_their_edges() -> None:
    probabilities = torch.zeros(64, 64)
    probabilities[20:40, 10:34] = 1
    probabilities[50:52, 50:52] = 1  # too small to be a patch
    covered_rows, covered_columns = (_completed(probabilities).any(dim=dim).nonzero()[:, 0] for dim in (1, 0))
    assert (covered_rows[0], covered_rows[-1], covered_columns[0], covered_columns[-1]) == (17, 42, 7, 36)


def test_heat_is_covered_where_it_crowds(tiny_victim: Victim) -> None:
    """The tiny victim's answer is drawn by blue: one blue square on black takes all of the heat, an even blue does not."""
    crowded = torch.zeros(1, 3, 32, 32)
    crowded[:, 2, 4:14, 16:26] = 1
    even = torch.zeros(1, 3, 32, 32)
    even[:, 2] = 0.6
    guard = DEFENCES["heat"](tiny_victim)
    assert guard(crowded)[:, 2].max() < 0.2 and torch.equal(guard(even), even)
    assert not any(module._forward_hooks for module in tiny_victim.module.modules())


def test_a_defended_victim_is_a_victim_whose_gradient_passes(tiny_victim: Victim) -> None:
    behind = defended(tiny_victim, "median")
    assert behind.name == "tiny+median" and behind.weights == tiny_victim.weights
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.equal(behind.scores(picture), tiny_victim.scores(blur(picture.detach())))
    behind.scores(picture)[0, 0].backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["median", "lgs"])
def test_an_attacker_sees_what_the_defence_does_and_its_slope(name: str, tiny_victim: Victim) -> None:
    defence = defence_for(tiny_victim, name)
    pictures = (
        (0.9 * patched() + 0.1 * torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)))
        .double()
        .requires_grad_()
    )  # no two steps alike
    seen, suspicion = defence.attacked(pictures, DRAWS)
    assert suspicion is None and torch.equal(seen, defence(pictures.detach()))
    weights = torch.rand(seen.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (slope,) = torch.autograd.grad((seen * weights).sum(), pictures)
    step = 1e-8 * torch.randn(seen.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = step.clamp(-pictures.detach(), 1 - pictures.detach())
    change = ((defence(pictures.detach() + step) - seen.detach()) * weights).sum()
    assert change == pytest.approx(float((slope * step).sum()), abs=0.02 * float(slope.norm() * step.std()))


@pytest.mark.parametrize("name", ["frequency", "heat", "sac"])
def test_what_is_suspicious_is_what_is_covered(name: str, tiny_victim: Victim) -> None:
    defence = defence_for(tiny_victim, name)
    if name == "frequency":
        pictures = torch.cat([patched(1), landscape(1)])
    elif name == "sac":
        pictures = torch.cat([coloured(side=128)[0][:1], torch.nn.functional.interpolate(landscape(1), size=128)])
    else:
        pictures = torch.zeros(2, 3, 32, 32)
        pictures[0, 2] = 0.05
        pictures[0, 2, 4:14, 16:26] = 0.9
        pictures[1, 2] = 0.6
    pictures.requires_grad_()
    seen, suspicion = defence.attacked(pictures, DRAWS)
    assert seen is pictures and suspicion is not None
    interferes = [
        not torch.equal(after, before) for after, before in zip(defence(pictures.detach()), pictures, strict=True)
    ]
    assert (suspicion > 0).tolist() == interferes == [True, False]
    (slope,) = torch.autograd.grad(suspicion[0], pictures)
    less = defence.attacked((pictures - 0.002 * slope.sign()).clamp(0, 1).detach(), DRAWS).suspicion
    assert less is not None and less[0] < suspicion[0]


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_an_attacker_of_the_heat_sees_the_map_that_the_defence_thresholds(floor: float, tiny_victim: Victim) -> None:
    """Also where heat lies everywhere: pytorch-grad-cam counts it from the least of it on."""
    pictures = torch.full((1, 3, 32, 32), 0.1)
    pictures[:, 2] = floor
    pictures[:, 2, 4:14, 16:26] = 0.9
    with grad_cam(tiny_victim) as mapper:
        _, (shown,) = mapper.top(pictures)
    (seen,) = differentiable_heat(tiny_victim, pictures).detach().numpy()
    assert seen.min() == 0 and seen / seen.sum() == pytest.approx(shown / shown.sum(), abs=2e-4)


def test_what_speaks_against_the_answer_is_no_heat_to_an_attacker_either(tiny_victim: Victim) -> None:
    tiny_victim.module.head.weight[2, 0] = -3  # red counts against blue
    pictures = torch.zeros(1, 3, 32, 32)
    pictures[:, 2, 4:14, 16:26] = 0.9
    pictures[:, 0, 20:28, 4:12] = 0.9
    with grad_cam(tiny_victim) as mapper:
        _, (shown,) = mapper.top(pictures)
    (seen,) = differentiable_heat(tiny_victim, pictures).detach().numpy()
    assert seen / seen.sum() == pytest.approx(shown / shown.sum(), abs=2e-4)


@pytest.mark.parametrize(("size", "filled"), [(1, True), (3, True), (2, False)])
def test_the_heat_that_an_attacker_sees_is_of_every_image_of_a_divided_batch(
    size: int, filled: bool, tiny_victim: Victim
) -> None:
    divided = replace(tiny_victim, module=FixedBatch(tiny_victim.module, size, filled))
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = differentiable_heat(tiny_victim, pictures)
    assert len(expected) == 4
    torch.testing.assert_close(differentiable_heat(divided, pictures), expected)


class Detail(torch.nn.Module):
    """Answers with its third class where a picture has much fine detail, and else with its second for green."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        detail = images.mean(dim=1).diff(dim=-1).abs().mean(dim=(1, 2))
        return torch.stack([torch.full_like(detail, 0.5), 4 * images[:, 1].mean(dim=(1, 2)), 18 * detail], dim=1)


def test_a_patch_trained_with_a_defence_in_mind_is_covered_less_often() -> None:
    victim = Victim.wrap(Detail(), categories=CATEGORIES[:3], size=32, mean=(0, 0, 0), std=(1, 1, 1))
    noise = torch.randint(40, 90, (12, 3, 36, 36), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    squares = Photographs(noise, torch.ones(12, dtype=torch.int64), tuple(f"{i}.png" for i in range(12)))
    shown = replace(squares, images=noise[..., :32, :32].clone())

    def success(*known: str) -> list[float]:
        config = TrainConfig.of(
            steps=40, batch=8, area=0.3, cut="square", grid=(8, 8), seed=3, eot=ON_SCREEN, defences=known
        )
        trainer = Trainer(victim, squares, config, 2)
        assert {name for record in trainer for name in record.terms} == ({"ce", "suspicion"} if known else {"ce"})
        return [
            float(evaluate(seen, shown, trainer.patch, area=0.3, poses=4).targeted["patch"].rate or 0)
            for seen in (victim, defended(victim, "frequency"))
        ]

    (static, static_behind), (knowing, knowing_behind) = success(), success("frequency")
    assert static > 0.7 and knowing > 0.7 and static_behind < 0.4 and knowing_behind > static_behind + 0.2


def test_several_defences_are_attacked_at_once(tiny_victim: Victim, photographs) -> None:
    config = TrainConfig.of(
        steps=2, batch=4, area=0.3, cut="square", grid=(4, 4), eot=ON_SCREEN, defences=("none", "jpeg", "heat")
    )
    (record, _) = Trainer(tiny_victim, photographs, config, 2)
    assert set(record.terms) == {"ce.tiny", "ce.tiny+jpeg", "ce.tiny+heat", "suspicion.tiny+heat"}
    with pytest.raises(InputError, match="unknown defence 'medain'"):
        Trainer(tiny_victim, photographs, config.changed(defences=("medain",)), 2)


class BrightestSpot(torch.nn.Module):
    """Answers with the colour of the brightest spot, which any patch can be."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # These are avg_pool2d's means, much faster.
        spots = images.contiguous().unfold(2, 5, 1).mean(dim=-1).unfold(3, 5, 1).mean(dim=-1)
        return 10 * spots.amax(dim=(2, 3))


def test_no_patch_changes_a_certified_answer(held_out: Photographs) -> None:
    """Theorem 1 of PatchCleanser, tried: two hundred strong patches each, wherever they lie."""
    spot = Victim.wrap(BrightestSpot(), categories=CATEGORIES[:3], size=32, mean=(0, 0, 0), std=(1, 1, 1))
    defence = defence_for(spot, "patch-cleanser")
    images, labels = held_out.images[:12].float() / 255, held_out.labels[:12]
    certified = defence.certified(images, labels)
    assert int(certified.sum()) >= 2
    behind = defended(spot, "patch-cleanser")
    side = round(SIDE * 32)
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for image, label in zip(images[certified], labels[certified], strict=True):
        attacked = image.repeat(200, 1, 1, 1)
        corners = torch.randint(0, 32 - side + 1, (200, 2), generator=generator).tolist()
        colours = torch.randint(0, 2, (200, 3, 1, 1), generator=generator).float()
        for picture, (top, left), colour in zip(attacked, corners, colours, strict=True):
            picture[:, top : top + side, left : left + side] = colour
        changed += int((spot.scores(attacked).argmax(dim=1) != label).sum())
        assert (behind.scores(attacked).argmax(dim=1) == label).all()
    assert changed > 20  # without the defence, these patches are strong
    share = certified_accuracy(defence, held_out)
    assert share is not None and share.n == 40 and share.rate is not None and share.rate > 0.1
    assert certified_accuracy(defence_for(spot, "jpeg"), held_out) is None


def test_an_answer_that_is_not_sure_enough_is_not_certified() -> None:
    spot = Victim.wrap(BrightestSpot(), categories=CATEGORIES[:3], size=32, mean=(0, 0, 0), std=(1, 1, 1))
    images, label = torch.full((1, 3, 32, 32), 0.5), torch.tensor([1])
    images[:, 1] = 0.6  # greenish, with a confidence of 0.58 under any mask, which is grey
    for threshold, certain in ((0.5, True), (0.9, False)):
        victim = replace(spot, threshold=threshold)
        assert bool((victim.judged(victim.scores(images)).argmax(dim=1) == label).all()) == certain
        assert defence_for(victim, "patch-cleanser").certified(images, label).tolist() == [certain]


def test_an_answer_that_only_two_masks_together_change_is_not_certified() -> None:
    spot = Victim.wrap(BrightestSpot(), categories=CATEGORIES[:3], size=32, mean=(0, 0, 0), std=(1, 1, 1))
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 0, :6, :6] = 1
    defence, red = defence_for(spot, "patch-cleanser"), torch.tensor([0])
    picture[:, 0, 26:, 26:] = 1  # two red spots: one of them is left by any mask
    assert defence.certified(picture, red).all()
    picture[:, 1, :6, 26:] = 0.8  # which the answer goes to where both red ones are gone
    assert not defence.certified(picture, red).any()


def test_a_small_box_in_a_known_one_is_not_new_and_a_large_one_around_it_is() -> None:
    small, large = torch.tensor([[[10.0, 10, 20, 20]]]), torch.tensor([[[0.0, 0, 40, 40]]])
    certain = torch.tensor([[[0.9, 0.0]]])
    assert not _new(small, certain, large, certain, 0.25).any()
    assert torch.equal(_new(large, certain, small, certain, 0.25), certain)


def test_a_class_that_comes_second_in_a_box_is_new_where_it_comes_first_behind_a_mask() -> None:
    place = torch.tensor([[[10.0, 10, 30, 30]]])
    behind, whole = torch.tensor([[[0.1, 0.9]]]), torch.tensor([[[0.6, 0.3]]])
    assert _new(place, behind, place, whole, 0.25).tolist() == [[[0, pytest.approx(0.9)]]]
    assert _new(place, behind, place, whole.flip(2), 0.25).tolist() == [[[0, 0]]]


def test_a_known_box_is_not_new_by_the_class_that_comes_second_in_it() -> None:
    place = torch.tensor([[[10.0, 10, 30, 30]]])
    behind, whole = torch.tensor([[[0.8, 0.6]]]), torch.tensor([[[0.9, 0.5]]])
    assert _new(place, behind, place, whole, 0.25).tolist() == [[[0, 0]]]


@dataclass(frozen=True, eq=False)
class DazzledDetector(ColourDetector):
    """Finds nothing at all where a white spot is in the picture."""

    def predictions(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        boxes, probabilities = super().predictions(images)
        dazzled = torch.nn.functional.avg_pool2d(images.amin(dim=1), 7, 1).amax(dim=(1, 2)) > 0.95
        return boxes, probabilities * ~dazzled[:, None, None]


def test_what_a_patch_hides_is_found_behind_a_mask() -> None:
    plain = colour_detector()
    dazzled = DazzledDetector(**{field.name: getattr(plain, field.name) for field in fields(plain)})
    pictures = torch.full((3, 3, 96, 96), 0.2)
    pictures[:2, 0, :24, :24] = 1.0  # red, which is a stop sign
    pictures[1:, :, 70:80, 70:80] = 1.0
    (found, *others) = dazzled.find(pictures)
    assert found[0].xyxy == (0, 0, 24, 24) and others == [[], []]
    behind = defended(dazzled, "object-seeker")
    assert isinstance(behind, Detector) and behind.name == "colours+object-seeker" and not behind.explains
    bare, hidden, nothing = behind.find(pictures)
    assert bare == found and nothing == []  # behind masks, what is in plain sight is nothing new
    assert (hidden[0].index, hidden[0].xyxy) == (0, (0, 0, 24, 24))
    assert behind.detect((pictures[1].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))[0].index == 0


def test_every_patch_clear_of_the_lines_is_masked_once() -> None:
    masks = half_planes(torch.zeros(1, 3, 96, 96))
    assert masks.shape == (12, 1, 96, 96) and ((masks == 0) | (masks == 1)).all()
    assert all((masks[:, 0, y : y + 20, x : x + 20] == 1).all(dim=(1, 2)).any() for y in range(76) for x in range(76))


def test_an_attacker_sees_each_mask_and_the_bare_picture_and_two_patches_alike() -> None:
    detector = colour_detector()
    scenes, other = torch.rand(2, 200, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    other = torch.where(torch.nn.functional.pad(torch.ones(40, 40), (28, 28, 28, 28)) > 0, other, scenes)
    seeker = defence_for(detector, "object-seeker")
    draws = torch.rand(200, generator=torch.Generator().manual_seed(1))
    grey = [seeker.attacked(pictures, draws).images == 0.5 for pictures in (scenes, other)]
    hidden = [(share > 0.2).tolist() for share in grey[0].float().mean(dim=(1, 2, 3))]
    assert 5 < hidden.count(False) < 30  # of 13, one is no mask
    torch.testing.assert_close(*(part[..., :20, :20] for part in grey))


def test_what_a_defence_is_worth_is_paired_by_photograph(tiny_victim: Victim, held_out: Photographs) -> None:
    blue = Patch(np.full((4, 4, 3), (20, 20, 255), np.uint8), {"index": 2, "name": CATEGORIES[2]}, {})
    bare = evaluate(tiny_victim, held_out, blue, area=0.5)
    hidden = replace(
        tiny_victim, name="tiny+blind", guard=lambda images: images * torch.tensor([1.0, 1.0, 0.0])[:, None, None]
    )
    effect = defence_effect(bare, evaluate(hidden, held_out, blue, area=0.5))
    assert bare.targeted["patch"].rate is not None and bare.targeted["patch"].rate > 0.5
    change = effect.targeted_success_change
    assert change is not None and change.difference == pytest.approx(-bare.targeted["patch"].rate, abs=0.2)
    assert change.ci95 is not None and change.ci95[1] < 0
    assert effect.clean_accuracy_paid > 0.2  # what is blue is no longer seen
    same = defence_effect(bare, bare)
    assert same.clean_accuracy_paid == 0 and same.untargeted_success_change.difference == 0


def test_what_a_defence_is_worth_is_told_by_the_views_that_count_with_and_without_it(
    tiny_victim: Victim, held_out: Photographs
) -> None:
    yes, no = True, False
    views = [
        ViewSuccess(
            right=torch.tensor(right),
            targeted=torch.tensor(reached),
            wrong=torch.tensor(reached),
            counts_for_target=torch.tensor(right),
            units=torch.arange(4),
        )
        for right, reached in (([yes, yes, yes, no], [yes, yes, no, yes]), ([yes, no, yes, yes], [no, no, no, no]))
    ]
    measured = evaluate(tiny_victim, held_out, vivid_patch())
    effect = defence_effect(*(replace(measured, success=success) for success in views))
    for change in (effect.targeted_success_change, effect.untargeted_success_change):
        assert change is not None and (change.difference, change.n) == (-0.5, 2)  # the first view and the third


def test_defences_are_named(tiny_victim: Victim) -> None:
    with pytest.raises(InputError, match=r"unknown defence 'jpge'.*jpeg"):
        defended(tiny_victim, "jpge")
    with pytest.raises(InputError, match="unknown defence 'medain'"):
        named_defences(("medain",), tiny_victim)
    with pytest.raises(InputError, match="heat needs a classifier; boxes is a detector"):
        defended(replace(tiny_victim, name="boxes", task="detect"), "heat")
    with pytest.raises(InputError, match="object-seeker needs a detector; tiny is a classifier"):
        defended(tiny_victim, "object-seeker")
    assert named_defences(("all",), tiny_victim) == tuple(name for name in DEFENCES if name != "object-seeker")
    for_all = tuple(name for name in DEFENCES if name not in ("heat", "patch-cleanser"))
    assert named_defences(("all",), colour_detector()) == for_all
    assert named_defences(("lgs", "jpeg", "lgs"), tiny_victim) == ("lgs", "jpeg")


def test_evaluate_measures_with_and_without(few_views, command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainConfig.of(cut="square", eot=ON_SCREEN)
    horn = Patch.load(HORN)
    replace(horn, provenance=horn.provenance | {"config": config.to_dict()}).save(tmp_path)
    done = command(
        "evaluate", tmp_path, "--model", "efficientnet_lite0", "--defence", "jpeg", "--defence", "heat", "--json", "-"
    )
    value = json.loads(done.out)
    assert list(value) == ["efficientnet_lite0", "efficientnet_lite0+jpeg", "efficientnet_lite0+heat"]
    assert "defence" not in value["efficientnet_lite0"]
    heat = value["efficientnet_lite0+heat"]
    assert heat["targeted_success"]["rate"] < value["efficientnet_lite0"]["targeted_success"]["rate"]
    assert heat["defence"]["targeted_success_change"]["ci95"][1] < 0
    listed = command("evaluate", "--defence", "list")
    assert listed.code == 0 and all(name in listed.out for name in DEFENCES)
    command("evaluate", tmp_path, "--defence", "jpge").assert_refused("unknown defence 'jpge'", "jpeg")
