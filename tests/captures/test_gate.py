"""Bounds for builds, results for other tools: intervals against bounds, exit codes, JUnit, result.json and a model card."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support import BLUE, assert_follows_schema, frame_row, vivid_patch

from calibration.common.errors import InputError
from captures.report.card import model_card
from captures.results.gate import GateCase, judge_result, write_junit
from captures.results.result_record import result_of
from captures.results.session_record import SessionModel, SessionRecord
from captures.storage import SessionStore
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord, TargetClass
from physpatch.records.patch_file import CONTROLS
from physpatch.records.run_record import RunData, RunRecord, WeightsRecord
from physpatch.stats.intervals import wilson

PHOTOGRAPHS = 200


def results(hits: int, wrong: int) -> EvaluationRecord:
    """What 200 photographs gave, of which a network without the patch gets 190 right."""
    nothing = {control: wilson(0, 190) for control in CONTROLS}
    of_all = wilson(wrong + 10, PHOTOGRAPHS)
    return EvaluationRecord(
        n=PHOTOGRAPHS,
        poses=1,
        clean_accuracy=0.95,
        patched_accuracy=1 - (wrong + 10) / PHOTOGRAPHS,
        controls=dict.fromkeys(CONTROLS, 0.95),
        targeted_success=wilson(hits, 190),
        untargeted_success=wilson(wrong, 190),
        control_targeted_success=nothing,
        control_untargeted_success=nothing,
        untargeted_success_of_all={"patch": of_all},
        target=TargetClass.of(BLUE),
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two networks: one that holds, and one that the patch fools."""
    folder = tmp_path / "run"
    vivid_patch().save(folder)
    RunRecord(
        config=TrainConfig.of(ensemble=("soft",)).to_dict(),
        target=TargetClass.of(BLUE),
        seed=0,
        device="cpu",
        weights=WeightsRecord(model="firm", task="classify", source="made here", sha256="1" * 64),
        data=RunData(source="samples", train=1, held_out=1, train_fingerprint="", held_out_fingerprint=""),
        status="finished",
        results=results(1, 4).changed(others={"soft": results(60, 90)}),
    ).save(folder / "run.json")
    return folder


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Twelve clips of a filmed session: with the patch, one in four answers is the target."""
    folder = tmp_path / "session"
    folder.mkdir()
    with SessionStore(folder / "session.db") as store:
        for clip in range(12):
            for frame, condition in enumerate(("grey", "patch")):
                fooled = condition == "patch" and clip % 4 == 0
                top1 = "blue thing" if fooled else "red thing"
                store.add([frame_row(2 * clip + frame, condition, clip, top1, distance_m=1.0)])
    models = [SessionModel(name="m", task="classify", source="made here", sha256="2" * 64)]
    SessionRecord(target="blue thing", models=models, virtual=True).save(folder / "session.json")
    return folder


def test_the_upper_end_of_the_interval_decides(run: Path, command) -> None:
    """One of 190 is 0.5 %, but could be 2.9 %."""
    assert wilson(1, 190).ci95[1] == pytest.approx(0.029, abs=0.0005)
    for bound, code in (("0.03", 0), ("0.02", 1)):
        done = command("gate", run, "--model", "firm", "--max-target-first", bound)
        assert done.code == code, done.out
    done = command("gate", run, "--max-target-first", "0.03")
    assert done.code == 1 and "passes" in done.out and "fails" in done.out and "Error" not in done.err
    assert GateCase("m", "target_first", 0.03, 0.03, "").passed  # at most the bound


def test_accuracy_lost_has_an_interval_too(run: Path, command) -> None:
    firm, soft = result_of(run).models
    assert firm.accuracy_drop.difference == pytest.approx(0.02) and soft.accuracy_drop.difference == pytest.approx(0.45)
    assert firm.accuracy_drop.ci95[1] == pytest.approx(0.07, abs=0.01)
    assert command("gate", run, "--model", "firm", "--max-accuracy-drop", "0.1").code == 0
    assert command("gate", run, "--model", "firm", "--max-accuracy-drop", "0.05").code == 1


def test_junit_tells_each_bound_on_each_model(run: Path, tmp_path: Path, command) -> None:
    file = tmp_path / "gate.xml"
    bounds = ("--max-target-first", "0.05", "--max-made-wrong", "0.1")
    assert command("gate", run, *bounds, "--junit", file).code == 1
    suite = ElementTree.parse(file).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("name")) == ("4", "2", "physpatch run run")
    failed = {(case.get("classname"), case.get("name")): case.find("failure") is not None for case in suite}
    assert failed[("physpatch.firm", "target_first")] is False and failed[("physpatch.soft", "made_wrong")] is True
    message = suite.find("testcase/failure").get("message")
    assert message.startswith("the target came first: 31.6 % [") and message.endswith("allowed 5 %")


def test_json_has_the_outcome_beside_the_results(run: Path, command) -> None:
    done = command("gate", run, "--max-target-first", "0.05", "--json", "-")
    told = json.loads(done.out)
    assert done.code == 1 and not told["passed"] and {model["model"] for model in told["models"]} == {"firm", "soft"}
    outcomes = {case["model"]: (case["bound"], case["at_most"], case["passed"]) for case in told["cases"]}
    assert outcomes == {"firm": ("target_first", 0.05, True), "soft": ("target_first", 0.05, False)}
    assert all((case["upper"] <= 0.05) == case["passed"] for case in told["cases"])
    done = command("gate", run, "--model", "firm", "--max-target-first", "0.05", "--json", "-")
    assert done.code == 0 and json.loads(done.out)["passed"]


@pytest.mark.parametrize(
    ("name", "in_xml", "in_card"),
    [
        ("a<b>&\"c'|d", "a<b>&\"c'|d", "a&lt;b&gt;&amp;\"c'\\|d"),
        ("two\nlines\x00\x1b[31m\ud800\uffff", "two lines  [31m\ufffd ", "two lines  \\[31m\ufffd "),
        ("![x](http://h/`*`)", "![x](http://h/`*`)", "!\\[x\\](http://h/\\`\\*\\`)"),
    ],
)
def test_names_are_escaped_for_other_tools(name: str, in_xml: str, in_card: str, run: Path, tmp_path: Path) -> None:
    result = result_of(run)
    models = tuple(model.model_copy(update={"model": name}) for model in result.models)
    odd = result.model_copy(update={"name": name, "target": name, "models": models})
    write_junit(tmp_path / "gate.xml", odd, judge_result(odd, {"target_first": 0.05}))
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert suite.get("name") == f"physpatch run {in_xml}"
    assert {case.get("classname") for case in suite} == {f"physpatch.{in_xml}"}
    lines = model_card(odd).splitlines()
    rows = [line for line in lines if line.startswith("| ") and "Model" not in line]
    assert len(rows) == 2 and all(row.startswith(f"| {in_card} | ") for row in rows)
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows) and len(lines) < 16
    assert f"towards “{in_card}”".replace(" ", "") in "".join(lines).replace(" ", "")


def test_a_session_is_held_to_its_clips(session: Path, command) -> None:
    """Three of twelve clips are 25 %, which could be far more."""
    done = command("gate", session, "--max-target-first", "0.9", "--json", "-")
    assert done.code == 0, done.out
    (model,) = json.loads(done.out)["models"]
    assert model["target_first"]["rate"] == 0.25 and model["sha256"] == "2" * 64
    assert model["accuracy_drop"]["difference"] == pytest.approx(0.25)  # beside the grey control
    assert command("gate", session, "--max-target-first", "0.3").code == 1


def test_what_was_not_measured_does_not_pass(run: Path, tmp_path: Path, command) -> None:
    record = RunRecord.of(run)
    blank = record.results.changed(targeted_success=wilson(0, 0), others={})
    record.changed(results=blank).save(run / "run.json")
    (case,) = judge_result(result_of(run), {"target_first": 1.0})
    assert not case.passed and "not measured; nothing bounds it from above" in case.sentence
    assert command("gate", run, "--max-target-first", "1").code == 1


def test_wrong_input_is_no_verdict(run: Path, tmp_path: Path, command) -> None:
    command("gate", run).assert_refused("a gate needs a bound")
    command("gate", run, "--max-target-first", "5").assert_refused("is no share; expected 0 to 1")
    command("gate", run, "--max-target-first", "0.1", "--model", "other").assert_refused("has no results of other")
    command("gate", tmp_path, "--max-target-first", "0.1").assert_refused("neither a run")
    record = RunRecord.of(run)
    record.changed(results={}).save(run / "run.json")
    with pytest.raises(InputError, match="has no results; measure it first"):
        judge_result(result_of(run), {"target_first": 0.1})


def test_a_report_leaves_the_result_and_a_card(run: Path, session: Path, command) -> None:
    assert command("report", run, "--card").code == 0
    result = json.loads((run / "result.json").read_text())
    assert_follows_schema(result, "result")
    assert [model["model"] for model in result["models"]] == ["firm", "soft"] and result["patch"] == vivid_patch().id
    card = (run / "card.md").read_text()
    assert (
        "| soft | 31.6 % [" in card and "towards “blue thing”" in card and max(map(len, card.splitlines()[:6])) <= 100
    )
    assert command("report", session, "--no-replay", "--card").code == 0
    assert_follows_schema(json.loads((session / "result.json").read_text()), "result")
    assert "on a virtual rig" in (session / "card.md").read_text()
    record = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(json.dumps(record | {"scene": "stand"}))
    assert command("report", session, "--no-replay", "--card").code == 0
    assert "in a rendered scene (stand)" in (session / "card.md").read_text()
    assert json.loads((session / "result.json").read_text())["scene"] == "stand"
    command("report", run, session, "--card").assert_refused("--card is for one run or session")
