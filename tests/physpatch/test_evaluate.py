"""Counting, on a victim whose answers are known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from support import CATEGORIES, DETECTED, colour_detector

from calibration.colour.printing_condition import load_condition
from calibration.common.errors import InputError
from physpatch.attack.placement import Placement
from physpatch.data.photographs import UNLABELLED, Photographs
from physpatch.evaluation.classification import evaluate_patch, scenes
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.victims.registry import load_victim

# Cut out and in the colours of a screen: the sheet would cover most of a tiny picture.
evaluate = partial(evaluate_patch, cut="square", eot=EotConfig())


def flat(color: tuple[int, int, int], target: int | None) -> Patch:
    described = None if target is None else {"index": target, "name": CATEGORIES[target]}
    return Patch(np.full((4, 4, 3), color, np.uint8), described)


def test_a_blue_patch_makes_things_blue(tiny_victim, held_out) -> None:
    result = evaluate(tiny_victim, held_out, flat((0, 0, 255), 2), area=0.6, eot=EotConfig.none())
    assert result.clean_accuracy == 1.0 and result.n == 40
    assert result.targeted["patch"].rate == 1.0
    assert result.targeted["grey"].rate == 0.0
    not_blue = int((held_out.labels != 2).sum())
    assert result.targeted["patch"].n <= not_blue  # blue things do not count as fooled when called blue
    assert result.accuracy["patch"] == pytest.approx(1 - not_blue / 40, abs=0.03)


def test_success_is_counted_where_the_grey_control_is_right(tiny_victim, held_out) -> None:
    result = evaluate(tiny_victim, held_out, flat((255, 255, 255), None), area=0.75)
    right_with_grey = round(result.accuracy["grey"] * 40)
    assert result.untargeted["patch"].n == right_with_grey
    assert result.to_dict()["targeted_success"] == {"rate": None, "ci95": None, "n": 0}


def test_a_target_that_a_detector_finds_with_grey_too_is_no_success() -> None:
    images = torch.full((8, 3, 96, 96), 128, dtype=torch.uint8)
    images[:, :, :48, :48] = 0
    images[:5, 0, :48, :48] = images[5:, 2, :48, :48] = 255  # five red squares and three blue ones
    photographs = Photographs(images, torch.full((8,), UNLABELLED), tuple(map(str, range(8))))
    blue = replace(flat((0, 0, 255), None), target={"index": 1, "name": DETECTED[1]})
    result = evaluate(colour_detector(), photographs, blue, area=0.07, eot=EotConfig.none(), scope="image")
    assert (result.targeted["patch"].rate, result.targeted["patch"].n) == (1, 5)


def test_json_has_the_promised_keys(tiny_victim, held_out) -> None:
    value = evaluate(tiny_victim, held_out, flat((0, 0, 255), 2)).to_dict()
    assert {
        "n",
        "clean_accuracy",
        "patched_accuracy",
        "controls",
        "targeted_success",
        "untargeted_success",
    } <= value.keys()
    assert set(value["controls"]) == {"grey", "random", "shuffled"}
    assert set(value["targeted_success"]) == {"rate", "ci95", "n"}


def test_the_patch_is_paired_with_each_control_and_all_views_are_told_too(tiny_victim, held_out) -> None:
    """What a blue patch does and its own cells in another order would do as well is no achievement of their order."""
    result = evaluate(tiny_victim, held_out, flat((0, 0, 255), 2), area=0.6, eot=EotConfig.none())
    value = result.to_dict()
    assert set(value["differences"]) == {"grey", "random", "shuffled"}
    shuffled, grey = value["differences"]["shuffled"]["targeted"], value["differences"]["grey"]["targeted"]
    assert shuffled["difference"] == 0 and shuffled["n"] == value["targeted_success"]["n"]  # one colour: the same cells
    assert grey["difference"] == 1 and grey["ci95"][0] > 0.5
    not_blue = int((held_out.labels != 2).sum())
    of_all = value["targeted_success_of_all"]
    assert of_all["patch"]["n"] == not_blue and of_all["patch"]["rate"] == 1 and of_all["grey"]["rate"] == 0
    wrong = value["untargeted_success_of_all"]["grey"]
    assert wrong["n"] == 40 and wrong["rate"] == pytest.approx(1 - result.accuracy["grey"])


def test_photographs_easier_than_those_of_the_published_accuracy_are_cautioned_about(tiny_victim, held_out) -> None:
    """87.7 % on photographs where 75.1 % are published on validation: the network's own training photographs, perhaps."""
    harmless, shown = flat((128, 128, 128), None), {"area": 0.1, "eot": EotConfig.none()}
    for published, cautious in ((None, False), (0.75, True), (0.95, False)):  # right on 40 of 40: at least 91 %
        victim = replace(tiny_victim, published_accuracy=published)
        caution = evaluate(victim, held_out, harmless, **shown).to_dict()["caution"]
        assert (caution is not None) == cautious
    caution = evaluate(replace(tiny_victim, published_accuracy=0.75), held_out, harmless, **shown).caution
    assert caution is not None and "100.0 %" in caution and "validation photographs is 75.0 %" in caution
    assert load_victim("efficientnet_lite0").published_accuracy == 0.751


