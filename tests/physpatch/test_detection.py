"""Detectors as victims: boxes, scores about an object, objectives, and what is counted on objects."""

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import ColourDetector, colour_detector, colour_photographs
from torchvision import models
from torchvision.ops import box_iou

from calibration.common.errors import InputError
from calibration.common.success import Outcome
from physpatch.attack.loss import AttackLoss
from physpatch.attack.objectives import choose_objective
from physpatch.attack.placement import AttackRegion, Placement
from physpatch.evaluation.classification import CONDITIONS
from physpatch.evaluation.detection import _count, _Judged, evaluate_on_object
from physpatch.evaluation.grad_cam import grad_cam
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.eot import sample
from physpatch.techniques.static import Static
from physpatch.training.trainer import Trainer
from physpatch.victims.boxes import box_overlap
from physpatch.victims.detector import Detector
from physpatch.victims.families import catalogue
from physpatch.victims.registry import load_detector, load_victim

CONFIG = TrainConfig.of(
    object="stop",
    object_share=0.2,
    sign_area=0.25,
    steps=25,
    batch=8,
    eot=EotConfig.preset("mild").changed(
        prints=(), rotation_deg=(-3.0, 3.0), saturation=(1.0, 1.0), sharpening=(0.0, 0.0), print_fade=(0.0, 0.0)
    ),
)


def scene(*squares: tuple[int, int, int, tuple[float, float, float]]) -> torch.Tensor:
    """A grey picture with squares of colours: left, top, side, RGB."""
    image = torch.full((1, 3, 96, 96), 0.5)
    for left, top, side, colour in squares:
        image[0, :, top : top + side, left : left + side] = torch.tensor(colour)[:, None, None]
    return image


def test_overlap_is_that_of_torchvision() -> None:
    corners = torch.rand(7, 2, generator=torch.Generator().manual_seed(0)) * 50
    boxes = torch.cat([corners, corners + 5 + torch.rand(7, 2) * 30], dim=1)
    torch.testing.assert_close(box_overlap(boxes[:, None], boxes[None]), box_iou(boxes, boxes))
    apart = box_overlap(torch.tensor([0.0, 0, 1, 1]), torch.tensor([5.0, 5, 6, 6]))
    assert float(apart) == 0 and float(box_overlap(torch.zeros(4), torch.zeros(4))) == 0


def test_boxes_are_found_once_each_and_the_surest_first() -> None:
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 0.9)
    (found,) = colour_detector().find(scene((0, 0, 24, red), (48, 40, 48, blue)))
    named = {one.index: one for one in found[::-1]}  # the surest of each class
    assert named[0].xyxy == (0.0, 0.0, 24.0, 24.0) and named[1].xyxy[:2] == (48.0, 40.0)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    overlaps = box_overlap(*(torch.tensor([one.xyxy for one in found if one.index == 0]).unsqueeze(d) for d in (0, 1)))
    assert (overlaps - torch.eye(len(overlaps)) <= 0.7).all()


def test_classes_that_exclude_one_another_suppress_one_another() -> None:
    """Two boxes in one place and one elsewhere: two classes there, or the more confident one alone."""
    boxes = torch.tensor([[[0.0, 0, 40, 40], [0, 0, 40, 42], [50, 50, 90, 90]]])
    predictions = boxes, torch.tensor([[[0.9, 0.05], [0.1, 0.8], [0.2, 0.6]]])
    victim = colour_detector()
    signs = replace(victim, exclusive=True)
    assert [box.index for box in victim.select(predictions)[0]] == [0, 1, 1]
    assert [box.index for box in signs.select(predictions)[0]] == [0, 1]
    assert victim.judged_boxes(predictions).sigmoid()[0].tolist() == pytest.approx([0.9, 0.8])
    assert signs.judged_boxes(predictions).sigmoid()[0].tolist() == pytest.approx([0.9, 0.6])
    here = signs.judged_boxes(predictions, boxes[:, 0]).sigmoid()[0]
    assert here.tolist() == pytest.approx([0.9, 0.0], abs=1e-5)


