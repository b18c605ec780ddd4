"""Plans: read strictly, shuffled by seed, led through step by step."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from calibration.common.errors import InputError
from captures.protocol.plan import EVERYWHERE, Director, PoseGrid, Protocol

PLAN = """
conditions = ["patch", "grey"]
distances_m = [0.5, 1.0]
yaws_deg = [-30, 0, 30]
lights = ["day", "lamp"]
repeats = 2
seconds = 1
seed = 3
"""


def pose(distance_m: float, yaw_deg: float | None, tilt_deg: float = 0.0):
    return SimpleNamespace(distance_m=distance_m, yaw_deg=yaw_deg, axis_tilt_deg=tilt_deg)


@pytest.fixture
def protocol(tmp_path: Path) -> Protocol:
    (tmp_path / "plan.toml").write_text(PLAN)
    return Protocol.load(tmp_path / "plan.toml")


def test_every_combination_comes_once_a_repeat_in_an_order_drawn_by_seed(protocol: Protocol) -> None:
    steps = protocol.steps()
    assert [step.number for step in steps] == list(range(1, 49))
    assert set(Counter((s.condition, s.distance_m, s.yaw_deg, s.light) for s in steps).values()) == {2}
    assert [s.light for s in steps] == [steps[0].light] * 24 + [steps[24].light] * 24  # the light changes once
    assert [s.repeat for s in steps[:24]] == [1] * 12 + [2] * 12
    assert steps == protocol.steps() != replace(protocol, seed=4).steps()
    assert len({s.condition for s in steps[:6]}) == 2  # not sheet by sheet


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('conditions = ["patch", "gray"]', "unknown condition 'gray'; did you mean 'grey'"),
        ("conditions = [{a = 1}]", "expected a list of different sheets"),
        ("yaws_deg = [{a = 1}]", "expected a list of different angles"),
        ("distances_m = []", "distances_m = \\[\\]; expected a list of different distances"),
        ("distances_m = [-1]", "expected a list of different distances between 0.05 and 100"),
        ("distances_m = 1.0", "expected a list of different distances"),
        ("yaws_deg = [0, 0]", "expected a list of different angles"),
        ("yaws_deg = [true]", "expected a list of different angles"),
        ("repeats = 1.5", "repeats = 1.5; expected a whole number"),
        ("repeats = 100", "2400 steps are too many; expected at most 2000"),
        ("seconds = 0", "seconds = 0; expected"),
        ("lights = [1]", "lights = \\[1\\]; expected a list of different names"),
        ("light = 3", "unknown entry of .*'light'; did you mean 'lights'"),
        ("conditions = [", "is not valid TOML"),
    ],
)
def test_plans_are_read_strictly(change: str, words: str, tmp_path: Path) -> None:
    name = change.split(" ")[0]
    lines = [line for line in PLAN.strip().splitlines() if not line.startswith(f"{name} ")]
    (tmp_path / "plan.toml").write_text("\n".join([*lines, change]))
    with pytest.raises(InputError, match=words):
        Protocol.load(tmp_path / "plan.toml")


def test_a_plan_that_is_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*plan\.toml; docs/howto/film\.md has an example"):
        Protocol.load(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_text('conditions = ["patch"]')
    with pytest.raises(InputError, match="lacks distances_m, yaws_deg"):
        Protocol.load(tmp_path / "plan.toml")


def test_poses_are_sorted_into_cells() -> None:
    grid = PoseGrid((0.5, 1.0), (-30, 0, 30), 0.15, 10)
    assert grid.cell(0.55, -25) == (0, 0) and grid.cell(0.9, 8) == (1, 1)
    assert grid.cell(0.7, 0) is None and grid.cell(1.0, 15) is None
    assert grid.cell(None, 0) is None and grid.cell(1.0, None) is None
    for distance in (0.2, 0.3, 0.5, 0.77, 1.2, 2.0, 3.1, 4.5):  # without a plan nothing falls between two cells
        assert EVERYWHERE.cell(distance, 29.0) is not None


def test_the_director_leads_corrects_and_moves_on() -> None:
    director = Director(Protocol(("patch", "grey"), (1.0,), (0,), seconds=0.5))
    first, second = (step.condition for step in director.steps)
    assert director.hint("none", None) == f"show the {first} sheet"
    assert director.hint(second, pose(1, 0)) == f"this is the {second} sheet; show the {first} sheet"
    assert director.hint(first, pose(1.5, 0)) == "0.50 m closer"
    assert director.hint(first, pose(0.7, 0)) == "0.30 m farther away"
    assert director.hint(first, pose(1, 25)) == "turn the left edge 25 deg nearer"
    assert director.hint(first, pose(1, -25)) == "turn the right edge 25 deg nearer"
    assert "is not clear" in director.hint(first, pose(1, None, tilt_deg=20))
    assert director.hint(first, pose(1, None, tilt_deg=6)) == ""
    assert director.look(first, pose(1, 0), 10.0) == 1
    assert director.look(second, pose(1, 0), 10.1) is None
    assert [director.look(first, pose(1, 0), at) for at in (10.2, 10.4)] == [1, 1]
    assert director.held == pytest.approx(0.4)  # the frames before the interruption held nothing between them
    assert director.look(first, pose(1, 0), 30.0) == 1 and director.held == pytest.approx(0.4)  # a gap is no holding
    assert director.look(first, pose(1, 0), 30.4) == 1
    assert director.step is not None and director.step.condition == second and director.done == {1}
    assert director.filled()[first] == {(0, 0): (1, 1)} and director.filled()[second] == {(0, 0): (0, 1)}
    slow = Director(Protocol(("patch",), (1.0,), (0,), seconds=3))
    assert [slow.look("patch", pose(1, 0), 1.2 * i) for i in range(4)] == [1] * 4  # a frame each 1.2 seconds
    assert slow.done == {1}
    director.back()
    assert director.done == set() and director.step.condition == first
    director.skip()
    director.skip()
    assert director.step is None and director.skipped == {1, 2} and director.look(first, pose(1, 0), 50) is None
    assert director.hint(first, None) == "all steps are done"


def test_a_change_of_light_waits_for_the_person() -> None:
    director = Director(Protocol(("patch",), (1.0,), (0,), lights=("day", "lamp"), seconds=0.1))
    before, after = (step.light for step in director.steps)
    assert director.light == before and not director.waits_for_light
    director.look("patch", pose(1, 0), 0.0)
    director.look("patch", pose(1, 0), 0.2)
    assert director.waits_for_light and director.light == before
    assert director.hint("patch", pose(1, 0)) == f"change the light to {after}, then confirm"
    assert director.look("patch", pose(1, 0), 0.4) is None
    director.confirm()
    assert director.light == after and director.look("patch", pose(1, 0), 0.6) == 2
