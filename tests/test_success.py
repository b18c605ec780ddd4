"""The same boxes through every room: training's judge, evaluation, live analysis, summary and replay say the same of them."""

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from calibration.colour.colour_chart import ChartShot
from calibration.common.success import Aim, FoundBox, false_boxes, is_centred, judge, judge_answer, overlap
from captures.gap.decomposition import _judge
from captures.gap.replay import ReplayView
from captures.inference.analyser import Analyser, _own_spelling
from captures.inference.region import RegionRule
from captures.results.success import frame_success
from captures.storage import FrameRow
from physpatch.attack.loss import AttackLoss
from physpatch.attack.objectives import choose_objective
from physpatch.attack.placement import AttackRegion
from physpatch.data.photographs import Photographs
from physpatch.evaluation.classification import evaluate_patch
from physpatch.evaluation.detection import evaluate_on_object
from physpatch.records.config import TrainConfig
from physpatch.records.eot_config import EotConfig
from physpatch.records.patch_file import Patch
from physpatch.rendering.eot import sample
from physpatch.victims.boxes import box_overlap
from physpatch.victims.detector import Detector
from physpatch.victims.protocol import Preprocessing, Victim, WeightsInfo

SIZE = 96
OWN, TARGET, OTHER = 0, 1, 2
NAMES = ("stop", "yield", "kite")
OBJECT = (20.0, 20.0, 60.0, 60.0)  # and the patch in its middle
NARROW = (20.0, 20.0, 60.0, 41.0)  # 0.525 of the object
NARROWER = (20.0, 20.0, 60.0, 39.0)  # 0.475: about the object, and pulled at in training, but not on it
AWAY = (70.0, 70.0, 94.0, 94.0)
LARGE = (5.0, 5.0, 75.0, 75.0)  # its middle on the patch, too large to be the object: IoU 0.33

# What is found; then, by hand: is the object lost, hidden, relabelled; is the target reached by the goals relabel, appear.
CASES: dict[str, tuple[list[tuple[int, float, tuple[float, ...]]], bool, bool, bool, bool, bool]] = {
    "nothing": ([], True, True, False, False, False),
    "the object": ([(OWN, 0.9, OBJECT)], False, False, False, False, False),
    "its class elsewhere": ([(OWN, 0.9, AWAY)], True, True, False, False, False),
    "another class on it": ([(OTHER, 0.9, OBJECT)], True, False, True, False, False),
    "the target on it": ([(TARGET, 0.9, OBJECT)], True, False, True, True, True),
    "the target beside its own": ([(OWN, 0.8, OBJECT), (TARGET, 0.9, OBJECT)], False, False, False, False, True),
    "the target elsewhere": ([(TARGET, 0.9, AWAY)], True, True, False, False, False),
    "a phantom larger than the object": ([(TARGET, 0.9, LARGE)], True, True, False, False, True),
    "its own, just unsure": ([(OWN, 0.249, OBJECT)], True, True, False, False, False),
    "its own, just sure": ([(OWN, 0.251, OBJECT)], False, False, False, False, False),
    "its own, just on it": ([(OWN, 0.9, NARROW)], False, False, False, False, False),
    "its own, just not on it": ([(OWN, 0.9, NARROWER)], True, True, False, False, False),
    "the target, just unsure": ([(TARGET, 0.249, OBJECT)], True, True, False, False, False),
}


@dataclass(frozen=True, eq=False)
class FixedDetector(Detector):
    """Finds the same boxes in every picture."""

    boxes: tuple[tuple[int, float, tuple[float, ...]], ...] = ()

    def predictions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.zeros(len(images), len(self.boxes) + 1, 4)  # and one box that nobody is sure of
        probabilities = torch.zeros(len(images), len(self.boxes) + 1, len(NAMES))
        for row, (index, score, xyxy) in enumerate(self.boxes):
            found[:, row], probabilities[:, row, index] = torch.tensor(xyxy), score
        return found, probabilities + 0 * images.sum()


def detector(boxes: list[tuple[int, float, tuple[float, ...]]]) -> FixedDetector:
    module = nn.Conv2d(3, 1, 1)
    plain = Preprocessing(SIZE, SIZE, (0.0,) * 3, (1.0,) * 3)
    return FixedDetector(
        "fixed", "detect", NAMES, plain, module, module, WeightsInfo("test", "0" * 64), boxes=tuple(boxes)
    )


def config_for(goal: str) -> TrainConfig:
    return TrainConfig.of(
        object="stop", object_from="labels", object_share=0.2, goal=goal, grid=(4, 4), eot=EotConfig.none()
    )


