"""A model is checked before anything is measured with it: what works, and which mistake is likely."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import CATEGORIES, HELPERS

from physpatch.evaluation.model_check.accuracy import affordable

OWN_MODELS = """
import torch
from torch import nn
from dataclasses import replace
from model_files import AllBoxes
from support import CATEGORIES, DETECTED, ColourNet
from physpatch.victims.families.base import FoundNetwork
from physpatch.victims.preprocessing import Adaptation
from physpatch.victims.protocol import WeightsInfo
from physpatch import Victim
from physpatch.victims.networks.outputs import Predictions


class Changed(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.inner, self.change = ColourNet(), change

    def forward(self, images):
        return self.change(self.inner(images))


def wrap(network, **more):
    settings = {"mean": (0, 0, 0), "std": (1, 1, 1)} | more
    return Victim.wrap(network, categories=CATEGORIES, size=32, **settings)


def squares(**more):
    found = FoundNetwork(AllBoxes()).victim("boxes", WeightsInfo("here", "0" * 64), Adaptation(size=96))
    return replace(found, categories=DETECTED, preprocessing=replace(found.preprocessing, **more))


def finds(): return squares()
def dark(): return squares(std=(255.0,) * 3)
def elsewhere():
    class Shifted(AllBoxes):
        def forward(self, images):
            return super().forward(images) + torch.tensor([60.0, 60, 0, 0, 0, 0])[:, None]
    found = FoundNetwork(Shifted()).victim("boxes", WeightsInfo("here", "0" * 64), Adaptation(size=96))
    return replace(found, categories=DETECTED)
def sound(): return wrap(ColourNet())
def swapped(): return wrap(ColourNet(), bgr=True)
def scaled(): return wrap(ColourNet(), std=(1000.0, 1000.0, 1000.0), mean=(0.5, 0.5, 0.5))
def noisy(): return wrap(Changed(lambda x: x + torch.rand_like(x)))
def neighbours(): return wrap(Changed(lambda x: x - x.mean(dim=0, keepdim=True)))
def flat(): return wrap(Changed(lambda x: x.detach() + 0 * x))
def detached(): return wrap(Changed(lambda x: x.detach()))
def whole(): return wrap(Changed(lambda x: (1000 * x).long()))
def nowhere(): return wrap(Changed(lambda x: x * float("nan")))
def constant(): return wrap(Changed(lambda x: 0 * x + torch.arange(4.0)))
def predict(images): return ColourNet().eval()(torch.from_numpy(images)).detach().numpy()
def blind(): return wrap(Predictions(predict), differentiable=False)
def unsure(): return replace(sound(), threshold=0.99999)
def twins(): return replace(sound(), categories=("red thing", "green thing", "blue thing", "red thing"))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photographs and models of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(HELPERS)])
    Path("checked_models.py").write_text(OWN_MODELS)
    rng = np.random.default_rng(0)
    for i in range(30):
        picture = rng.integers(0, 90, (40, 40, 3), dtype=np.uint8)
        picture[..., i % 3] += 150
        Path(f"data/{CATEGORIES[i % 3]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(f"data/{CATEGORIES[i % 3]}/{i}.png")
    return tmp_path


def findings(folder: Path) -> dict[str, dict]:
    return {finding["what"]: finding for finding in json.loads((folder / "found.json").read_text())["findings"]}


def test_a_sound_model_passes_with_numbers(command, folder: Path) -> None:
    done = command("models", "--check", "checked_models:sound", "--data", "data", "--json", "found.json")
    assert done.code == 0, done.err
    found = findings(folder)
    assert {f["outcome"] for f in found.values()} <= {"works", "note"}
    assert found["clean accuracy"]["numbers"]["clean_accuracy"]["rate"] == 1.0
    assert found["gradient"]["numbers"] == {"finite": True, "nonzero": True}
    assert found["time"]["numbers"]["forward_and_backward_ms"] > 0 and found["memory"]["numbers"]["weights_bytes"] > 0
    assert found["heat"]["numbers"]["layer"] == "norm" and "conv" in found["heat"]["numbers"]["deletion_gap"]
    assert "determinism" in done.out and "bit for bit" in done.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swapped", "preprocessing: likely wrong: RGB in place of BGR gives"),
        ("noisy", "determinism: confidences differ by up to"),
        ("neighbours", "batch invariance: confidences differ by up to"),
        ("flat", "gradient: zero"),
        ("detached", "gradient: none: predictions only, without gradients, because no gradient reaches the image"),
        ("whole", "gradient: none: predictions only, without gradients, because no gradient reaches the image"),
        ("constant", "which may be chance"),
        ("nowhere", "gradient: not finite"),
    ],
)
def test_a_model_that_cannot_be_trusted_says_why(name: str, words: str, command) -> None:
    command("models", "--check", f"checked_models:{name}", "--data", "data").assert_refused(
        "cannot be trusted yet", words
    )


