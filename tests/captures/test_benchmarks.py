"""What the session benchmarks plant and count."""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import art_patch
import cv2
import detector_transfer
import numpy as np
import paper_frontier
import print_panel
import profile_gain
import pytest
import session_gain
import torch
import versus_art
from calibration_accuracy import seed_summary
from one_line import run_main
from paper_frontier import Point, along, wanted
from planted_rig import CAUSES, planted, shaken, sharpened
from rendered_causes import EFFECTS as RENDERED_CAUSES
from rendered_causes import RenderedBench
from rendered_causes import judged as judged_rendered
from rendered_causes import summary as rendered_summary
from rendered_noise import Film
from rendered_panel import named
from rig_films import contents, labelled_photos, make_once, require_apart
from session_gain import ARMS, BEFORE, NULL, _arm
from sign_on_rig import share_kept
from transfer import Judge

from calibration.common.errors import InputError
from captures.gap.decomposition import UnmeasurableError
from captures.gap.session_eot import PARTS
from captures.results.aggregation import Tally
from captures.results.verdict import REAL, WAY
from captures.sources.frame import Frame
from captures.sources.held_sheet import RigPose
from captures.sources.rendered.camera.effects import EFFECTS, camera_effects
from captures.sources.virtual_rig import RigTruth
from physpatch import EotConfig, evaluate_patch
from physpatch.data.batch_sampler import BatchSource
from physpatch.data.photographs import Photo, Photographs
from physpatch.data.splits import content_id
from physpatch.evaluation.classification import Evaluation
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch, parse_grid
from physpatch.stats.clustered import Observation
from physpatch.victims.protocol import Victim

ROOT = Path(__file__).parents[2]


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
        answer = rendered_case(cause, "coloured" if cause == "tone" else "none", 0.2 if cause == "tone" else 0.89)
        return answer | {"seed": self._draw(cause, number)[1]}

    monkeypatch.setattr(RenderedBench, "case", case)
    cases = [case for null in (0, 1, 2) for case in bench.judged(null, ["tone"], cases=4)]
    assert [case["planted"] for case in cases] == ["nothing", "tone", "tone", "nothing", "tone", "nothing"]
    assert cases[1]["seed"] == cases[2]["seed"] != cases[4]["seed"]  # the first and the fourth beside the first null
    printed = rendered_summary(cases)
    assert printed["unmeasured"] == 2  # beside a null that cannot be measured, nothing is planted
    assert (printed["right"]["rate"], printed["right"]["n"]) == (1.0, 2)
    draws = printed["draws"]
    assert draws["right_of_20"]["n"] == 1 and draws["false_alarms"]["n"] == 2  # the third null cannot be measured
    assert (draws["right_of_20"]["rate"], draws["false_alarms"]["rate"]) == (1.0, 0.0)
    wrong = [case | {"right": False, "false_alarm": True} if number == 1 else case for number, case in enumerate(cases)]
    draws = rendered_summary(wrong)["draws"]  # one of the two cases beside the first null
    assert (draws["right_of_20"]["rate"], draws["false_alarms"]["rate"]) == (0.0, 0.5)
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


def missing() -> None:
    (Path("nowhere") / "targets.csv").read_text()


def refusing() -> None:
    raise InputError("no photographs")


