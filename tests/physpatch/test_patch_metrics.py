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
    assert value["untargeted_success"] == expected["untargeted_success"]
    for control, kinds in value["differences"].items():
        assert kinds["targeted"] == expected["differences"][control]["targeted"]
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