def test_a_random_answer_is_not_blamed_on_the_neighbours(command, folder: Path) -> None:
    command("models", "--check", "checked_models:noisy", "--data", "data", "--json", "found.json")
    found = findings(folder)
    assert [found[what]["outcome"] for what in ("determinism", "batch invariance")] == ["fails", "note"]
    assert "another answer each time" in found["batch invariance"]["words"]


def test_a_training_without_gradients_is_refused_before_a_target_is_chosen(command) -> None:
    for name in ("detached", "whole"):
        done = command("train", "--model", f"checked_models:{name}", "--data", "data", "--target", "auto")
        done.assert_refused("gives predictions only", "use --technique")
        assert "target auto" not in done.err and not Path("runs").exists()


def test_numbers_that_are_none_are_null_in_json(command, folder: Path) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    for target in ("found.json", "-"):
        done = command("models", "--check", "checked_models:nowhere", "--data", "data", "--json", target)
        done.assert_refused("determinism: its scores are not finite")
        text = done.out if target == "-" else (folder / target).read_text()
        found = {f["what"]: f for f in json.loads(text, parse_constant=refuse)["findings"]}
        assert found["determinism"]["numbers"] == {"difference": None}
        assert "its heat is not finite" in found["heat"]["words"]


def test_predictions_only_and_no_labels_are_notes(command, folder: Path) -> None:
    done = command("models", "--check", "checked_models:blind", "--json", "found.json")  # ImageNet's photographs
    assert done.code == 0, done.err
    found = findings(folder)
    assert [found[what]["outcome"] for what in ("clean accuracy", "gradient", "heat")] == ["note"] * 3
    assert "--technique black-box" in found["gradient"]["words"] and "--technique black-box" in done.err
    assert found["memory"]["numbers"]["weights_bytes"] is None  # they are not torch's


def test_what_there_is_time_for() -> None:
    assert affordable(10, 0.01, 24, 200) == 200 and affordable(10, 0.1, 24, 200) == 100
    assert affordable(10, 9.0, 24, 200) == 24 and affordable(10, 9.0, 24, 7) == 7 and affordable(10, 0, 24, 200) == 200


