"""What the torture bench does to files, and how it judges what reads them."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torture_readers
from support import frame_row
from torture_kills import Kill, _damaged, _left, _left_open, run_kills
from torture_mutants import Tally
from torture_mutations import mutate

from calibration.common.errors import InputError
from captures.results.session_record import SessionRecord
from captures.storage import SessionStore

_TEXTS = {
    "json": '{"a": {"b": [1, 2.5, "x"]}, "c": null}',
    "toml": 'a = 1\nb = [1.5, 2]\n[c]\nd = "x"\n',
    "csv": "step,loss\n1,0.5\n2,0.25\n",
    "bytes": "any bytes",
}


@pytest.mark.parametrize("form", _TEXTS)
def test_equal_seeds_damage_a_file_alike(form: str, tmp_path: Path) -> None:
    damaged: list[list[bytes]] = [[], []]
    for round_ in damaged:
        for seed in range(30):
            file = tmp_path / f"a.{form}"
            file.write_text(_TEXTS[form])
            assert mutate(file, form, random.Random(seed))
            round_.append(file.read_bytes())
    assert damaged[0] == damaged[1]
    assert sum(data != _TEXTS[form].encode() for data in damaged[0]) > 20


def test_a_damaged_link_leaves_its_original(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "whole.db") as store:
        store.add([frame_row(number, "patch", 0, "red thing") for number in range(1, 4)])
    whole = (tmp_path / "whole.db").read_bytes()
    for seed in range(20):
        file = tmp_path / "session.db"
        file.hardlink_to(tmp_path / "whole.db")
        mutate(file, "sqlite", random.Random(seed))
        assert (tmp_path / "whole.db").read_bytes() == whole
        file.unlink()
    with closing(sqlite3.connect(tmp_path / "whole.db")) as database:
        assert database.execute("SELECT count(*) FROM frames").fetchone() == (3,)


def _leave(code: int | None) -> None:
    raise SystemExit(code)


def _refuse() -> None:
    raise InputError("it is damaged")


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (lambda: None, "survived"),
        (_refuse, "survived"),
        (lambda: _leave(1), "survived"),
        (lambda: _leave(2), "refused without a line"),
        (lambda: _leave(3), "exit code"),
        (lambda: [].pop(), "traceback"),
    ],
)
def test_only_what_is_said_in_words_survives(reader, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(torture_readers.READERS, "it", reader)
    assert torture_readers.read("it").kind == kind


def test_a_sheet_is_read_as_a_session_reads_it(session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (session / "raw").mkdir(exist_ok=True)
    cv2.imwrite(str(session / "raw/000001.jpg"), np.zeros((480, 640, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert torture_readers.read("live sheet") == torture_readers.Outcome("survived")


def test_what_is_cut_off_or_left_over_is_found(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/whole.json").write_text(json.dumps({"a": 1}))
    assert not [*_damaged(tmp_path), *_left(tmp_path)]
    (tmp_path / "run/cut.json").write_text('{"a":')
    (tmp_path / "run/.report.physpatch-123.html").write_text("<html>")
    assert [words.partition(" ")[0] for words in _damaged(tmp_path)] == ["cut.json"]
    assert list(_left(tmp_path)) == ["left over: .report.physpatch-PID.html"]


def test_kills_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def attempt(number: int, *_: object) -> Kill:
        if len(tried) == 3:
            raise KeyboardInterrupt
        tried.append(number)
        return Kill(number, "train", "SIGKILL", 0.5, ["the resumed patch differs"] if number == 1 else [])

    monkeypatch.setattr("torture_kills._try", attempt)
    monkeypatch.setattr("torture_kills._undisturbed", lambda *_: {"train": 1.0})
    tally = Tally()
    with pytest.raises(KeyboardInterrupt):
        run_kills(5, 0, tmp_path, tally)
    with open(tmp_path / "kills-0.jsonl", "a", encoding="utf-8") as notes:
        notes.write('\n{"number": 3, "jo')  # the bench itself was killed
    assert (tally.tried, tally.to_dict()["lost"]) == (3, 1)
    tried.clear()
    again, said = Tally(), []
    run_kills(5, 0, tmp_path, again, said.append)
    assert tried == [3, 4] and (again.tried, again.to_dict()["survived"]) == (5, 4)
    assert said == [f"{n}/5 train SIGKILL at 0.50 of 1.0 s: nothing lost" for n in (4, 5)]
    assert again.lost == {"train: the resumed patch differs": 1}
    run_kills(5, 0, tmp_path, once_more := Tally())
    assert tried == [3, 4] and once_more.tried == 5


@pytest.mark.parametrize(
    ("status", "exported", "lost"),
    [("ended", True, []), ("recording", True, ["still recording after SIGTERM"]), ("ended", False, ["no frames.csv"])],
)
def test_a_session_that_was_asked_to_end_is_closed(
    status: str, exported: bool, lost: list[str], tmp_path: Path
) -> None:
    with SessionStore(tmp_path / "session.db") as store:
        store.add([frame_row(1, "patch", 0, "red thing")])
    SessionRecord(status=status).save(tmp_path / "session.json")
    if exported:
        (tmp_path / "frames.csv").touch()
    assert [words.removesuffix(" after SIGTERM") for words in _left_open(tmp_path)] == [
        words.removesuffix(" after SIGTERM") for words in lost
    ]
