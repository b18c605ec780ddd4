"""What the session benchmarks plant and count."""

import numpy as np
import pytest
from paper_frontier import Point, along, wanted
from planted_rig import CAUSES, planted, shaken, sharpened
from rendered_causes import EFFECTS as RENDERED_CAUSES
from rendered_causes import RenderedBench
from rendered_causes import judged as judged_rendered
from rendered_causes import summary as rendered_summary
from session_gain import ARMS, BEFORE, NULL, _arm

from captures.gap.decomposition import UnmeasurableError
from captures.gap.session_eot import PARTS
from captures.results.verdict import REAL, WAY
from captures.sources.rendered.camera.effects import EFFECTS, camera_effects
from physpatch.records.patch_file import parse_grid


def test_every_arm_is_compared_with_the_null_by_clip() -> None:
    rates = {
        BEFORE: {(3, clip): 0.0 for clip in range(8)} | {(4, clip): 0.5 for clip in range(8)},
        NULL: {(3, clip): 0.25 for clip in range(8)} | {(4, clip): 0.5 for clip in range(8)},
        "all": {(3, clip): 1.0 for clip in range(8)} | {(4, clip): 0.5 for clip in range(7)},
    }
    arm = _arm(rates, "all", [3, 4])
    assert arm["gain"]["n"] == 15 and arm["gain"]["difference"] == pytest.approx(8 / 15)
    assert arm["gain_over_null"]["by_seed"][3]["difference"] == 0.75
    assert arm["gain_over_null"]["over_seeds"]["mean"] == pytest.approx(0.375)
    assert "gain_over_null" not in _arm(rates, NULL, [3, 4])
    assert {NULL: (), **{part: (part,) for part in PARTS}, "all": PARTS} == ARMS


def test_only_the_planted_cause_differs_from_a_faithful_rig() -> None:
    faithful = planted("nothing", 0.0, 1)
    for cause in CAUSES:
        truth = planted(cause, CAUSES[cause].strength[1], 1)
        changed = {name for name in vars(truth) if not np.array_equal(getattr(truth, name), getattr(faithful, name))}
        assert changed == {"colour": {"printing", "sensor"}, "blur": {"blur_px"}}.get(cause, set())


def test_sharpening_overshoots_at_an_edge_and_a_rolling_shutter_bends_it() -> None:
    frame = np.full((64, 64, 3), 60, dtype=np.uint8)
    frame[:, 32:] = 180
    crisp = sharpened(frame, 2.0)
    assert crisp[:, 31].mean() < 40 and crisp[:, 32].mean() > 200 and abs(int(crisp[32, 5, 0]) - 60) < 3
    layer = np.tile((np.arange(64) >= 32).astype(float)[None, :, None], (64, 1, 2))
    edges = (shaken(layer, 4.0, 2.0, 0.0)[..., 0] > 0.5).argmax(axis=1)
    assert edges.max() - edges.min() == 8 and edges.mean() == pytest.approx(32, abs=0.5)


def test_every_effect_of_a_rendered_camera_is_planted_with_settings_that_it_has() -> None:
    assert set(RENDERED_CAUSES) == {"nothing", *EFFECTS}
    for name, planted_effect in RENDERED_CAUSES.items():
        assert set(planted_effect.names) <= {step.name for step in WAY}
        if name != "nothing":
            weak, strong = (camera_effects({name: planted_effect.settings(share)})[name] for share in (0.0, 1.0))
            assert weak != strong or name == "mosaic"
            assert strong != EFFECTS[name]()


def rendered_case(planted_effect: str, lost_at: str, captured: float) -> dict[str, object]:
    """Thirty clips in which everything is lost at one step."""
    rates, steps = 0.9, []
    for step in WAY:
        loss = None
        if step.name != "trained":
            lost = 0.9 - captured if step.name == lost_at else 0.0
            rates -= lost
            loss = {"difference": lost, "ci95": [lost - 0.1, lost + 0.1], "n": 30}
        rate = {"rate": rates, "ci95": [rates - 0.1, rates + 0.1], "n": 30}
        steps.append({"name": step.name, "shown": step.shown, "rate": rate, "loss": loss})
    total = {"difference": 0.9 - captured, "ci95": [0.8 - captured, 1.0 - captured], "n": 30}
    gap = {"digital": None, "steps": steps, "total": total, "measure": "target"}
    return {"planted": planted_effect, "strength": 0.5, "seed": 1, "gap": gap}


@pytest.mark.parametrize(
    ("planted_effect", "lost_at", "captured", "right", "false_alarm"),
    [
        ("h264", REAL, 0.3, True, False),
        ("h264", "blurred", 0.3, True, False),
        ("h264", "coloured", 0.3, False, True),
        ("tone", "coloured", 0.3, True, False),
        ("rolling_shutter", REAL, 0.88, True, False),  # costs nothing, and nothing is named
        ("nothing", "posed", 0.3, False, True),
        ("nothing", REAL, 0.89, True, False),
    ],
)
def test_an_effect_is_right_where_a_fair_step_is_named(
    planted_effect: str, lost_at: str, captured: float, right: bool, false_alarm: bool
) -> None:
    null = rendered_case("nothing", REAL, 0.89)
    answer = judged_rendered(rendered_case(planted_effect, lost_at, captured), null)
    assert (answer["right"], answer["false_alarm"]) == (right, false_alarm), answer
    assert answer["cost"] == pytest.approx(0.89 - captured, abs=1e-3)


def test_a_rendered_case_that_cannot_be_measured_is_listed_and_counts_in_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = object.__new__(RenderedBench)
    bench._seed = 0
    null = rendered_case("nothing", "none", 0.89)

    def case(self: RenderedBench, cause: str, number: int) -> dict[str, object]:
        if number:
            raise UnmeasurableError("no sheet can be measured in the kept frames that show one")
        return rendered_case(cause, "coloured", 0.2)

    monkeypatch.setattr(RenderedBench, "case", case)
    cases = [bench.judged("tone", number, null) for number in (0, 1)]
    printed = rendered_summary(cases)
    assert printed["unmeasured"] == 1
    assert (printed["right"]["rate"], printed["right"]["n"]) == (1.0, 1)
    assert printed["by_effect"]["tone"]["cases"] == 1
    assert printed["cases"][1]["unmeasured"] == "no sheet can be measured in the kept frames that show one"


def test_along_an_axis_of_the_frontier_nothing_else_changes() -> None:
    axes = ("grid", "steps", "area", "target", "seed")
    for axis in axes:
        for _, points in along(axis, steps=100):
            settings = [vars(point) for _, point in points]
            assert {name for name in settings[0] if len({value[name] for value in settings}) > 1} == {axis}
            assert [point.config.setting(axis) for _, point in points] == [
                parse_grid(value[axis]) if axis == "grid" else value[axis] for value in settings
            ]
    points = wanted(axes, 100)
    assert Point("10x10", 100) in points
    assert len(points) == len(set(points))
