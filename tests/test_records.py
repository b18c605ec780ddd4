"""Records: what is written is read back, files of earlier versions load, and a broken one is one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from support import FIRST_EVALUATION, FIRST_RUN, ROOT, CommandResult, assert_follows_schema, frame_row

from calibration.common.errors import InputError
from calibration.common.records import Record, RecordPart
from captures.protocol.plan import Protocol
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import PlanRecord, SessionRecord
from captures.storage import SessionStore
from physpatch.benchmark.bench_row import BenchRow
from physpatch.records.check_record import CheckRecord, Finding
from physpatch.records.config import TrainConfig
from physpatch.records.evaluation_record import EvaluationRecord
from physpatch.records.run_record import RunRecord
from physpatch.stats.rates import Rate


class Box(RecordPart):
    """A part of the record below."""

    width_mm: float


class Parcel(Record):
    """A record of a second version; the first called ``content`` ``what``."""

    what: ClassVar[str] = "record of a parcel"
    cure: ClassVar[str] = "pack it anew"
    current: ClassVar[int] = 2

    content: str
    box: Box
    note: str | None = None

    @classmethod
    def upgrade(cls, value: dict[str, Any], version: int) -> dict[str, Any]:
        return {"content": value["old"], "box": value["box"]} if version < 2 and "old" in value else value


def saved(folder: Path, value: object) -> Path:
    """A JSON file in ``folder``."""
    path = folder / "file.json"
    path.write_text(json.dumps(value))
    return path


def test_what_was_set_is_written_with_the_version_and_read_back(tmp_path: Path) -> None:
    parcel = Parcel(content="a lens", box=Box(width_mm=80))
    parcel.save(tmp_path / "parcel.json")
    written = json.loads((tmp_path / "parcel.json").read_text())
    assert written == {"version": 2, "content": "a lens", "box": {"width_mm": 80.0}}
    assert Parcel.load(tmp_path / "parcel.json") == parcel
    assert parcel.changed(note="fragile").to_dict() == written | {"note": "fragile"}


def test_an_older_version_is_brought_into_the_present_form(tmp_path: Path) -> None:
    for older in ({}, {"version": 1}):
        parcel = Parcel.load(saved(tmp_path, older | {"old": "a lens", "box": {"width_mm": 80}}))
        assert parcel.content == "a lens" and parcel.version == 2


def test_keys_that_nobody_declared_are_kept(tmp_path: Path) -> None:
    value = {"version": 2, "content": "a lens", "box": {"width_mm": 80.0, "made_by": "hand"}, "paid": True}
    assert Parcel.load(saved(tmp_path, value)).to_dict() == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"content": "a lens"}, "is not a valid record of a parcel: box is missing; pack it anew"),
        ({"content": "a lens", "box": 3}, "box should be an object, got 3; pack it anew"),
        ({"content": "a lens", "box": {"width_mm": "wide"}}, "box.width_mm should be a valid number, got 'wide'; pack"),
        ({"content": 1, "box": {}}, "content should be a valid string, got 1 (and 1 more); pack it anew"),
        ([1, 2], "the file should be an object, got [1, 2]"),
        ({"version": "two"}, "version should be a valid integer, got 'two'"),
        (
            {"version": 3, "content": "a lens", "box": {}},
            "this record of a parcel was written by a newer physpatch (version 3; this one reads up to 2); update physpatch",
        ),
    ],
)
def test_a_broken_file_is_one_line_that_names_field_and_cure(value: object, words: str, tmp_path: Path) -> None:
    path = saved(tmp_path, value)
    with pytest.raises(InputError) as error:
        Parcel.load(path)
    assert str(path) in str(error.value) and words in str(error.value) and "\n" not in str(error.value)


def test_a_record_does_not_change_under_its_readers() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Parcel(content="a lens", box=Box(width_mm=80)).content = "a mirror"  # type: ignore[misc]


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_of_the_first_version_is_read(tmp_path: Path) -> None:
    record = RunRecord.load(saved(tmp_path, FIRST_RUN))
    assert record.train_config.optimisation.technique == "adam" and record.train_config.patch.area == 0.2
    assert record.data.learned_from is None and record.data.held_out_names == [] and record.also == {}
    assert list(record.measured) == ["efficientnet_lite0"] and record.results is not None
    assert record.results.poses == 1 and record.results.untargeted_success == Rate(0.5, (0.25, 0.75), 8)
    assert record.results.success_of_all("untargeted").n == 0 and record.results.caution is None
    heat = record.results.grad_cam
    assert heat is not None and heat.number("heat_in_patch.patch") == 0.5 and heat.number("pointing.patch") is None
    again = record.to_dict()
    assert again.pop("version") == RunRecord.current and again["results"].pop("version") == EvaluationRecord.current
    assert again["results"].pop("poses") == 1 and again == FIRST_RUN


def test_a_run_that_measured_nothing_is_told_from_one_that_is_not_done(tmp_path: Path) -> None:
    begun = {name: value for name, value in FIRST_RUN.items() if name != "results"}
    for value in (begun, begun | {"results": {}}):
        record = RunRecord.load(saved(tmp_path, value))
        assert record.results is None and record.measured == {"efficientnet_lite0": None}
        assert record.changed(status="x").to_dict().get("results", "absent") == value.get("results", "absent")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": None}, ("weights should be an object, got None", "train again")),
        ({"results": {"n": 3}}, ("results.clean_accuracy is missing",)),
        (
            {"results": FIRST_RUN["results"] | {"control_targeted_success": {}}},
            ("control_targeted_success should have a rate of the control 'grey'",),
        ),
        ({"version": 99}, ("this record of a run was written by a newer physpatch", "update physpatch")),
        ({"config": {"smell": 3}}, ("unknown key 'smell'",)),
    ],
)
def test_a_broken_run_ends_a_command_in_one_line(
    change: dict[str, Any], words: tuple[str, ...], tmp_path: Path, command: Callable[..., CommandResult]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(FIRST_RUN | change))
    command("report", tmp_path).assert_refused(*words)


# --- sessions ---------------------------------------------------------------------------------------------------------

FIRST_SESSION: dict[str, Any] = {  # as the first version that had sessions wrote them
    "physpatch_session": 1,
    "begun": "2026-01-01T12:00:00+0100",
    "target": "blue thing",
    "label": None,
    "models": [{"name": "m", "task": "classify", "source": "embedded wheel", "sha256": "57" * 32}],
    "device": "cpu, 2 threads",
    "sheets": [{"kind": "patch", "id": "e17cbd6b5942", "size_mm": 100.0}],
    "intrinsics_assumed": True,
    "versions": {"physpatch": "0.1.0"},
    "virtual": True,
    "sheet": "../sheet.pdf",
    "status": "ended",
    "frames": 1,
    "dropped": 0,
}


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session of one row, without its record."""
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(1, "patch", 0, "blue thing")])
    return tmp_path


