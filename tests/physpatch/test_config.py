"""Configs round-trip, and refuse what they do not know."""

import json
from dataclasses import replace

import pytest

from calibration.common.errors import InputError
from physpatch.records.config import EotConfig, TrainConfig


def test_a_config_survives_json() -> None:
    config = TrainConfig(grid=(5, 7), eot=EotConfig.none(), target="French horn", learning_rate=0.3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("key", [("stepz",), ("eot", "rotation")])
def test_unknown_keys_are_refused(key: tuple[str, ...]) -> None:
    value = TrainConfig().to_dict()
    (value["eot"] if len(key) == 2 else value)[key[-1]] = 1
    with pytest.raises(InputError, match=f"unknown key '{key[-1]}'"):
        TrainConfig.from_dict(value)


@pytest.mark.parametrize("value", [[], {"eot": 3}, {"grid": 4}, {"area": "wide"}, {"eot": {"scale": 1}}])
def test_values_of_the_wrong_kind_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="the settings of this run cannot be read"):
        TrainConfig.from_dict(value)  # type: ignore[arg-type]


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
        ("seed", -1, "seed must not be negative"),
        ("grid", (0, 5), "grid 0x5 is not usable"),
    ],
)
def test_senseless_values_are_refused(field: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(TrainConfig(), **{field: value})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("rotation_deg", (10, -10), "runs from 10 to -10; expected two rising numbers"),
        ("scale", (0, 1), "scale 0 to 1 out of range; expected 0.05 to 10"),
        ("noise", (-0.1, 0), "noise -0.1 to 0 out of range"),
    ],
)
def test_senseless_ranges_are_refused(field: str, value: tuple[float, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        EotConfig(**{field: value})


def test_area_of_a_run_on_a_drawn_sign_was_the_signs() -> None:
    """Before the patch's and the sign's area had names of their own."""
    before = TrainConfig(object="stop").to_dict() | {"area": 0.12}
    del before["sign_area"]
    config = TrainConfig.from_dict(before)
    assert (config.sign_area, config.area) == (0.12, TrainConfig.area)
    alone = TrainConfig().to_dict() | {"area": 0.3}
    del alone["sign_area"]
    assert TrainConfig.from_dict(alone).area == 0.3
    again = TrainConfig(object="stop", sign_area=0.2)
    assert TrainConfig.from_dict(again.to_dict()) == again
    with pytest.raises(InputError, match=r"sign_area 2\.0 out of range"):
        TrainConfig(sign_area=2.0)
