"""A session in the logs of other tools: success by clip, rates with their intervals, the patch."""

from dataclasses import replace
from pathlib import Path

import pytest
from support import FIRST_RUN, frame_row, vivid_patch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from calibration.common.files import write_json
from captures.protocol.plan import Protocol
from captures.results.recorded_session import RecordedSession
from captures.results.session_log import log_session
from captures.results.session_record import PlanRecord, SessionModel, SessionRecord
from captures.storage import SessionStore


def test_frames_between_the_steps_of_a_plan_are_in_no_clip(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        rows = [frame_row(frame, "patch", frame // 2, "blue thing", success=frame // 2) for frame in range(4)]
        store.add(
            [replace(row, step=row.clip or None) for row in rows]
        )  # those of clip 0 are on their way to the first step
    plan = PlanRecord.of(Protocol(conditions=("patch",), distances_m=(1.0,), yaws_deg=(0.0,)))
    SessionRecord(target="blue thing", plan=plan).save(tmp_path / "session.json")
    log_session(tmp_path, ["tensorboard"])
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(scalar.step, scalar.value) for scalar in read.Scalars("m/patch/success")] == [(1, 1.0)]


def test_a_session_is_logged_by_clip_with_its_rates(tmp_path: Path) -> None:
    folder, run = tmp_path / "session", tmp_path / "run"
    folder.mkdir()
    vivid_patch().save(run)
    write_json(run / "run.json", FIRST_RUN)
    with SessionStore(folder / "session.db") as store:
        for clip in range(8):
            for frame in range(4):
                condition, fooled = ("grey", "patch")[frame % 2], frame == 1 or clip % 4 == 0
                row = frame_row(
                    4 * clip + frame,
                    condition,
                    clip,
                    "blue thing" if condition == "patch" and fooled else "red thing",
                    success=int(fooled) if condition == "patch" else 0,
                    distance_m=1.0,
                )
                store.add([row])
    models = [SessionModel(name="m", task="classify", source="made here", sha256="2" * 64)]
    SessionRecord(target="blue thing", models=models, virtual=True, run="../run", frames=32).save(
        folder / "session.json"
    )
    log_session(folder, ["tensorboard"])
    read = EventAccumulator(str(folder / "tensorboard")).Reload()
    by_clip = [(scalar.step, scalar.value) for scalar in read.Scalars("m/patch/success")]
    assert by_clip == [(clip, 1.0 if clip % 4 == 0 else 0.5) for clip in range(8)]
    (summary,) = [s for s in RecordedSession.open(folder).tally.summaries() if s.condition == "patch"]
    for name, value in zip(("", "_low", "_high"), (summary.target.rate, *summary.target.ci95), strict=True):
        (logged,) = read.Scalars(f"final/m/patch/target_first{name}")
        assert logged.value == pytest.approx(value)
    assert len(read.Images("patch")) == 1
    assert (
        "target | blue thing" in read.Tensors("session/parameters/text_summary")[0].tensor_proto.string_val[0].decode()
    )