def test_a_session_of_the_first_version_is_read(session: Path) -> None:
    (session / "session.json").write_text(json.dumps(FIRST_SESSION))
    recorded = RecordedSession.open(session)
    assert recorded.target == "blue thing" and recorded.sheet is None and recorded.record.protocol is None
    assert recorded.record.models[0].sha256 == "57" * 32 and recorded.record.sheets[0].size_mm == 100
    assert recorded.lens((480, 640)).assumed and recorded.record.delay_s is None
    assert recorded.record.to_dict() == FIRST_SESSION | {"version": SessionRecord.current}


def test_a_session_whose_record_was_lost_has_an_empty_one(session: Path) -> None:
    recorded = RecordedSession.open(session)
    assert recorded.record == SessionRecord() and recorded.target is None and len(recorded.rows) == 1


def test_a_sessions_plan_is_read_back_with_its_steps() -> None:
    protocol = Protocol(("patch", "grey"), (0.5, 1.0), (-30.0, 0.0), ("lamp",), seed=4)
    plan = PlanRecord.of(protocol)
    assert plan is not None and plan.protocol == protocol and len(plan.steps) == 8
    assert [(step.number, step.light) for step in plan.steps[:2]] == [(1, "lamp"), (2, "lamp")]
    record = SessionRecord.model_validate(json.loads(json.dumps(SessionRecord(plan=plan).to_dict())))
    assert record.protocol == protocol


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": [{"name": "m"}]}, ("models.0.task is missing (and 2 more)", "the rows are in session.db")),
        ({"intrinsics": {"fx": 0, "fy": 1, "cx": 0, "cy": 0, "width": 1, "height": 1}}, ("positive focal lengths",)),
    ],
)
def test_a_broken_record_of_a_session_is_said_and_its_valid_part_is_used(
    change: dict[str, Any], words: tuple[str, ...], session: Path, command: Callable[..., CommandResult]
) -> None:
    (session / "session.json").write_text(json.dumps(FIRST_SESSION | change))
    done = command("report", session)
    assert done.code == 0 and done.err.startswith("not whole: ") and "session.json" in done.err
    assert all(word in done.err for word in words)
    assert "blue thing" in (session / "report.html").read_text()  # the target, which is valid


