"""A metric for one's own loop counts as ``physpatch evaluate`` does."""

import json

import numpy as np
import pytest
import torch
from support import CATEGORIES

from calibration.common.errors import InputError
from physpatch import EotConfig, Patch, PatchMetrics, evaluate_patch
from physpatch.attack.placement import Placement
from physpatch.evaluation.classification import scenes

BLUE = Patch(np.full((4, 4, 3), (0, 0, 255), np.uint8), {"index": 2, "name": CATEGORIES[2]})


@pytest.mark.parametrize("poses", [1, 3])
def test_it_counts_what_evaluate_counts(tiny_victim, held_out, poses: int) -> None:
    shown = {"area": 0.3, "eot": EotConfig(), "seed": 5}
    expected = evaluate_patch(tiny_victim, held_out, BLUE, cut="square", poses=poses, **shown).to_dict()
    metrics = PatchMetrics(target=2)
    placement, seen = Placement.cut("square", 0.3, BLUE.grid), 0
    sheets = {name: BLUE if name == "patch" else BLUE.control(name) for name in ("patch", "grey", "random", "shuffled")}
    with torch.no_grad():
        for scene in scenes(tiny_victim, held_out, placement, EotConfig(), 5, poses):
            scores = {name: tiny_victim.scores(scene.showing(sheet)) for name, sheet in sheets.items()}
            scores["clean"] = tiny_victim.scores(scene.images).argmax(dim=1)  # the first class will do
            number = torch.arange(seen, seen + len(scene.labels)) % len(held_out)
            metrics.update(scene.labels, units=number if poses > 1 else None, **scores)
            seen += len(scene.labels)
    value = json.loads(json.dumps(metrics.compute()))
    assert value["n"] == poses * expected["n"]
    for name in ("clean_accuracy", "patched_accuracy", "controls", "control_targeted_success", "targeted_success"):
        assert value[name] == expected[name], name
    for name in ("untargeted_success", "control_untargeted_success", "differences"):
        assert value[name] == expected[name], name
    assert value["targeted_success"]["n"] > 5


def test_an_untargeted_patch_needs_no_more_than_patch_and_grey() -> None:
    metrics = PatchMetrics()
    labels = torch.tensor([0, 1, 2, 0])
    metrics.update(labels, patch=torch.tensor([0, 0, 0, 0]), grey=labels)
    metrics.update(labels, patch=torch.tensor([1, 1, 1, 1]), grey=torch.tensor([1, 1, 1, 1]))
    value = metrics.compute()
    assert value["untargeted_success"]["rate"] == pytest.approx(2 / 5) and value["untargeted_success"]["n"] == 5
    assert value["targeted_success"]["rate"] is None and "clean_accuracy" not in value
    metrics.reset()
    with pytest.raises(InputError, match="no views"):
        metrics.compute()


def test_several_processes_are_joined() -> None:
    def metrics(**options: object) -> PatchMetrics:
        made = PatchMetrics(target=1, **options)
        made.update(torch.tensor([0, 2, 0, 2]), patch=torch.tensor([1, 1, 0, 2]), grey=torch.tensor([0, 2, 0, 0]))
        return made

    twice = {"dist_sync_fn": lambda value, group=None: [value, value], "distributed_available_fn": lambda: True}
    alone, joined = metrics().compute(), metrics(**twice).compute()
    assert (alone["n"], joined["n"]) == (4, 8)
    assert joined["targeted_success"]["rate"] == alone["targeted_success"]["rate"] == pytest.approx(2 / 3)
    assert joined["controls"].keys() == {"grey"}


def test_scores_that_do_not_fit_are_refused() -> None:
    labels, metrics = torch.tensor([0, 1]), PatchMetrics()
    with pytest.raises(InputError, match="expected patch and grey"):
        metrics.update(labels, patch=labels)
    with pytest.raises(InputError, match="expected patch and grey"):
        metrics.update(labels, patch=labels, grey=labels, white=labels)
    with pytest.raises(InputError, match="for 2 labels"):
        metrics.update(labels, patch=torch.zeros(3, 2), grey=labels)
    metrics.update(labels, patch=labels, grey=labels)
    with pytest.raises(InputError, match="other sheets than before"):
        metrics.update(labels, patch=labels, grey=labels, clean=labels)