def test_scores_about_an_object_leave_others_out() -> None:
    victim = colour_detector()
    image = scene((0, 0, 24, (1.0, 0.0, 0.0)), (48, 40, 48, (0.0, 0.0, 1.0)))
    whole = victim.confidences(victim.scores(image))[0]
    here = victim.confidences(victim.scores_near(image, torch.tensor([[0.0, 0.0, 24.0, 24.0]])))[0]
    there = victim.confidences(victim.scores_near(image, torch.tensor([[46.0, 38.0, 96.0, 90.0]])))[0]
    assert whole.tolist() == pytest.approx([1, 1], abs=0.01)
    assert here.tolist() == pytest.approx([1, 0], abs=0.01) and there.tolist() == pytest.approx([0, 1], abs=0.01)


def test_the_place_of_an_object_follows_each_detectors_size() -> None:
    large = colour_detector()
    small = replace(large, preprocessing=replace(large.preprocessing, size=48))
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    attack = AttackLoss(
        Static(red),
        [large, small],
        [choose_objective("detect", None, on_object=True)] * 2,
        AttackRegion(Placement(0.02, labelled="stop", share=0.1, grid=(1, 1)), "object", "hide"),
    )
    params = sample(EotConfig.none(), 1, torch.Generator().manual_seed(0))
    one, other = attack(
        scene((48, 48, 48, (1, 0, 0))), torch.tensor([0]), params, objects=torch.tensor([[48.0] * 2 + [96.0] * 2])
    )[0].tolist()
    assert one == pytest.approx(other, rel=0.1) and one > 1  # a large red square is a stop sign at either size


def test_hiding_and_relabelling_are_log_probabilities_about_the_object() -> None:
    scores, labels = torch.tensor([[2.0, -1.0], [-3.0, 0.5]]), torch.tensor([0, 0])
    p = scores.sigmoid().double()
    hide = choose_objective("detect", None, on_object=True)
    assert float(hide.terms(scores, labels)["hide"]) == pytest.approx(float(-(1 - p[:, 0]).log().mean()), rel=1e-5)
    assert hide.success(scores, labels).tolist() == [False, True]
    aim = choose_objective("detect", 1, on_object=True)
    terms = aim.terms(scores, labels)
    assert list(terms) == list(aim.term_names) == ["hide", "appear"]
    assert float(terms["appear"]) == pytest.approx(float(-p[:, 1].log().mean()), rel=1e-5)
    assert aim.success(scores, labels).tolist() == [False, True]


def test_a_patch_on_a_sign_is_trained_to_hide_it_and_measured_beside_its_controls() -> None:
    victim = colour_detector()
    trainer = Trainer(victim, colour_photographs(12, 108), CONFIG)
    losses = [record.loss for record in trainer]
    assert losses[-1] < 0.5 * losses[0]
    calm = replace(colour_photographs(20, 96, seed=3), images=torch.full((20, 3, 96, 96), 110, dtype=torch.uint8))
    region = AttackRegion.of(CONFIG, "detect", None)
    told = evaluate_on_object(victim, calm, trainer.patch, region, eot=CONFIG.eot, poses=2)
    result = told.to_dict()
    assert result["object"] == "stop" and result["n"] == 20 and result["poses"] == 2
    assert told.clean_accuracy > 0.95 and told.accuracy["grey"] > 0.95
    rate = told.untargeted["patch"].rate
    assert rate is not None and rate > 0.3 > (told.untargeted["random"].rate or 0)
    hidden, relabelled = told.hidden["patch"].rate or 0, told.relabelled["patch"].rate or 0
    assert hidden + relabelled == pytest.approx(rate)
    precision = result["mean_precision"]
    assert precision["clean"]["map50"] > precision["patch"]["map50"]
    counted = sum(part["success"]["n"] for part in result["by_size_px"])
    assert counted >= told.untargeted["patch"].n
    assert all(40 <= part["from"] < part["below"] <= 120 for part in result["by_size_px"])  # signs of 39 to 60 pixels
    for part in result["by_size_px"]:
        assert set(part["controls"]) == {"grey", "random", "shuffled"} and not part["controls"]["grey"]["rate"]
    (touching,) = result["by_patch_distance"]  # the patch is on the only sign
    assert (touching["from"], touching["below"]) == (0, 0.25)
    assert touching["missed"]["patch"] == result["untargeted_success"] and touching["missed"]["grey"]["rate"] == 0
    for name, part in touching["precision"].items():
        # Boxes on nothing, farther from the patch than any object, are not in this part.
        assert part["ap50"] == pytest.approx(precision[name]["map50"], abs=0.003) and part["objects"] == 40
        assert part["ci95"][0] <= part["ap50"] <= part["ci95"][1]
    again = evaluate_on_object(victim, calm, trainer.patch, region, eot=CONFIG.eot, poses=2)
    assert again.to_dict() == result