def in_training(victim: FixedDetector, goal: str, target: int | None) -> bool:
    technique: Any = nn.Module()
    technique.cells = lambda: torch.full((3, 4, 4), 0.5)
    technique.weigh = torch.ones_like
    config = config_for(goal)
    objective = choose_objective("detect", target, goal=goal, on_object=True)
    attack = AttackLoss(technique, [victim], [objective], AttackRegion.of(config, "detect", target))
    params = sample(config.eot, 1, torch.Generator().manual_seed(0))
    images, labels = torch.full((1, 3, SIZE, SIZE), 0.5), torch.tensor([OWN])
    return bool(attack(images, labels, params, objects=torch.tensor([OBJECT]))[1])


def in_evaluation(victim: FixedDetector, goal: str, target: int | None) -> dict[str, bool]:
    """Of the views of the patch; the control's are right in none or in all of them, since the boxes are always the same."""
    photographs = Photographs(
        torch.full((1, 3, SIZE, SIZE), 128, dtype=torch.uint8),
        torch.tensor([-1]),
        ("grey",),
        (torch.tensor([OBJECT]),),
        torch.tensor([0]),
    )
    patch = patch_for(target)
    region = AttackRegion.of(config_for(goal), "detect", target)
    result = evaluate_on_object(victim, photographs, patch, region, eot=EotConfig.none())
    said = {"wrong": bool(result.success.wrong)}
    return said | ({"target": bool(result.success.targeted)} if target is not None else {})


def patch_for(target: int | None) -> Patch:
    aimed = None if target is None else {"index": target, "name": NAMES[target]}
    return Patch(np.full((4, 4, 3), 128, np.uint8), target=aimed)


def live(victim: FixedDetector, goal: str, target: int | None) -> tuple[bool, dict[str, bool]]:
    """What the session notes for the frame, and what its summary makes of the row."""
    patch = patch_for(target)
    classifier = replace(victim, task="classify")
    analyser = Analyser(classifier, victim, (), None, patch.target, None, RegionRule(), "stop", goal=goal)  # type: ignore[arg-type]
    pose = SimpleNamespace(carrier_xyxy=OBJECT, patch_corners_px=CORNERS)
    located: Any = SimpleNamespace(pose=pose, frame=SimpleNamespace(label=None))
    found = victim.find(torch.zeros(1, 3, SIZE, SIZE))[0]
    success = analyser._detector_success(located, victim, found)
    boxes = json.dumps([[NAMES[one.index], one.score, *one.xyxy] for one in found])
    row = FrameRow(
        *(0, 0.0, "patch", 0, "fixed", "", 0.0, 0.0, success, None, None, None, None, None, None, "stop"),
        boxes=boxes,
        patch_xy=json.dumps(CORNERS.tolist()),
        object_xyxy=json.dumps(OBJECT),
    )
    return bool(success), frame_success(row, None if target is None else NAMES[target])


def test_names_of_classes_are_compared_as_elsewhere() -> None:
    """The patch's own network spells the target otherwise: what is right with grey is then no success."""
    row = FrameRow(
        *(0, 0.0, "patch", 0, "m", "digital_clock", 0.9, 0.9, 1, None, None, None, None, None, None, "digital_clock")
    )
    assert frame_success(row, "digital clock") == {"wrong": False}
    assert frame_success(row, "Digital-Watch") == {"target": True, "wrong": False}
    assert _own_spelling("stop sign", ("red", "stop_sign")) == "stop_sign" and _own_spelling("kite", ("red",)) is None
    assert _own_spelling("stop sign", ("stop_sign", "stop sign")) == "stop sign"


CORNERS = np.array([[31.0, 31.0], [49.0, 31.0], [49.0, 49.0], [31.0, 49.0]], np.float32)