@pytest.mark.parametrize(
    ("main", "said"), [(refusing, "no photographs"), (missing, f"no file {Path('nowhere/targets.csv')}")]
)
def test_what_a_user_can_mend_is_said_in_one_line(
    main: Callable[[], None], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/live.py"])
    with pytest.raises(SystemExit) as ended:
        run_main(main)
    assert (ended.value.code, capsys.readouterr().err) == (2, f"live.py: error: {said}\n")


@pytest.mark.parametrize(
    ("bench", "options", "said"),
    [
        ("live", "--frames 5", "--frames 5; expected more than 5"),
        ("soak", "--minutes 2", "expected 3 or more"),
        ("torture", "--file none.such", "no artefact has 'none.such' in its name"),
        ("torture", "--page-seconds 2", "--page-seconds should exceed the 2"),
        ("calibration_accuracy", "--seeds 0", "--seeds 0; expected 1 or more"),
        ("versus_art", "--out OUT --steps 4", "expected --steps 0 or from 5 on"),
        ("real_photographs", "--data OUT", "has none of the folders that markers, colour, lens, signs read"),
        ("real_photographs", "--data OUT --only lenses", "invalid choice: 'lenses'"),
        ("real_photographs", "--data OUT --board 20x20:4:3.2:7", "argument --board: invalid board_of value"),
        ("rendered_calibration", "--size 640", "argument --size: invalid frame_wh value"),
        ("published_patches", "--patches OUT --data OUT --condition paper", "invalid choice: 'paper'"),
    ],
)
def test_too_little_to_measure_is_refused_before_anything_is_made(
    bench: str,
    options: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{bench}.py", *options.replace("OUT", str(tmp_path)).split()])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(bench).main()
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_the_fewest_pictures_are_the_worst_and_of_errors_the_largest() -> None:
    results = [
        {"focal_percent": 0.1, "views": 30, "test_pictures": 4},
        {"focal_percent": 0.3, "views": 12, "test_pictures": 1},
    ]
    told = seed_summary(results)
    assert [told[name]["worst"] for name in results[0]] == [0.3, 12, 1]


def test_a_run_is_not_measured_on_photographs_that_it_learned_from(tmp_path: Path, tiny_victim: Victim) -> None:
    for number, name in enumerate(tiny_victim.categories[:2]):
        (tmp_path / "data" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "data" / name / "1.png"), np.full((40, 40, 3), 90 * number, np.uint8))
    data, run = str(tmp_path / "data"), tmp_path / "run"
    photos = labelled_photos(tiny_victim, data, [run])  # no record, as of a published patch
    assert len(photos) == len(dict(named(photos))) == len({name for _, name in named(photos)}) == 2
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"data": {"learned_from": [content_id(photos[1].path)]}}))
    with pytest.raises(InputError, match="the run run was trained on 1 of the 2 photographs"):
        labelled_photos(tiny_victim, data, [run])
    (tmp_path / "plain").mkdir()
    cv2.imwrite(str(tmp_path / "plain/1.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(InputError, match="has no photograph with a label"):
        labelled_photos(tiny_victim, str(tmp_path / "plain"), [])


def test_photographs_are_not_both_trained_and_judged_on(held_out: Photographs) -> None:
    training, held = (replace(held_out, contents=contents) for contents in (("a", "b"), ("b", "c")))
    require_apart(training, replace(held, contents=("c", "")))
    with pytest.raises(InputError, match="1 photographs of --held are among those of --data"):
        require_apart(training, held)


def test_a_film_is_made_anew_before_other_photographs_of_the_same_name(tmp_path: Path) -> None:
    photograph, made = tmp_path / "a.png", []
    for content in (b"first", b"first", b"second"):
        photograph.write_bytes(content)
        make_once(tmp_path / "film", {"behind": contents([(photograph, None)])}, lambda: made.append(photograph))
    assert len(made) == 2


def test_a_judge_without_the_target_class_says_so(tiny_victim: Victim, patch: Patch) -> None:
    judge = object.__new__(Judge)
    judge.victim = tiny_victim
    with pytest.raises(InputError, match="has no class 'no such thing'"):
        judge.judged(Patch(patch.cells, {"index": 0, "name": "no such thing"}))


def test_an_unsure_answer_is_no_success_on_the_panel(tiny_victim: Victim, held_out: Photographs) -> None:
    images = held_out.images.float() / 255
    sure = print_panel.said(tiny_victim, images)
    unsure = print_panel.said(replace(tiny_victim, threshold=1.0), images * 0.5)
    assert set(sure) <= set(range(len(tiny_victim.categories))) and len(tiny_victim.categories) in unsure


def test_views_of_the_target_itself_count_in_nothing_of_the_panel() -> None:
    rows = [{"label": label, "hits": {"patch": hit}} for label, hit in ((7, 1.0), (1, 0.0), (2, 1.0))]
    assert print_panel.of_all(rows, target=7) == 0.5
    assert print_panel.of_all(rows[:1], target=7) is None


def test_the_panel_holds_all_sheets_of_a_clip_alike_at_shares_spread_evenly(
    shared_sheet_pdf: Path, tmp_path: Path
) -> None:
    background = tmp_path / "grey.png"
    cv2.imwrite(str(background), np.full((64, 64, 3), 128, np.uint8))
    cameras = [RigTruth.draw(number) for number in range(2)]
    rig = print_panel.PanelRig(shared_sheet_pdf, [(background, "0")], clips=400, seed=0, cameras=cameras)
    poses: dict[int, set[RigPose]] = {}
    for clip in range(400):
        for layout in rig.layouts:
            poses.setdefault(clip, set()).add(rig._draw_pose(np.random.default_rng([0, 2, clip]), layout))
        assert rig.truth is cameras[clip % 2]
    assert all(len(in_clip) == 1 for in_clip in poses.values())
    shares = np.array([rig.shares[clip] for clip in range(400)])
    assert shares.min() >= 0.05 and shares.max() <= 0.2
    evenly = np.log(8 / 5) / np.log(4)  # a third; a quarter if sides were drawn evenly
    assert abs((shares < 0.08).mean() - evenly) < 0.05


def test_the_panel_shows_patches_on_a_screen_at_shares_as_even(
    tiny_victim: Victim, patch: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = []
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 60 * number, np.uint8))
        photos.append(Photo(tmp_path / f"{number}.png", number))
    config, scales = TrainConfig(), []

    def recorded(*arguments: Any, eot: EotConfig, **options: Any) -> Evaluation:
        scales.append(eot.scale)
        return evaluate_patch(*arguments, eot=eot, **options)

    monkeypatch.setattr(print_panel, "evaluate_patch", recorded)
    rows = print_panel.digital(tiny_victim, photos, patch, config, "square", 0)
    assert [row["label"] for row in rows] == [0, 1, 2] * len(scales)
    assert not any(row["right"] for row in rows if row["label"] == 2)  # the target's own photographs
    ratios = np.array(scales)[:, 1] / np.array(scales)[:, 0]
    assert np.allclose(ratios, ratios[0])
    shares = np.array([scales[0][0], scales[-1][1]]) ** 2 * config.patch.area
    assert np.allclose(shares, (0.05, 0.2))


def _seen(photograph: str, hit: float, right: bool = True) -> dict[str, Any]:
    return {"photograph": photograph, "right": right, "hits": {"patch": hit}}


def test_retention_divides_success_on_paper_by_success_on_a_screen_by_photograph() -> None:
    names = [str(number) for number in range(40)]
    on_screen = [_seen(name, float(number % 5 > 0)) for number, name in enumerate(names)]  # 80 %
    on_paper = [_seen(name, float(number % 5 > 2)) for number, name in enumerate(names)]  # 40 %
    ratio, interval = print_panel.retained([*on_paper, _seen("0", 1.0, right=False)], on_screen, 0)
    assert ratio == pytest.approx(0.5)
    assert interval is not None and 0.25 < interval[0] < 0.45 and 0.55 < interval[1] < 0.75
    ratio, interval = print_panel.retained(on_screen, on_screen, 0)
    assert ratio == 1.0 and interval == (1.0, 1.0)  # the same photographs in both: none of their differences count
    none_shown = [row | {"hits": {"patch": 0.0}} for row in on_screen]
    assert print_panel.retained(on_paper, none_shown, 0) == (None, None)
    assert print_panel.retained([], on_screen, 0) == (None, None)


def test_noise_is_measured_before_each_photograph_once(tiny_victim: Victim) -> None:
    asked: list[int] = []

    class Rig:
        def __init__(self, *_: object, clips: int, frames_per_clip: int, **__: object) -> None:
            asked.append(clips)
            self._shown = [clip for clip in range(clips) for _ in range(2 * frames_per_clip)]  # two sheets

        def __iter__(self) -> Iterator[Frame]:
            return (Frame(np.zeros((32, 32, 3), np.uint8), 0.0, i, clip=clip) for i, clip in enumerate(self._shown))

    film = Film(tiny_victim, Path("sheet.pdf"), None, [(Path(f"{number}.png"), None) for number in range(3)], 0)
    answers, _ = film._shot(Rig, 4)
    assert asked == [3] and answers.shape == (3, 4)


def test_a_kept_patch_of_other_training_photographs_is_made_anew(
    tmp_path: Path,
    tiny_victim: Victim,
    photographs: Photographs,
    held_out: Photographs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, made = TrainConfig.of(target="none"), []
    monkeypatch.setattr(detector_transfer.Bench, "_measured", lambda *_: {"made": made.append(0) or len(made)})
    for training, times in ((photographs, 1), (photographs, 1), (photographs.subset(torch.arange(16) < 8), 2)):
        monkeypatch.setattr(detector_transfer, "split_photographs", lambda *_, t=training: (t, held_out))
        bench = detector_transfer.Bench({"a": tiny_victim}, {"a": "of a file"}, config, (0.4, 1.2), 4, tmp_path)
        assert bench.point("a", config)["made"] == times


def test_a_kept_point_of_the_frontier_has_the_defaults_of_today(
    tmp_path: Path,
    tiny_victim: Victim,
    photographs: Photographs,
    held_out: Photographs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paper_frontier, "photos_for", lambda *_: [])
    monkeypatch.setattr(paper_frontier, "load_photos", lambda *_, whole=False: photographs if whole else held_out)
    monkeypatch.setattr(paper_frontier.Bench, "_trained", lambda *_: {"photographs": 16})
    monkeypatch.setattr(paper_frontier.Bench, "_judged", lambda *_: {"paper": {}})
    bench, point = paper_frontier.Bench(tiny_victim, "data", "held", tmp_path), Point("4x4", 3)
    assert bench.known(point) is None
    assert bench.measured(point) == bench.known(point)
    monkeypatch.setattr(Point, "config", TrainConfig.of(grid=(4, 4), steps=3, learning_rate=0.3))
    assert bench.known(point) is None


def test_both_toolboxes_train_on_the_same_batches(
    tiny_victim: Victim, photographs: Photographs, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    attack = SimpleNamespace(generate=lambda x, y, reset_patch: given.append(x))
    monkeypatch.setattr(art_patch, "attack_on", lambda *_, **__: attack)
    batches = BatchSource(tiny_victim, photographs, art_patch.BATCH)
    art_patch.ArtPatch(tiny_victim.module, batches, 2, seed=3).run(2)
    ours = torch.Generator().manual_seed(3)
    assert np.array_equal(given[0], torch.cat([batches.draw(ours)[0] for _ in range(2)]).numpy())


def test_a_point_of_which_no_view_counts_is_not_drawn(tmp_path: Path) -> None:
    nothing = {"rate": None, "ci95": None, "n": 0}
    bench = SimpleNamespace(known=lambda point: {"paper": {"patch": nothing}, "screen": nothing})
    paper_frontier.draw(tmp_path / "frontier.png", bench, ["grid"], 100)
    assert (tmp_path / "frontier.png").stat().st_size > 0


def test_without_a_photograph_that_counts_nothing_is_compared(
    tiny_victim: Victim, held_out: Photographs, patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = object.__new__(versus_art.Bench)
    bench.victim, bench._target = tiny_victim, 2
    with pytest.raises(InputError, match="none of 40 photographs is right behind grey as ours draws it"):
        bench._judged([patch], replace(held_out, labels=torch.full_like(held_out.labels, 2)), ("ours",))
    wrong = dict.fromkeys(("grey_right", "target_first", "made_wrong"), np.zeros(5, bool))
    for name, value in {
        "load_victim": tiny_victim,
        "measured": None,
        "eot_for_rig": TrainConfig.of().eot,
        "train_run": None,
        "filmed": wrong,
    }.items():
        monkeypatch.setattr(profile_gain, name, lambda *_, value=value: value)
    with pytest.raises(InputError, match="none of the 5 held-out photographs of samples is right"):
        profile_gain.gained("samples", 1, 3)


def test_two_sessions_need_a_photograph_each(
    tiny_victim: Victim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session_gain.RunRecord, "of", lambda _: SimpleNamespace(train_config=TrainConfig.of()))
    monkeypatch.setattr(session_gain, "victim_of", lambda _: tiny_victim)
    monkeypatch.setattr(session_gain, "held_out_files", lambda *_: [(Path("a.png"), "red thing")])
    monkeypatch.setattr(session_gain, "recognised", lambda *_: True)
    monkeypatch.setattr(sys, "argv", ["session_gain.py", "--run", "run"])
    with pytest.raises(SystemExit):
        session_gain.main()
    assert "1 held-out photographs are recognised behind a sheet" in capsys.readouterr().err


def test_of_a_sign_that_is_not_filmed_nothing_is_kept() -> None:
    assert [share_kept(filmed, rendered) for filmed, rendered in ((0.4, 0.8), (None, 0.8), (0.4, 0.0))] == [
        0.5,
        None,
        None,
    ]


def test_the_pictures_of_training_are_drawn(
    tmp_path: Path, tiny_victim: Victim, photographs: Photographs, patch: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/pictures.py")
    assert spec is not None and spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    classes = {f"{number}": tiny_victim.categories[label] for number, label in enumerate(photographs.labels[:3])}
    monkeypatch.setattr(pictures, "CLASSES", classes)
    listed = [Photo(Path(f"{number}.png"), -1) for number in classes]
    monkeypatch.setattr(pictures, "list_photos", lambda *_: listed)
    monkeypatch.setattr(pictures, "load_photos", lambda *_: photographs.subset(torch.arange(16) < 3))
    monkeypatch.setattr(pictures, "save_eot_samples", lambda path, *_: cv2.imwrite(str(path), np.zeros((8, 8, 3))))
    pictures.save_training(tmp_path, tmp_path, tiny_victim, patch, TrainConfig.of(grid=patch.grid))
    assert {path.name for path in tmp_path.glob("*.jpg")} == {"eot.jpg", "examples.jpg", "gradcam.jpg"}
