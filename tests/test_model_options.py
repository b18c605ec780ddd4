"""What a model needs to be told can be told to every command that loads one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import HORN

from calibration.common.errors import InputError
from captures.session import session_setup
from captures.session.session_setup import session_models
from physpatch.records.config import TrainConfig
from physpatch.victims.protocol import Victim
from physpatch.victims.registry import load_victim


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", HORN, "--model", "efficientnet_lite0"),
        ("evaluate", HORN),
        ("bench", "--model", "efficientnet_lite0", "--out", "bench"),
        ("live", HORN, "--source", "virtual", "--headless", "--classifier", "efficientnet_lite0"),
    ],
    ids=["evaluate", "its own", "bench", "live"],
)
def test_the_layer_for_heat_can_be_chosen_wherever_heat_is_made(words, command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command(*words, "--cam-layer", "no_layer").assert_refused("unknown layer 'no_layer'")


def test_a_bench_takes_what_its_model_needs_to_be_told(command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("cat\ndog\n")
    command("bench", "--labels", "names.txt").assert_refused("names 2 classes, but the model has 1000")
    command("bench", "--threshold", "1.5").assert_refused("1.5")
    two = ("bench", "--model", "efficientnet_lite0", "--model", "efficientnet_lite1")
    command(*two, "--labels", "names.txt").assert_refused("--labels needs exactly one --model")
    command(*two, "--cam-layer", "head").assert_refused("--cam-layer needs exactly one --model")
    asked: list[dict] = []

    def load(_name: str, **options: object) -> None:
        asked.append(options)
        raise InputError("seen")

    monkeypatch.setattr("physpatch.benchmark.runner.load_victim", load)
    command("bench", "--threshold", "0.4", "--trust-weights").assert_refused("seen")
    assert asked[0]["threshold"] == 0.4 and asked[0]["trust"] is True


def test_a_classifier_and_a_detector_of_one_name_are_told_apart(monkeypatch) -> None:
    made = {name: load_victim(name) for name in ("efficientnet_lite0", "signs")}
    made = {name: replace(victim, name="best") for name, victim in made.items()}
    monkeypatch.setattr(session_setup, "load_victim", lambda name, **_: made[name])
    monkeypatch.setattr(session_setup, "load_detector", lambda name, **_: made[name])
    given = dict.fromkeys(("weights", "labels", "threshold", "cam_layer"))
    shared = {**given, "device": "cpu", "trust": False, "say": lambda _: None}
    models = session_models(None, classifier="efficientnet_lite0", detector="signs", **shared)
    assert [model.name for model in models] == ["best", "best-2"]


def test_the_layer_of_a_runs_own_classifier_in_a_session() -> None:
    config = TrainConfig.of(model="efficientnet_lite0")
    rest = dict.fromkeys(("classifier", "weights", "labels", "detector", "threshold"))
    shared = {**rest, "device": "cpu", "trust": False, "say": lambda _: None}
    usual, _ = session_models(config, **shared, cam_layer=None)
    names = {layer: name for name, layer in usual.module.named_modules()}
    earlier = next(name for name, layer in usual.module.named_modules() if isinstance(layer, torch.nn.Conv2d))
    chosen, _ = session_models(config, **shared, cam_layer=earlier)
    assert names[usual.cam_layer] != earlier
    assert {layer: name for name, layer in chosen.module.named_modules()}[chosen.cam_layer] == earlier


def test_the_weights_of_a_runs_classifier_can_be_replaced_when_they_are_gone(monkeypatch) -> None:
    def load(name: str, weights: str, **_: object) -> Victim:
        if weights == "gone.pt":
            raise InputError("no weights file gone.pt")
        return replace(own, remark=weights)

    own = load_victim("efficientnet_lite0")
    monkeypatch.setattr(session_setup, "load_victim", load)
    config = TrainConfig.of(model="efficientnet_lite0", weights="gone.pt")
    rest = dict.fromkeys(("classifier", "labels", "detector", "threshold", "cam_layer"))
    shared = {**rest, "device": "cpu", "trust": False, "say": lambda _: None}
    with pytest.raises(InputError, match=r"gone\.pt"):
        session_models(config, **shared, weights=None)
    victim, _ = session_models(config, **shared, weights="new.pt")
    assert victim.remark == "new.pt"


def test_the_own_detector_of_a_run_is_loaded_as_in_training_beside_a_classifier(monkeypatch, tmp_path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("stop\nyield\n")
    config = TrainConfig.of(model="signs", labels=str(names), threshold=0.4)
    asked: dict[str, dict] = {}

    def load(name: str, **options: object) -> Victim:
        asked[name] = options
        return made[name]

    made = {name: load_victim(name) for name in ("efficientnet_lite0", "signs")}
    monkeypatch.setattr(session_setup, "load_victim", load)
    monkeypatch.setattr(session_setup, "load_detector", load)
    given = dict.fromkeys(("weights", "labels", "cam_layer")) | {"device": "cpu", "trust": False, "say": lambda _: None}
    beside = {"classifier": "efficientnet_lite0", "detector": "signs"}
    session_models(config, **beside, **given, threshold=None)
    assert (asked["signs"]["labels"], asked["signs"]["threshold"]) == (str(names), 0.4)
    session_models(config, **beside, **given, threshold=0.6)
    assert asked["signs"]["threshold"] == 0.6
    session_models(TrainConfig.of(model="efficientnet_lite0", labels=str(names)), **beside, **given, threshold=None)
    assert asked["signs"].get("labels") is None