def test_a_record_of_a_newer_session_ends_a_command_in_one_line(
    session: Path, command: Callable[..., CommandResult]
) -> None:
    (session / "session.json").write_text(json.dumps(FIRST_SESSION | {"version": 4}))
    words = ("session.json", "this record of a session was written by a newer physpatch", "update physpatch")
    command("report", session).assert_refused(*words)


# --- benches ----------------------------------------------------------------------------------------------------------

FIRST_ROW: dict[str, Any] = {  # as the first bench wrote it: the seed is among the settings only
    "name": "adam-efficientnet_lite0-10x10-15pc-none-0123abcd",
    "technique": "adam",
    "model": "efficientnet_lite0",
    "grid": "10x10",
    "area": 0.15,
    "target_asked": "none",
    "target": None,
    "target_choice": {"index": None, "how": "named", "tried": []},
    "also": [],
    "measured": {"efficientnet_lite0": FIRST_EVALUATION},
    "heat": {"n": 0},
    "patch": [[[0, 128, 255]]],
    "config": {"model": "efficientnet_lite0", "seed": 3},
    "seconds": {"training": 1.5, "all": 2.5},
    "device": "cpu, 2 threads",
    "versions": {"physpatch": "0.1.0"},
}


def test_a_row_of_the_first_bench_is_read(tmp_path: Path) -> None:
    row = BenchRow.load(saved(tmp_path, FIRST_ROW))
    assert row.seed == 3 and row.train_config.optimisation.seed == 3 and row.seconds.all == 2.5
    assert row.own.poses == 1 and row.own.success_of_all("targeted").rate is None
    row.save(tmp_path / "again.json")
    assert BenchRow.load(tmp_path / "again.json") == row
    written = json.loads((tmp_path / "again.json").read_text())
    assert written.pop("version") == BenchRow.current and written.pop("seed") == 3
    assert written["patch"] == FIRST_ROW["patch"] and written.keys() == FIRST_ROW.keys()
    on_object = FIRST_ROW | {"version": 1, "area": 0.02, "config": TrainConfig.of(object="person", seed=3).to_dict()}
    assert BenchRow.load(saved(tmp_path, on_object)).area == 0.2  # before version 2, a constant or what texels round


def test_a_broken_row_says_that_it_can_be_measured_again(tmp_path: Path) -> None:
    broken = {name: value for name, value in FIRST_ROW.items() if name not in ("config", "heat")}
    with pytest.raises(
        InputError, match=r"heat is missing \(and 2 more\); delete it, and `physpatch bench` will measure"
    ):
        BenchRow.load(saved(tmp_path, broken))
    with pytest.raises(InputError, match=r"measured has no results on the row's own network 'another'.*delete it"):
        BenchRow.load(saved(tmp_path, FIRST_ROW | {"model": "another"}))


# --- schemas ----------------------------------------------------------------------------------------------------------

SCHEMAS = sorted(ROOT.glob("docs/schema/*.schema.json"))


def test_the_published_schemas_are_those_of_the_records(tmp_path: Path) -> None:
    command = [sys.executable, "docs/make_schemas.py", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in SCHEMAS}
    assert made == kept, "write them anew: python docs/make_schemas.py docs/schema"


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name.partition(".")[0])
def test_a_schema_is_valid_and_its_fields_are_on_the_page_about_files(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    page = (ROOT / "docs/reference/files.md").read_text()
    assert f"../schema/{path.name}" in page
    for field in schema["properties"]:
        assert f"`{field}`" in page, field


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", RunRecord.model_validate(FIRST_RUN).to_dict()),
        ("session", SessionRecord.model_validate(FIRST_SESSION).to_dict()),
        ("bench-row", BenchRow.model_validate(FIRST_ROW).to_dict()),
        ("evaluation", EvaluationRecord.model_validate(FIRST_EVALUATION).to_dict()),
        ("check", CheckRecord.of("m", [Finding("gradient", "zero", "fails", {"nonzero": False})]).to_dict()),
    ],
)
def test_what_is_written_follows_its_schema_and_what_is_broken_does_not(name: str, value: dict[str, Any]) -> None:
    assert_follows_schema(value, name)
    for broken in (value | {"version": 99}, {key: content for key, content in value.items() if key != "version"}):
        with pytest.raises(jsonschema.ValidationError):
            assert_follows_schema(broken, name)
