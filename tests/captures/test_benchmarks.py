"""What the session benchmarks plant and count."""

from types import SimpleNamespace

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
from captures.results.aggregation import Tally
from captures.results.verdict import REAL, WAY
from captures.sources.rendered.camera.effects import EFFECTS, camera_effects
from physpatch.records.patch_file import parse_grid
from physpatch.stats.clustered import Observation


class Filmed(Tally):
    """The tally of a session whose clips have these shares of success."""

    models = ("network",)

    def __init__(self, *shares: float, scenes: tuple[int, ...] = ()) -> None:
        super().__init__("target", scenes=scenes)
        self._shares = shares

    def observations(self, model: str, measure: str, condition: str) -> list[Observation]:
        return [Observation(clip, clip, share) for clip, share in enumerate(self._shares)]


def sessions_of(**films: Filmed) -> dict[str, SimpleNamespace]:
    return {name: SimpleNamespace(tally=tally) for name, tally in films.items()}


def test_every_arm_is_compared_with_the_null_by_clip() -> None:
    half = Filmed(*[0.5] * 8)
    sessions = {
        3: sessions_of(**{BEFORE: Filmed(*[0.0] * 8), NULL: Filmed(*[0.25] * 8), "all": Filmed(*[1.0] * 8)}),
        4: sessions_of(**{BEFORE: half, NULL: half, "all": Filmed(*[0.5] * 7)}),
    }
    arm = _arm(sessions, "all")
    assert {seed: gain["n"] for seed, gain in arm["gain"]["by_seed"].items()} == {3: 8, 4: 7}
    assert arm["rate"][3]["rate"] == 1.0
    assert arm["gain_over_null"]["by_seed"][3]["difference"] == 0.75
    assert arm["gain_over_null"]["over_seeds"]["mean"] == pytest.approx(0.375)
    assert "gain_over_null" not in _arm(sessions, NULL)
    assert {NULL: (), **{part: (part,) for part in PARTS}, "all": PARTS} == ARMS


def test_clips_before_one_photograph_count_once_in_a_gain() -> None:
    scenes = (0, 1, 2, 3) * 4
    films = {BEFORE: Filmed(*[0.0] * 16, scenes=scenes), NULL: Filmed(*[1.0, 0.0] * 8, scenes=scenes)}
    assert _arm({3: sessions_of(**films)}, NULL)["gain"]["by_seed"][3]["n"] == 4


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
    by_clip = {str(clip): captured for clip in range(30)}
    return {"planted": planted_effect, "strength": 0.5, "seed": 1, "gap": gap, "by_clip": by_clip}


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
    bench._seed, bench._nulls = 0, 3
    refused = "no sheet can be measured in the kept frames that show one"

    def case(self: RenderedBench, cause: str, number: int) -> dict[str, object]:
        if (cause, number) in {("tone", 1), ("nothing", 2)}:
            raise UnmeasurableError(refused)
        return rendered_case(cause, "coloured" if cause == "tone" else "none", 0.2 if cause == "tone" else 0.89)

    monkeypatch.setattr(RenderedBench, "case", case)
    cases = [case for null in (0, 1, 2) for case in bench.judged(null, ["tone"], cases=4)]
    assert [case["planted"] for case in cases] == ["nothing", "tone", "tone", "nothing", "tone", "nothing"]
    assert cases[1]["seed"] == cases[2]["seed"] != cases[4]["seed"]  # the first and the fourth beside the first null
    printed = rendered_summary(cases)
    assert printed["unmeasured"] == 2  # beside a null that cannot be measured, nothing is planted
    assert (printed["right"]["rate"], printed["right"]["n"]) == (1.0, 2)
    assert printed["by_effect"]["tone"]["cases"] == 2
    assert printed["cases"][4]["unmeasured"] == printed["cases"][5]["unmeasured"] == refused


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
