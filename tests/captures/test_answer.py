"""The first screen: its answer follows from the numbers, and its commands fit the session."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support import frame_row

from captures.report.answer import answer_of, next_steps, numbers_words, unanswered_words
from captures.report.blocks import Gallery, NextSteps, Numbers, Text
from captures.report.first_screen import first_screen
from captures.results.recorded_session import RecordedSession
from captures.results.session_record import RigRecord, SessionRecord
from captures.storage import FrameRow
from physpatch.records.config import TrainConfig
from physpatch.stats.intervals import Rate


def session(
    clips: int, hits: dict[str, int], *, px_per_cell: float = 8.0, folder: Path = Path("sessions/a"), **record: object
) -> RecordedSession:
    """One frame of each sheet in each clip; the first ``hits`` clips of a sheet reach the target."""
    rows, frame = [], 0
    for clip in range(clips):
        for condition, successes in hits.items():
            frame += 1
            said = "horn" if clip < successes else "cat"
            rows.append(
                frame_row(
                    frame=frame,
                    clip=clip,
                    condition=condition,
                    top1=said,
                    label="cat",
                    target_score=0.5,
                    px_per_cell=px_per_cell,
                    success=int(said == "horn"),
                )
            )
    return RecordedSession(folder, SessionRecord(target="horn", **record), rows)


@pytest.mark.parametrize(
    ("clips", "hits", "verdict", "words"),
    [
        (7, {"patch": 0, "grey": 0}, "Not shown", "0 of 7 clips; with so few, up to 35 % is possible"),
        (40, {"patch": 36, "grey": 0, "random": 0}, "Yes", "36 of 40 clips (77 to 96 % in others like these)"),
        (40, {"patch": 16, "grey": 0}, "Yes, at times", "with the grey control in 0 of 40 clips"),
        (8, {"patch": 2, "grey": 0}, "Not clear", "no more than chance may give"),
        (40, {"patch": 30, "random": 30}, "Not clear", "with the random control in 30 of 40 clips"),
        (40, {"patch": 0, "grey": 0, "random": 0}, "Not shown", "0 of 40 clips"),
        (40, {"patch": 30}, "Seen, but not against a harmless sheet", "No control was filmed"),
        (2, {"patch": 1, "grey": 0}, "Not clear", "% in others like these: so few clips tell little of them)"),
        (1, {"patch": 1, "grey": 0}, "One clip tells little", "in 100 % of the views counted; other clips may differ"),
    ],
)
def test_the_verdict_follows_from_the_numbers(clips: int, hits: dict[str, int], verdict: str, words: str) -> None:
    answer = answer_of(session(clips, hits))
    assert answer is not None and answer.verdict == verdict and words in answer.sentence
    assert answer.measure == "target" and answer.question.endswith("still make m see “horn”?")


def test_what_thousands_did_not_show_is_still_possible() -> None:
    """Up to 0 % was possible, which is never."""
    words = numbers_words("target", Rate(0.0, (0.0, 0.00098), 3925), {}, "photographs", None)
    assert words.endswith("in 0 of 3925 photographs; with so few, up to 0.1 % is possible.")


def test_a_wide_interval_says_how_many_clips_would_do() -> None:
    few, many = answer_of(session(10, {"patch": 4, "grey": 0})), answer_of(session(200, {"patch": 80, "grey": 0}))
    assert few is not None and many is not None and few.needed is not None and many.needed is None
    enough = answer_of(session(few.needed, {"patch": round(0.4 * few.needed), "grey": 0}))
    assert enough is not None and enough.needed is None
    assert f"{few.needed} clips would tell it to ± 10 points" in few.sentence


def test_clips_that_do_not_count_are_filmed_in_addition() -> None:
    """Of 69 clips of a session in which the model knows two thirds of the objects, 46 would count."""
    whole = session(12, {"patch": 4, "grey": 0})
    rows = [replace(row, label="dog") if row.clip >= 8 else row for row in whole.rows]
    part = answer_of(RecordedSession(whole.folder, whole.record, rows))
    enough = answer_of(session(8, {"patch": 4, "grey": 0}))
    assert part is not None and enough is not None and part.rate.n == 8 and part.rate == enough.rate
    assert enough.needed is not None and part.needed == math.ceil(enough.needed * 12 / 8)
    assert f"{part.needed} clips would tell it to ± 10 points" in part.sentence


def commands(recorded: RecordedSession) -> list[str]:
    return [step.command for step in next_steps(recorded, answer_of(recorded), [])]


def test_commands_fit_the_session() -> None:
    virtual = commands(session(6, {"patch": 3, "grey": 0}, virtual=True))
    assert virtual[0].startswith("physpatch live RUN --source virtual --headless --clips ")
    rendered = commands(session(6, {"patch": 3, "grey": 0}, virtual=True, scene="my room.toml"))
    assert "--source rendered --scene 'my room.toml'" in rendered[0]
    for frames, said in ((3, "virtual --headless"), (8, "virtual --frames-per-clip 8 --headless")):
        rig = RigRecord(seed=0, clips=6, frames_per_clip=frames)
        asked = commands(session(6, {"patch": 3, "grey": 0}, virtual=True, rig=rig))
        assert asked[0].startswith(f"physpatch live RUN --source {said} --clips ")
    bare = commands(session(60, {"patch": 30}, source="1"))
    assert bare[0] == "physpatch print RUN --size 10cm --controls"
    coarse = commands(session(100, {"patch": 30, "grey": 0}, px_per_cell=2.5, folder=Path("my sessions/b")))
    assert coarse[0] == "physpatch print RUN --size 20cm --controls"
    assert "physpatch train --from-session 'my sessions/b'" in coarse


@pytest.mark.parametrize(
    ("virtual", "learned"), [(False, "colours and scenes of this"), (True, "sizes and colours of this")]
)
def test_a_rigs_scenes_are_not_promised_to_the_next_training(virtual: bool, learned: str) -> None:
    recorded = session(100, {"patch": 30, "grey": 0}, virtual=virtual)
    assert any(learned in step.why for step in next_steps(recorded, answer_of(recorded), []))


def test_a_damaged_session_is_to_be_restored_and_teaches_no_training() -> None:
    recorded = session(6, {"patch": 3, "grey": 0}, folder=Path("s"))
    steps = next_steps(recorded, answer_of(recorded), [], whole=False)
    assert steps[0].command == "physpatch report s" and "Restore" in steps[0].why
    assert not any("train" in step.command for step in steps)


@pytest.mark.parametrize(("grid", "change"), [((10, 10), "--grid 20x20"), ((20, 20), "--steps 600")])
def test_a_patch_that_fails_on_photographs_too_is_trained_anew_first(
    grid: tuple[int, int], change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/a b", "sessions/a"):
        Path(folder).mkdir(parents=True)
    Path("runs/a b/run.json").touch()
    recorded = session(6, {"patch": 0, "grey": 0}, run="../../runs/a b")
    weak = TrainConfig.of(grid=grid, steps=300)
    assert "--config" not in " ".join(step.command for step in next_steps(recorded, answer_of(recorded), []))
    steps = next_steps(recorded, answer_of(recorded), [], weak=weak)
    assert steps[0].command == f"physpatch train --config 'runs/a b/run.json' {change}"


def test_a_session_without_an_answer_says_why_and_what_to_do(tmp_path: Path) -> None:
    nothing = RecordedSession(tmp_path, SessionRecord(), [frame_row(1, "none", 0, "cat", None)])
    assert answer_of(nothing) is None
    blocks = list(first_screen(nothing, []))
    assert blocks[0] == Text("Nothing to answer from", "verdict")
    (steps,) = (block for block in blocks if isinstance(block, NextSteps))
    assert steps.steps[0][1] == "physpatch print RUN --size 10cm --controls"


def test_a_sheet_that_is_not_the_runs_own_is_named(shared_sheet_pdf: Path, tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "session"
    for path in (run, folder):
        path.mkdir()
    (run / "run.json").touch()
    for path in (run / "sheet.pdf", tmp_path / "large sheet.pdf"):
        shutil.copyfile(shared_sheet_pdf, path)
    shown = {"run": "../run", "virtual": True, "scene": "approach"}
    rows = session(3, {"patch": 1, "grey": 0}, folder=folder).rows
    films = {
        sheet: commands(RecordedSession(folder, SessionRecord(target="horn", sheet=sheet, **shown), rows))[0]
        for sheet in ("../run/sheet.pdf", "../large sheet.pdf", "../gone.pdf")
    }
    assert f"--headless --sheet '{tmp_path}/large sheet.pdf' --clips" in films["../large sheet.pdf"]
    assert "--sheet" not in films["../run/sheet.pdf"] and "--sheet" not in films["../gone.pdf"]


def test_what_is_lacking_is_said_with_what_helps(tmp_path: Path) -> None:
    """All that was said of any such session: no sheet was recognised, or the class is unknown."""

    def said(*rows: FrameRow, **record: Any) -> tuple[str, list[str]]:
        recorded = RecordedSession(tmp_path, SessionRecord(target="horn", **record), rows)
        assert answer_of(recorded) is None
        return unanswered_words(recorded), commands(recorded)

    patch, grey = (frame_row(n, kind, 0, "dog", "cat", success=0) for n, kind in enumerate(("patch", "grey"), start=1))
    words, steps = said(patch, grey, virtual=True)
    assert words.startswith("No frame with the patch counts: not recognised with the grey control.")
    assert steps == ["physpatch live RUN --source virtual --headless --clips 93"]
    assert said(grey)[0] == "Only harmless sheets were recognised, none with the patch."
    unknown = replace(patch, label=None, success=None, target_score=None)
    words, steps = said(replace(unknown, condition="none"), source="1")
    assert words == "No printed sheet was recognised in any frame." and steps[1].endswith("--source 1 --label NAME")
    assert said()[0].startswith("The session has no frames")


def test_a_rig_that_has_shown_all_scenes_is_given_others() -> None:
    """It advised 107 clips of 12 scenes, and after them 86."""
    steps = commands(session(12, {"patch": 4, "grey": 0}, virtual=True, scenes=[n % 6 for n in range(12)]))
    assert steps[0] == "physpatch train --config RUN/run.json --data DIR"


def test_a_view_that_counts_is_shown(tmp_path: Path) -> None:
    """The only success was shown beside "0 %": one of a clip that the model gets wrong anyway."""
    (tmp_path / "frames").mkdir()
    rows = []
    for clip, (with_patch, with_grey) in enumerate([("horn", "dog"), ("cat", "cat")]):
        for number, (kind, top1) in enumerate((("patch", with_patch), ("grey", with_grey)), start=2 * clip + 1):
            rows.append(frame_row(number, kind, clip, top1, "cat", success=int(top1 == "horn")))
            cv2.imwrite(str(tmp_path / f"frames/{number:06d}-{kind}.jpg"), np.full((30, 40, 3), 40 * number, np.uint8))
    (gallery,) = (
        block
        for block in first_screen(RecordedSession(tmp_path, SessionRecord(target="horn"), rows), [])
        if isinstance(block, Gallery)
    )
    assert [picture.caption.partition(": ")[2] for picture in gallery.pictures] == ["cat, 90 %", "cat, 90 %"]


def test_numbers_stand_beside_their_null(tmp_path: Path) -> None:
    blocks = list(first_screen(session(20, {"patch": 10, "grey": 0, "random": 2}, folder=tmp_path), []))
    (numbers,) = (block for block in blocks if isinstance(block, Numbers))
    assert [(n.value, n.label) for n in numbers.items] == [
        ("50 %", "printed, on camera"),
        ("10 %", "the most harmful control: random"),
    ]


def test_patch_and_control_are_shown_at_like_distances(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    rows = []
    for number, (condition, distance) in enumerate(
        [("patch", 3.0), ("patch", 1.0), ("grey", 3.0), ("grey", 1.1), ("grey", 0.5)], start=1
    ):
        top1 = "horn" if (condition, distance) == ("patch", 1.0) else "cat"
        rows.append(frame_row(number, condition, 0, top1, "cat", success=int(top1 == "horn"), distance_m=distance))
        cv2.imwrite(str(tmp_path / f"frames/{number:06d}-{condition}.jpg"), np.full((30, 40, 3), 40 * number, np.uint8))
    shown = RecordedSession(tmp_path, SessionRecord(target="horn"), rows)
    (gallery,) = (block for block in first_screen(shown, []) if isinstance(block, Gallery))
    assert [picture.caption for picture in gallery.pictures] == [
        "the printed patch in a frame: horn, 90 %",
        "the same with a grey sheet: cat, 90 %",
    ]
    levels = [cv2.imdecode(np.frombuffer(p.data, np.uint8), cv2.IMREAD_GRAYSCALE).mean() for p in gallery.pictures]
    assert levels == pytest.approx([80, 160], abs=2)  # frames 2 and 4
