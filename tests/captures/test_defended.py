"""A model behind a defence beside the same model alone, on rows made by hand, whose rates are known."""

from dataclasses import replace
from pathlib import Path

import pytest
from support import frame_row

from captures.report import write_report
from captures.report.sections.defended import DefenceChange, defence_changes
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import SessionModel, SessionRecord
from captures.storage import FrameRow, SessionStore

TARGET, RIGHT, OTHER = "blue thing", "red thing", "kite"
MODELS = [
    SessionModel(name="m", task="classify", source="file", sha256="a"),
    SessionModel(name="m+jpeg", task="classify", source="file", sha256="a", defence="jpeg"),
]


def filmed(n: int, alone: int, behind: int, *, broken: int = 0, apart: int = 0) -> list[FrameRow]:
    """Clips of grey and patch; the patch works in the first so many, alone and behind the defence, which breaks the last few.

    Args:
        n: number of clips.
        alone, behind: number of clips in which the patch works.
        broken: number of clips that are wrong behind the defence, with both sheets.
        apart: number of clips between those of grey and of the patch, if they are separate ones; 0 for the same.
    """
    rows = []
    for clip in range(n):
        for model, hits, wrong in (("m", alone, 0), ("m+jpeg", behind, broken)):
            fails = clip >= n - wrong
            patch = TARGET if clip < hits else OTHER if fails else RIGHT
            rows.append(frame_row(2 * clip + 1, "grey", clip, OTHER if fails else RIGHT, model=model))
            rows.append(frame_row(2 * clip + 2, "patch", clip + apart, patch, model=model))
    return sorted(rows, key=lambda row: row.frame)


def recorded(rows: list[FrameRow], models: list[SessionModel] = MODELS) -> RecordedSession:
    return RecordedSession(Path("none"), SessionRecord(target=TARGET, models=models), rows)


def one(changes: list[DefenceChange], condition: str, measure: str) -> DefenceChange:
    (found,) = [change for change in changes if (change.condition, change.measure) == (condition, measure)]
    return found


def test_the_defence_is_paired_with_the_model_alone() -> None:
    changes = defence_changes(recorded(filmed(20, alone=15, behind=5)))
    assert {(change.model, change.defence, change.conditional) for change in changes} == {
        ("m", "jpeg", True),
        ("m", "jpeg", False),
    }
    target = one(changes, "patch", "target")
    assert (target.alone.rate, target.behind.rate) == (0.75, 0.25) and target.change.n == 20
    assert target.change.difference == pytest.approx(-0.5) and target.change.is_significant
    cost = one(changes, "grey", "wrong")
    assert cost.change.difference == 0 and not cost.change.is_significant and not cost.conditional


def test_clips_that_the_defence_breaks_are_its_cost_and_no_success() -> None:
    """Without pairing on both, the ten that are wrong with any sheet would hide what the defence achieves."""
    changes = defence_changes(recorded(filmed(20, alone=15, behind=0, broken=10)))
    wrong = one(changes, "patch", "wrong")
    assert (wrong.alone.rate, wrong.behind.rate, wrong.change.n) == (1.0, 0.0, 10)
    cost = one(changes, "grey", "wrong")
    assert (cost.alone.rate, cost.behind.rate, cost.change.n) == (0.0, 0.5, 20) and cost.change.is_significant


def test_pairs_make_the_interval_shorter() -> None:
    """Equal answers in all clips but two: as independent samples, such rates would differ by up to thirty points."""
    change = one(defence_changes(recorded(filmed(20, alone=10, behind=8))), "patch", "target").change
    assert change.difference == pytest.approx(-0.1)
    assert change.ci95 is not None and change.ci95[0] > -0.3 and change.ci95[1] < 0.1


def test_sheets_held_up_one_after_the_other_are_compared_over_clips() -> None:
    rows = [replace(row, distance_m=0.5, yaw_deg=0.0) for row in filmed(12, alone=12, behind=0, apart=12)]
    session = recorded(rows)
    assert session.tally.unit_kind == "pose cell"
    change = one(defence_changes(session), "patch", "target").change
    assert change.difference == pytest.approx(-1.0) and change.n == 12 and change.is_significant


def test_frames_that_only_one_of_both_judged_do_not_count() -> None:
    rows = [row for row in filmed(20, alone=10, behind=10) if row.model == "m" or row.clip < 5]
    target = one(defence_changes(recorded(rows)), "patch", "target")
    assert (target.alone.rate, target.behind.rate, target.change.n) == (1.0, 1.0, 5)


def test_without_a_defence_or_without_the_model_alone_there_is_nothing_to_compare() -> None:
    rows = filmed(5, alone=3, behind=1)
    assert defence_changes(recorded(rows, MODELS[:1])) == []
    assert defence_changes(recorded([row for row in rows if row.model == "m+jpeg"])) == []


def test_the_report_has_a_table_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    with SessionStore(folder / "session.db") as store:
        store.add(filmed(20, alone=15, behind=5))
    SessionRecord(target=TARGET, models=MODELS).save(folder / "session.json")
    page = write_report(folder).read_text(encoding="utf-8")
    assert "Behind the defence minus alone" in page and "-50.0 points [" in page
    assert "right with the grey control both alone and behind the defence" in page