def in_replay(victim: FixedDetector, goal: str, target: int | None, measure: str) -> bool:
    shot: ChartShot = None  # type: ignore[assignment]
    view = ReplayView(np.zeros((SIZE, SIZE, 3), np.uint8), CORNERS, 1.0, shot, None, "stop", OBJECT)
    says = _judge(victim, measure, patch_for(target), config_for(goal))(torch.zeros(2, 3, SIZE, SIZE), view)
    assert says.shape == (2,) and bool(says[0]) == bool(says[1])
    return bool(says[0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_all_rooms_say_the_same_of_the_same_boxes(case: str) -> None:
    boxes, lost, hidden, relabelled, becomes_target, appears = CASES[case]
    victim = detector(boxes)
    found = [FoundBox(NAMES[index], score, xyxy) for index, score, xyxy in boxes]  # type: ignore[arg-type]
    outcome = judge(found, Aim("hide", own="stop"), object_xyxy=OBJECT)
    assert (outcome.wrong, outcome.hidden, outcome.relabelled) == (lost, hidden, relabelled)
    for goal, target, expected in (
        ("hide", None, lost),
        ("relabel", TARGET, becomes_target),
        ("appear", TARGET, appears),
    ):
        measure = "wrong" if target is None else "target"
        own = judge(found, Aim(goal, own="stop", target=target and NAMES[target]), object_xyxy=OBJECT, patch_xyxy=PATCH)
        assert own.success is expected, goal
        assert in_training(victim, goal, target) is expected, goal
        assert in_evaluation(victim, goal, target)[measure] is expected, goal
        noted, summed = live(victim, goal, target)
        assert (noted, summed[measure]) == (expected, expected), goal
        assert (summed["wrong"], summed["hidden"], summed["relabelled"]) == (lost, hidden, relabelled)
        assert in_replay(victim, goal, target, measure) is expected, goal


PATCH = (31.0, 31.0, 49.0, 49.0)


@pytest.mark.parametrize(("threshold", "score"), [(0.1, 0.09), (0.1, 0.11), (0.6, 0.59), (0.6, 0.61)])
@pytest.mark.filterwarnings("ignore")
def test_all_rooms_keep_to_the_threshold_of_the_model(threshold: float, score: float) -> None:
    counts = score >= threshold
    for goal, target, index, expected in (("hide", None, OWN, not counts), ("relabel", TARGET, TARGET, counts)):
        victim = replace(detector([(index, score, OBJECT)]), threshold=threshold)
        measure = "wrong" if target is None else "target"
        assert in_training(victim, goal, target) is expected, goal
        assert in_evaluation(victim, goal, target)[measure] is expected, goal
        noted, summed = live(victim, goal, target)
        assert (noted, summed[measure]) == (expected, expected), goal
        assert in_replay(victim, goal, target, measure) is expected, goal


def test_a_classifier_that_is_not_sure_has_no_answer(tiny_victim: Victim, held_out: Photographs, patch: Patch) -> None:
    """Its top class does not reach the threshold: neither the truth nor the target, in training, evaluation and replay."""
    images = held_out.images.float() / 255
    with torch.no_grad():
        scores = tiny_victim.scores(images)
    confidence = float(scores.softmax(dim=1).amax(dim=1).median())
    careful = replace(tiny_victim, threshold=confidence)
    sure = scores.softmax(dim=1).amax(dim=1) >= confidence
    assert sure.any() and not sure.all()
    answers = careful.judged(scores).argmax(dim=1)
    assert torch.equal(answers[sure], scores.argmax(dim=1)[sure]) and (answers[~sure] == len(careful.categories)).all()
    for target in (0, None):
        found = choose_objective("classify", target).success(careful.judged(scores), held_out.labels)
        assert (found[~sure] == (target is None)).all()
    rates = [evaluate_patch(victim, held_out, patch, eot=EotConfig.none()) for victim in (tiny_victim, careful)]
    assert rates[0].clean_accuracy == 1.0 and rates[1].clean_accuracy == pytest.approx(float(sure.double().mean()))


def test_where_nobody_knows_the_place_boxes_anywhere_are_taken_for_the_objects() -> None:
    elsewhere = [FoundBox("stop", 0.9, AWAY)]  # type: ignore[arg-type]
    outcome = judge(elsewhere, Aim(own="stop"))
    assert (outcome.wrong, outcome.hidden, outcome.relabelled, outcome.success) == (False, None, None, False)
    assert judge(elsewhere, Aim(scope="image", own="stop"), object_xyxy=OBJECT).wrong is False
    assert judge(elsewhere, Aim()).success is None  # nothing is known of what is there


def test_auto_is_hide_relabel_or_appear() -> None:
    assert [Aim(target=target).resolved(on) for target, on in ((None, True), ("x", True), ("x", False))] == [
        "hide",
        "relabel",
        "appear",
    ]


def test_an_answer_is_judged_by_target_or_truth() -> None:
    assert (
        judge_answer("clock", "fox", "clock").success is True and judge_answer("cat", "fox", "clock").success is False
    )
    assert judge_answer("cat", "fox", None).success is True and judge_answer("cat", None, None).success is None


def test_what_stands_there_in_any_case_is_no_false_box() -> None:
    """An unlabelled person is found with the grey control too."""
    person, kite = FoundBox("person", 0.8, (30.0, 30, 50, 50)), FoundBox("kite", 0.8, (30.0, 30, 50, 50))
    moved = replace(person, xyxy=(31.0, 30, 51, 50))
    assert false_boxes([person, kite], [moved]) == [kite]
    assert false_boxes([person, kite], [moved], own=(30, 30, 50, 50)) == []  # on the object: relabelled, not false
    assert false_boxes([replace(kite, score=0.2)], []) == []


@pytest.mark.parametrize(("other", "share"), [((0, 0, 2, 2), 1.0), ((1, 0, 3, 2), 1 / 3), ((5, 5, 6, 6), 0.0)])
def test_overlap_is_intersection_over_union(other, share: float) -> None:
    assert overlap((0, 0, 2, 2), other) == pytest.approx(share)
    twin = box_overlap(torch.tensor([0.0, 0, 2, 2]), torch.tensor(other, dtype=torch.float32))
    assert float(twin) == pytest.approx(share)
    assert is_centred((0, 0, 4, 4), (1, 1, 3, 3)) and not is_centred((0, 0, 9, 4), (1, 1, 3, 3))
