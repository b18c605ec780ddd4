"""Configs round-trip, and refuse what they do not know."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from calibration.common.errors import InputError
from calibration.common.files import write_json
from physpatch.records.config import SECTIONS, SETTINGS, PatchConfig, TrainConfig
from physpatch.records.eot_config import EotConfig


def test_a_config_survives_json() -> None:
    config = TrainConfig.of(grid=(5, 7), eot=EotConfig.none(), target="French horn", learning_rate=0.3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_files_are_anchored_and_names_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("blob", "signs", "w.pth", "labels", "b.pt2"):
        Path(name).touch()
    Path("samples").mkdir()
    Path("photos").mkdir()
    Path("a.onnx").symlink_to("blob")  # as the cache of the hub has it: the link has the suffix
    given = TrainConfig.of(
        model="a.onnx", ensemble=("signs", "b.pt2", "timm:x"), weights="w.pth", labels="labels", data="photos"
    )
    anchored = given.anchored()
    assert anchored.victim.model == str(tmp_path / "a.onnx")
    assert anchored.victim.ensemble == ("signs", str(tmp_path / "b.pt2"), "timm:x")
    assert (anchored.victim.weights, anchored.victim.labels) == (str(tmp_path / "w.pth"), str(tmp_path / "labels"))
    assert anchored.data.source == str(tmp_path / "photos") and anchored.anchored() == anchored
    named = TrainConfig.of(labels="imagenet")  # whose photographs are the samples, whatever lies here
    assert named.anchored() == named and named.data.source == "samples"


@pytest.mark.parametrize("key", [("stepz",), ("eot", "rotation")])
def test_unknown_keys_are_refused(key: tuple[str, ...]) -> None:
    value = TrainConfig().to_dict()
    (value["eot"] if len(key) == 2 else value)[key[-1]] = 1
    with pytest.raises(InputError, match=f"unknown key '{key[-1]}'"):
        TrainConfig.from_dict(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "expected a table of settings, got []"),
        ({"eot": 3}, "[eot]"),
        ({"eot": {"scale": 1}}, "[eot]"),
        ({"eot": {"gain": [0.8, 1, 1.2]}}, "[eot]: too many values to unpack"),
        ({"eot": {"gain": [0, 10**400]}}, "[eot]"),
        ({"eot": {"prints": [{}]}}, "[eot]: 'coefficients' is missing in a print"),
        ({"grid": 4}, "patch.grid: input should be a valid tuple, got 4"),
        ({"patch": {"area": "wide"}}, "patch.area: input should be a valid number"),
        ({"steps": 2.5}, "optimisation.steps: input should be a valid integer"),
        ({"victim": {"model": 3}}, "victim.model: input should be a valid string, got 3"),
        ({"data": 5}, "data.source: input should be a valid string"),
        ({"profile": 5}, "profile: expected the SHA-256 of a rig profile, got 5"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(value: Any, why: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"the settings of this run cannot be read ({why}")):
        TrainConfig.from_dict(value)


def test_settings_have_short_names_that_differ_from_each_other() -> None:
    assert len(SETTINGS) == sum(len(fields(section)) for section in SECTIONS.values())
    config = TrainConfig.of(object_share=0.3, objective="margin", seed=7)
    assert (config.object.share, config.objective.loss, config.setting("seed")) == (0.3, "margin", 7)
    with pytest.raises(InputError, match="unknown setting 'stepz'; did you mean 'steps'"):
        config.changed(stepz=3)


def test_flat_settings_of_earlier_versions_still_load() -> None:
    flat = {
        "model": "resnet50",
        "also": ["efficientnet_lite0"],
        "data": "photos",
        "object": None,
        "objective": "margin",
        "grid": [5, 5],
        "area": 0.1,
        "eot": EotConfig.none().to_dict(),
        "profile": None,
    }
    wanted = TrainConfig.of(
        model="resnet50",
        ensemble=("efficientnet_lite0",),
        data="photos",
        objective="margin",
        grid=(5, 5),
        area=0.1,
        cut="square",  # before there was another
        recognised=0.0,
        eot=EotConfig.none(),
    )
    assert TrainConfig.from_dict(flat) == wanted


def test_a_toml_file_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "stop.toml"
    file.write_text(
        'steps = 30\n[victim]\nmodel = "signs"\n[object]\nname = "stop"\nat = [0.5, 0.6]\n'
        '[eot]\npreset = "mild"\nblur_px = [0, 2.5]\n'
    )
    eot = EotConfig.preset("mild").changed(blur_px=(0, 2.5))
    assert TrainConfig.load(file) == TrainConfig.of(
        model="signs", object="stop", object_at=(0.5, 0.6), steps=30, eot=eot
    )
    file.write_text('[eot]\npreset = "none"\n')
    assert TrainConfig.load(file) == TrainConfig.of(eot=EotConfig.none())
    file.write_text('area = 0.3\n[object]\nname = "stop"\n')  # where a record from before sign_area means the sign's
    assert TrainConfig.load(file) == TrainConfig.of(area=0.3, object="stop")
    file.write_text("")
    assert TrainConfig.load(file) == TrainConfig()


def test_finer_cells_are_trained_at_smaller_sizes_unless_ranges_are_chosen(tmp_path: Path) -> None:
    desk, near = EotConfig.preset("desk"), EotConfig.preset("desk").changed(scale=(0.5, 1.2))
    assert TrainConfig.of(grid=(20, 20)).eot == TrainConfig.of(grid=(4, 32)).eot == near
    assert TrainConfig.of(grid=(10, 10)).eot == TrainConfig.of(grid=(20, 20), object="stop").eot == desk
    assert TrainConfig.of(grid=(20, 20), eot=desk).eot == desk
    file = tmp_path / "finer.toml"
    for ranges, wanted in (
        ("", near),
        ("[eot]\nblur_px = [0, 1]", near.changed(blur_px=(0, 1))),
        ('[eot]\npreset = "desk"', desk),
    ):
        file.write_text(f"grid = [20, 20]\n{ranges}\n")
        assert TrainConfig.load(file) == TrainConfig.of(grid=(20, 20), eot=wanted)


def test_a_run_gives_its_settings_back(tmp_path: Path) -> None:
    config = TrainConfig.of(object="stop", eot=EotConfig.preset("outdoor"), seed=3)
    write_json(tmp_path / "run.json", {"config": config.to_dict(), "status": "finished"})
    write_json(tmp_path / "config.json", config.to_dict())
    assert TrainConfig.load(tmp_path / "run.json") == TrainConfig.load(tmp_path / "config.json") == config


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[victim", "a.toml is not valid TOML"),
        ("a.toml", "[victim]\nmodle = 'x'", r"a.toml: unknown setting in \[victim\] 'modle'; did you mean 'model'"),
        ("a.toml", "stpes = 100", "a.toml: unknown setting 'stpes'; did you mean 'steps'"),
        ("a.toml", "[optimization]\nsteps = 1", "a.toml: unknown setting 'optimization'; did you mean 'optimisation'"),
        ("a.toml", "[optimisation]\nsteps = 0", "a.toml: steps must be at least 1, got 0"),
        ("a.toml", "eot = 3", "eot must be a table"),
        ("a.toml", "[eot]\npreset = 'deck'", "unknown EOT preset 'deck'; did you mean 'desk'"),
        ("a.toml", "[eot]\nblur = [0, 1]", "a.toml: unknown EOT range 'blur'; did you mean 'blur_px'"),
        ("a.json", "{", "a.json is not valid JSON"),
        ("a.json", "[1]", "a.json: the settings of this run cannot be read"),
        ("a.json", '{"physpatch_patch": 1}', "a.json: unknown key 'physpatch_patch'"),
    ],
)
def test_a_file_of_settings_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        TrainConfig.load(tmp_path / name)
    with pytest.raises(InputError, match="no file"):
        TrainConfig.load(tmp_path / "other.toml")


@pytest.mark.parametrize(("recorded", "read"), [(None, ()), ("lite1", ("lite1",)), (["a", "b"], ("a", "b"))])
def test_records_from_before_several_networks_could_imitate_are_read(recorded: object, read: tuple[str, ...]) -> None:
    value = TrainConfig().to_dict()
    value["optimisation"]["imitate"] = recorded
    assert TrainConfig.from_dict(json.loads(json.dumps(value))).optimisation.imitate == read


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("area", 0.0, "area 0.0 out of range"),
        ("area", 1.5, "area 1.5 out of range"),
        ("steps", 0, "steps must be at least 1"),
        ("batch", -3, "batch must be at least 1"),
        ("limit", 0, "limit must be at least 1"),
        ("held_out", 1.0, "held_out 1.0 out of range"),
        ("learning_rate", 0.0, "learning rate must be positive"),
        ("learning_rate", float("nan"), "learning rate must be positive"),
        ("seed", -1, "seed -1 out of range"),
        ("seed", 2**31, "expected 0 to 2147483647"),
        ("object_at", (50.0, 0.5), "is too far from the object"),
        ("object_at", (float("nan"), 0.5), "is too far from the object"),
        ("grid", (0, 5), "grid 0x5 is not usable"),
    ],
)
def test_senseless_values_are_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainConfig().changed(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("rotation_deg", (10, -10), "is 10 to -10; expected two numbers in ascending order"),
        ("scale", (0, 1), "scale 0 to 1 out of range; expected 0.02 to 10"),
        ("noise", (-0.1, 0), "noise -0.1 to 0 out of range"),
    ],
)
def test_senseless_ranges_are_refused(field: str, value: tuple[float, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        EotConfig(**{field: value})


def test_area_of_a_run_on_a_drawn_sign_was_the_signs() -> None:
    """Before the patch's and the sign's area had names of their own."""
    before = {"object": "stop", "object_from": "auto", "area": 0.12}
    config = TrainConfig.from_dict(before)
    assert (config.object.sign_area, config.patch.area) == (0.12, PatchConfig.area)
    assert TrainConfig.from_dict({"object": None, "area": 0.3}).patch.area == 0.3
    again = TrainConfig.of(object="stop", sign_area=0.2)
    assert TrainConfig.from_dict(again.to_dict()) == again
    with pytest.raises(InputError, match=r"sign_area 2\.0 out of range"):
        TrainConfig.of(sign_area=2.0)