def test_every_patch_is_shown_at_the_same_poses(tiny_victim, held_out) -> None:
    (scene, *_) = scenes(tiny_victim, held_out, Placement(0.2), EotConfig(), seed=5)
    (again, *_) = scenes(tiny_victim, held_out, Placement(0.2), EotConfig(), seed=5)
    one, other = scene.coverage(flat((255, 0, 0), None)), again.coverage(flat((0, 0, 255), None))
    assert torch.equal(one, other)


def test_poses_make_the_photograph_the_unit(tiny_victim, held_out) -> None:
    result = evaluate(tiny_victim, held_out, flat((255, 255, 255), None), area=0.5, poses=5)
    assert (result.n, result.poses) == (40, 5)
    assert result.untargeted["patch"].n <= 40


def test_photographs_without_a_patch_are_shown_once_whatever_the_number_of_poses(tiny_victim, held_out) -> None:
    shown: list[int] = []
    watched = replace(tiny_victim, guard=lambda images: shown.append(len(images)) or images)
    result = evaluate(watched, held_out, flat((255, 255, 255), None), area=0.5, poses=3)
    assert sum(shown) == 40 * (1 + 3 * 4)  # of these, the patch and three controls in every pose
    assert result.clean_accuracy == evaluate(tiny_victim, held_out, flat((255, 255, 255), None)).clean_accuracy


def test_guards(tiny_victim, held_out) -> None:
    unlabelled = replace(held_out, labels=torch.full_like(held_out.labels, -1))
    with pytest.raises(InputError, match="no labelled photographs"):
        evaluate(tiny_victim, unlabelled, flat((0, 0, 0), None))


def test_scores_that_are_no_numbers_are_no_success(tiny_victim, held_out) -> None:
    class Overflowing(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            dark = images.amax(dim=(1, 2, 3)) < 0.2
            return torch.where(dark[:, None], torch.nan, tiny_victim.module(images))

    dark = replace(held_out, images=held_out.images.clone())
    dark.images[:2] = 3
    victim = replace(tiny_victim, module=Overflowing())
    with pytest.raises(InputError, match="answers 2 of 40 clean photographs with scores that are not numbers"):
        evaluate(victim, dark, flat((0, 0, 255), 2), area=0.4)


def test_a_target_is_the_class_of_that_name_whatever_its_number(tiny_victim, held_out) -> None:
    elsewhere = replace(flat((0, 0, 255), 2), target={"index": 0, "name": "blue thing"})
    assert evaluate(tiny_victim, held_out, elsewhere, area=0.6, eot=EotConfig.none()).targeted["patch"].rate == 1.0
    unknown = replace(elsewhere, target={"index": 2, "name": "French horn"})
    assert evaluate(tiny_victim, held_out, unknown).targeted["patch"].n == 0
    twice = replace(tiny_victim, categories=("crane", "owl", "crane", "wren"))
    assert twice.target_index({"index": 2, "name": "crane"}) == 2
    assert twice.target_index({"index": 1, "name": "crane"}) == 0


def test_a_print_is_measured_beside_the_screen(tiny_victim, held_out) -> None:
    """Newspaper makes a pale blue of blue: on the same views fewer come out as the target than on a screen."""
    eot = EotConfig.none().changed(prints=(load_condition("newspaper"),))
    printed = evaluate(tiny_victim, held_out, flat((0, 0, 255), 2), area=0.6, eot=eot)
    on_screen = evaluate(tiny_victim, held_out, flat((0, 0, 255), 2), area=0.6, eot=EotConfig.none())
    assert on_screen.on_screen == {} and on_screen.to_record().screen_targeted_success is None
    shown = printed.to_record()
    assert shown.screen_targeted_success is not None and shown.screen_targeted_success.n == shown.targeted_success.n
    assert shown.screen_targeted_success.rate > (shown.targeted_success.rate or 0)
    assert set(printed.on_screen) == {"targeted", "untargeted"}