def test_a_false_box_and_another_class_are_told_apart() -> None:
    victim = colour_detector()
    blue = Patch(np.full((4, 4, 3), (0, 0, 255), np.uint8), {"index": 1, "name": "pedestrian crossing"}, {})
    region = AttackRegion.of(CONFIG.changed(grid=(4, 4), object_share=0.6), "detect", 1)
    images = torch.full((6, 3, 96, 96), 110, dtype=torch.uint8)
    images[:, 0, :24, :24], images[:, 1:, :24, :24] = 255, 0  # a red square that is no sign
    photographs = replace(colour_photographs(6, 96), images=images)
    told = evaluate_on_object(victim, photographs, blue, region, eot=EotConfig.none())
    assert told.accuracy["patch"] == 0
    # the red square is found without a patch too; boxes of parts of the blue one are not
    assert told.false_boxes["grey"] == told.false_boxes["random"] == 0 < told.false_boxes["patch"]
    assert (told.success.targeted is not None) and told.success.targeted.any()


def test_rates_are_of_views_that_are_right_with_grey_and_do_not_show_the_target_there() -> None:
    """Two photographs in two poses: the second one's object is missed with grey, the first one's once shows the target."""
    detector, found, lost = colour_detector(), (False, False, False), (True, True, False)
    told = {
        "clean": [(*found, False)] * 4,
        "grey": [(*found, True), (*lost, False), (*found, False), (*lost, False)],
        "patch": [(*lost, True), (*lost, True), (*found, False), (*found, False)],
    }
    judged = {
        name: _Judged([Outcome(*told.get(name, told["clean"])[i]) for i in range(4)]) for name in ("clean", *CONDITIONS)
    }
    judged["patch"].false_boxes = 6
    precision = SimpleNamespace(compute=lambda: {"map_50": 0.5, "map": 0.25})
    patch = Patch(np.zeros((4, 4, 3), np.uint8), {"index": 1, "name": detector.categories[1]})
    counted = _count(
        detector, 0, patch, judged, dict.fromkeys(judged, precision), [12.0] * 4, torch.tensor([0, 1, 0, 1]), 2
    )
    ((least, most, by_size),) = counted.by_size
    assert (least, most) == (10, 15)
    for rate, share in (
        (counted.untargeted["patch"], 0.5),
        (counted.hidden["patch"], 0.5),
        (by_size["patch"], 0.5),
        (counted.targeted["patch"], 0),
    ):
        assert (rate.rate, rate.n) == (share, 1)
    assert (counted.untargeted_of_all["patch"].rate, counted.untargeted_of_all["patch"].n) == (0.5, 2)
    assert counted.false_boxes["patch"] == 1.5 and (counted.n, counted.poses) == (2, 2)