TWO, NAN = torch.tensor([0, 1]), float("nan")


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        (TWO.float(), {}, r"labels of PatchMetrics are torch\.float32 \(2,\); expected a tensor \(B,\) of integers"),
        (TWO.bool(), {}, r"labels of PatchMetrics are torch\.bool"),
        (TWO[:, None], {}, r"labels of PatchMetrics are torch\.int64 \(2, 1\)"),
        ([0, 1], {}, "labels of PatchMetrics are list"),
        (TWO[:0], {}, r"labels of PatchMetrics are torch\.int64 \(0,\)"),
        (TWO - 1, {}, "labels of PatchMetrics have -1 among them"),
        (TWO + 9, {}, "has the label 10, but scores of classes 0 to 3"),
        (TWO, {"units": TWO[:1]}, "got 1 units for 2 labels; expected one for each"),
        (TWO, {"units": TWO - 1}, "units of PatchMetrics have -1"),
        (TWO, {"units": TWO.float()}, r"units of PatchMetrics are torch\.float32"),
        (
            TWO,
            {"grey": TWO.float()},
            r"scores of grey are torch\.float32 \(B,\); expected scores \(B, K\), or the first class",
        ),
        (
            TWO,
            {"grey": torch.tensor([[0, 1.0, 2, 3], [0, NAN, 1, 2]])},
            r"scores of grey are not numbers \(NaN\) in row 1",
        ),
        (TWO, {"grey": [0, 1]}, "scores of grey are list"),
        (TWO, {"grey": TWO - 1}, "scores of grey name the class -1"),
        (TWO, {"grey": torch.rand(2, 5)}, r"different numbers of classes: {'patch': 4, 'grey': 5}"),
        (TWO, {"grey": torch.rand(2, 1)}, r"scores of grey have shape \(2, 1\)"),
        (TWO, {"grey": torch.tensor(1)}, r"scores of grey have shape \(\) for 2 labels"),
        (TWO, {"clean": TWO}, "other sheets than before"),
    ],
)
def test_what_is_refused_changes_nothing(labels, more, words) -> None:
    metrics = PatchMetrics(target=2)
    metrics.update(TWO, patch=torch.eye(4)[:2], grey=TWO)
    before = metrics.compute()
    given = {"patch": torch.eye(4)[:2], "grey": TWO} | more
    for add in (metrics.update, metrics):  # the second adds as update does, and computes
        with pytest.raises(InputError, match=words):
            add(labels, **given)
        assert [len(getattr(metrics, name)) for name in ("labels", "units", "patch", "grey", "clean")] == [
            1,
            1,
            1,
            1,
            0,
        ]
    assert metrics.compute() == before
    assert metrics(TWO, patch=TWO, grey=TWO)["n"] == 2 and metrics.compute()["n"] == 4


def test_a_target_by_name() -> None:
    assert PatchMetrics("blue thing", categories=CATEGORIES).target == 2 == PatchMetrics(np.int64(2)).target
    for target, categories, words in (
        ("blue thng", CATEGORIES, "unknown class 'blue thng'; did you mean 'blue thing'"),
        ("blue thing", None, "got the target 'blue thing'; give categories, too"),
        (4, CATEGORIES, "got the target 4, but has classes 0 to 3"),
        (-1, None, "got the target -1; expected the index of a class"),
        (True, None, "got the target True"),
        (1.0, None, "got the target 1.0"),
    ):
        with pytest.raises(InputError, match=words):
            PatchMetrics(target, categories=categories)
    with pytest.raises(InputError, match="has the target 7, but scores of classes 0 to 3"):
        PatchMetrics(7).update(TWO, patch=torch.eye(4)[:2], grey=TWO)


def test_a_refused_first_update_has_measured_nothing() -> None:
    metrics = PatchMetrics(target=2)
    for add in (metrics.update, metrics):
        with pytest.raises(InputError, match="expected patch and grey"):
            add(TWO, patch=TWO)
        assert not metrics.update_called and metrics.update_count == 0
        with pytest.warns(UserWarning, match="called before"), pytest.raises(InputError, match="no views; call update"):
            metrics.compute()
    metrics.update(TWO, patch=TWO, grey=TWO)
    assert metrics.update_called and metrics.update_count == 1 and metrics.compute()["n"] == 2