def test_a_slow_model_is_tried_on_fewer_photographs_and_says_so(
    command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("accuracy", "heat"):
        monkeypatch.setattr(f"physpatch.evaluation.model_check.{module}._BUDGET_S", 0.0)
    done = command("models", "--check", "checked_models:sound", "--data", "data", "--json", "found.json")
    assert done.code == 0, done.err
    found = findings(folder)
    assert found["clean accuracy"]["numbers"]["clean_accuracy"]["n"] == 24
    assert ", of 30, because the model is slow" in found["clean accuracy"]["words"]
    assert (
        found["preprocessing"]["numbers"]["tried_on"] == 12
        and ", on 12 photographs)" in found["preprocessing"]["words"]
    )
    assert len(found["preprocessing"]["numbers"]["tried"]) == 5
    assert found["heat"]["numbers"]["n"] == 3 and "on 3 photographs" in found["heat"]["words"]
    done = command("models", "--check", "checked_models:swapped", "--data", "data", "--json", "found.json")
    done.assert_refused("preprocessing: likely wrong: RGB in place of BGR gives", "n = 24")


def test_photographs_are_loaded_once_for_all_that_differ_in_colours_only(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    from physpatch.evaluation.model_check import accuracy

    load = accuracy.load_photos
    monkeypatch.setattr(accuracy, "load_photos", lambda *given: (loads.append(len(given[0])), load(*given))[1])
    assert command("models", "--check", "checked_models:sound", "--data", "data").code == 0
    assert loads == [30, 30]  # as it is, and with a central crop


def test_a_threshold_that_no_photograph_reaches_is_told_from_a_wrong_preprocessing(command, folder: Path) -> None:
    done = command("models", "--check", "checked_models:unsure", "--data", "data", "--json", "found.json")
    done.assert_refused("check labels, preprocessing and threshold", "100.0 % without the threshold")
    found = findings(folder)
    assert found["preprocessing"]["outcome"] == "works"  # the right one, although others reach the threshold
    assert "from 99.999 % confidence" in found["threshold"]["words"]


def test_photographs_that_are_listed_twice_make_no_model_slow(command, folder: Path) -> None:
    Path("list.csv").write_text("file,label\n" + "data/red thing/0.png,red thing\n" * 2 + "data/green thing/1.png,1\n")
    assert command("models", "--check", "checked_models:sound", "--data", "list.csv", "--json", "found.json").code == 0
    assert "slow" not in findings(folder)["clean accuracy"]["words"]


def test_names_of_several_classes_are_told(command, folder: Path) -> None:
    command("models", "--check", "checked_models:twins", "--data", "data/blue thing", "--json", "found.json")
    found = findings(folder)["classes"]
    assert (
        "several classes have the same name: red thing" in found["words"] and found["numbers"]["names_of_several"] == 1
    )


def test_the_next_command_has_the_options_of_the_check(command) -> None:
    Path("names.txt").write_text("\n".join(CATEGORIES))
    options = ("--data", "data", "--labels", "names.txt")
    done = command("models", "--check", "checked_models:sound", *options)
    assert "Next: physpatch train --eot --model checked_models:sound --data data --labels names.txt" in done.err
    for option in ("--data", "--labels"):
        command("models", option, "x").assert_refused(f"{option} is for a check of a model; name it by --check NAME")


def test_the_next_command_takes_the_most_faithful_layer(command, monkeypatch) -> None:
    gaps = {"norm": [0.1, 0.2, 0.1], "conv": [0.3, 0.4, 0.3]}
    monkeypatch.setattr("physpatch.evaluation.model_check.heat._faithfulness", lambda *_: gaps)
    done = command("models", "--check", "checked_models:sound", "--data", "data", "--json", "found.json")
    assert done.err.rstrip().endswith("--data data --cam-layer conv")
    assert findings(Path())["heat"]["numbers"]["most_faithful"] == "conv"
    done = command("models", "--check", "checked_models:sound", "--data", "data", "--cam-layer", "norm")
    assert done.err.rstrip().endswith("--cam-layer norm")


def test_what_cannot_be_loaded_is_refused(command) -> None:
    command("models", "--check", "gone.onnx").assert_refused("no model file gone.onnx")
    command("models", "--check", "checked_models:sound", "--data", "gone").assert_refused("no data folder")


@pytest.mark.parametrize("how", ["boxes", "classes"])
def test_a_detector_that_finds_nothing_where_objects_are_fails(how: str, command, folder: Path) -> None:
    """YOLO's labels beside the photographs, or folders named after a class."""
    place = Path("signs") if how == "boxes" else Path("signs/stop")
    place.mkdir(parents=True)
    for i in range(4):
        picture = np.full((96, 96, 3), 128, np.uint8)
        picture[24:48, 32:56] = (200, 60, 60)
        Image.fromarray(picture).save(place / f"{i}.png")
        if how == "boxes":
            (place / f"{i}.txt").write_text("0 0.458 0.375 0.25 0.25\n")
    done = command("models", "--check", "checked_models:finds", "--data", "signs", "--json", "found.json")
    assert done.code == 0, done.err
    assert "in 4 photographs with objects" in findings(folder)["boxes"]["words"]
    if how == "boxes":
        numbers = findings(folder)["boxes"]["numbers"]
        assert (numbers["objects"], numbers["objects_found"], numbers["n"]) == (4, 4, 4)
        refused = command("models", "--check", "checked_models:elsewhere", "--data", "signs")
        refused.assert_refused("on 0 of 4 labelled objects (IoU 0.5 or more): check preprocessing, labels")
    refused = command("models", "--check", "checked_models:dark", "--data", "signs")
    refused.assert_refused(
        "cannot be trusted yet",
        "boxes: no box on 4 photographs with objects",
        "it finds some with",
        "pixels from 0 to 1",
    )


def test_a_detector_on_photographs_without_labels_is_not_judged(command, folder: Path) -> None:
    done = command("models", "--check", "checked_models:dark", "--data", "data", "--json", "found.json")
    assert findings(folder)["boxes"]["outcome"] == "note" and "boxes:" not in done.err