@pytest.mark.filterwarnings("ignore:Encountered more than 100 detections")
def test_a_threshold_below_that_of_the_precision_counts_as_it_is() -> None:
    class Faint(ColourDetector):
        def predictions(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            boxes, probabilities = super().predictions(images)
            return boxes, probabilities / 125

    sure = colour_detector()
    faint = Faint(**{field.name: getattr(sure, field.name) for field in fields(sure)} | {"threshold": 0.002})
    grey = Patch(np.full((4, 4, 3), 128, np.uint8), None, {})
    region = AttackRegion.of(CONFIG.changed(grid=(4, 4)), "detect", None)
    told = evaluate_on_object(faint, colour_photographs(6, 96), grey, region, eot=EotConfig.none())
    assert told.clean_accuracy == told.accuracy["grey"] == 1


@pytest.mark.parametrize("objective", ["dpatch", "t-sea"])
@pytest.mark.parametrize(("target", "share"), [(None, 0.2), (1, 0.5)], ids=["hide", "relabel"])
def test_published_losses_train_a_patch_that_hides_or_relabels(objective, target, share) -> None:
    victim = colour_detector()
    calm = replace(colour_photographs(12, 108), images=torch.full((12, 3, 108, 108), 110, dtype=torch.uint8))
    config = CONFIG.changed(objective=objective, object_share=share, steps=30)
    records = list(Trainer(victim, calm, config, target))
    first, last = (np.mean([record.success for record in part]) for part in (records[:5], records[-5:]))
    assert last > first + 0.3 and np.mean([r.loss for r in records[-5:]]) < np.mean([r.loss for r in records[:5]])


def test_a_sign_that_vanishes_is_not_even_taken_for_another() -> None:
    victim = colour_detector()
    calm = replace(colour_photographs(12, 108), images=torch.full((12, 3, 108, 108), 110, dtype=torch.uint8))
    config = CONFIG.changed(objective="vanish", object_share=0.5, steps=40)
    trainer = Trainer(victim, calm, config)
    for _ in trainer:
        pass
    seen = replace(colour_photographs(20, 96, seed=3), images=torch.full((20, 3, 96, 96), 110, dtype=torch.uint8))
    region = AttackRegion.of(config, "detect", None)
    told = evaluate_on_object(victim, seen, trainer.patch, region, eot=config.eot, poses=2)
    hidden, relabelled = told.hidden["patch"].rate, told.relabelled["patch"].rate
    assert hidden is not None and hidden > 0.5 and relabelled == 0


def test_a_classifier_and_a_detector_without_such_signs_are_refused(tiny_victim, photographs) -> None:
    with pytest.raises(InputError, match="needs a detector, such as --model signs; tiny is a classifier"):
        Trainer(tiny_victim, photographs, CONFIG)
    grey, region = Patch(np.full((10, 10, 3), 128, np.uint8), None, {}), AttackRegion.of(CONFIG, "detect", None)
    with pytest.raises(InputError, match="needs a detector, such as --model signs; tiny is a classifier"):
        evaluate_on_object(tiny_victim, photographs, grey, region)
    blind = replace(colour_detector(), categories=("car", "bus"))
    with pytest.raises(InputError, match="unknown object 'stop'; known: car, bus"):
        Trainer(blind, colour_photographs(4, 108), CONFIG)
    coco = replace(colour_detector(), categories=("stop sign", "bus"))
    assert Trainer(coco, colour_photographs(4, 108), CONFIG).term_names == ("hide",)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_torchvisions_detectors_answer_alike(name: str, tmp_path) -> None:
    """With random weights for seven classes, from a file: its boxes are the network's own, and gradients reach the picture."""
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    victim = load_victim(name, weights=tmp_path / "weights.pth")
    assert isinstance(victim, Detector) and len(victim.categories) == 7 and victim.preprocessing.size == 320
    images = torch.rand(2, 3, 320, 320, requires_grad=True)
    boxes, probabilities = victim.predictions(images)
    probabilities.amax(dim=1).sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0
    with torch.no_grad():
        own = victim.module(list(images.detach()))
    for i, answer in enumerate(own):
        count = len(answer["scores"])
        torch.testing.assert_close(boxes[i, :count], answer["boxes"])
        torch.testing.assert_close(probabilities[i, :count].sum(dim=1), answer["scores"])
    with grad_cam(victim) as cam:
        assert cam(images.detach(), [1, 2]).shape == (2, 320, 320)
    heard: list[torch.Tensor] = []
    hook = victim.cam_layer.register_forward_hook(lambda _, __, output: heard.append(output.requires_grad_()))
    _, probabilities = victim.predictions(images)
    hook.remove()
    scores = probabilities[0].amax(dim=1)
    some = scores[:: max(1, len(scores) // 10)]  # of up to 300 boxes: each takes a backward pass of its own
    moved = [torch.autograd.grad(score, heard, retain_graph=True)[0].any() for score in some]
    assert moved and all(moved), f"{sum(moved)} of {len(moved)} boxes depend on the layer for heat"
    with pytest.raises(InputError, match="does not hold weights for fcos_resnet50_fpn"):
        load_victim("fcos_resnet50_fpn", weights=tmp_path / "weights.pth")


def test_names_of_detectors_are_known_and_others_named() -> None:
    names = {entry.name: entry for entry in catalogue()}
    assert names["signs"].ready and names["fasterrcnn_resnet50_fpn"].task == "detect"
    with pytest.raises(InputError, match="unknown model 'maskrcnn_resnet50_fpn'"):
        load_detector("maskrcnn_resnet50_fpn")
