"""Runs and sessions are listed, tagged, shown, packed, unpacked and removed."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from support import BLUE, CHROMIUM, CommandResult, frame_row

from calibration.common.errors import InputError
from calibration.common.files import claimed
from calibration.common.text import number_of, size_words
from captures.archive import transfer
from captures.archive.entries import list_entries, read_entry, read_tags, write_tags
from captures.archive.gallery import write_gallery
from captures.archive.transfer import export, remove, unpack
from captures.report.sections.pictures import key_frames
from captures.results.recorded_session import RecordedSession
from captures.storage import SessionStore
from physpatch.records.config import TrainConfig
from physpatch.records.patch_file import Patch
from physpatch.records.run_paths import mark_as_latest
from physpatch.records.run_record import RunData, RunRecord, WeightsRecord


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    data = RunData(source="samples", train=1, held_out=1, train_fingerprint="a", held_out_fingerprint="b")
    weights = WeightsRecord(model="tiny", task="classify", source="file", sha256="c")
    config = TrainConfig().to_dict()
    RunRecord(config=config, seed=0, device="cpu", weights=weights, data=data, status="finished").save(
        folder / "run.json"
    )
    Patch(np.zeros((10, 10, 3), np.uint8), BLUE).save(folder)
    (folder / "sheet.pdf").write_bytes(b"%PDF-1.4 sheet")
    return folder


def make_session(folder: Path, run: str = "../../runs/a", hits: int = 9) -> Path:
    with SessionStore(folder / "session.db") as store:
        for clip in range(20):
            for at, (condition, top) in enumerate(
                [("grey", "red thing"), ("patch", "blue thing" if clip < hits else "red thing")]
            ):
                store.add([frame_row(2 * clip + at + 1, condition, clip, top)])
    record = {"target": "blue thing", "begun": "2026-01-02T03:04:05+0000", "run": run, "sheet": f"{run}/sheet.pdf"}
    (folder / "session.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run and a session of it, in which the user is."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/a")
    mark_as_latest(Path("runs/a"), print)
    make_session(tmp_path / "sessions/s")
    return tmp_path


def test_every_run_and_session_is_listed_once_with_its_numbers(home: Path) -> None:
    session, run = sorted(list_entries(), key=lambda entry: entry.kind, reverse=True)
    assert (run.kind, run.model, run.facts) == ("run", "tiny", ("10 × 10 cells", "pgd"))
    assert session.kind == "session" and session.verdict == "Yes, at times"
    assert session.camera is not None and session.camera.rate == pytest.approx(0.45)
    assert session.control is not None and session.control.rate == 0
    assert session.changed.isoformat() == "2026-01-02T03:04:05+00:00" and session.facts == ("camera", "20 clips")
    assert {entry.folder.name for entry in list_entries([home])} == {"a", "s"}
    with pytest.raises(InputError, match="no folder nowhere"):
        list_entries([Path("nowhere")])


def test_a_session_that_was_analysed_again_says_so(home: Path) -> None:
    again = make_session(home / "sessions/again")
    origin = {"session": "../s", "frames": 40, "whole": 40, "lossy": 0}
    record = json.loads((again / "session.json").read_text()) | {"reanalysis": origin}
    (again / "session.json").write_text(json.dumps(record))
    entry = read_entry(again)
    assert entry.facts == ("camera", "20 clips", "analysed again from s")
    assert "analysed again from s" in write_gallery([entry], home / "gallery.html").read_text()


def test_a_damaged_one_is_listed_with_its_trouble(home: Path) -> None:
    record = json.loads((home / "runs/a/run.json").read_text())
    record["config"]["optimisation"] = None
    (home / "runs/a/run.json").write_text(json.dumps(record))
    assert {entry.kind for entry in list_entries()} == {"run", "session"}
    (home / "runs/a/run.json").write_text("{")
    (home / "sessions/s/session.db").write_bytes(b"no database at all, but long enough to be one" * 99)
    assert all(entry.trouble for entry in list_entries())
    (home / "sessions/s/session.db").unlink()
    (home / "sessions/s/frames.csv").write_text("frame\n")
    assert len(list_entries()) == 2


def test_files_that_are_no_key_frames_are_passed_over(home: Path) -> None:
    frames = home / "sessions/s/frames"
    before = key_frames(frames.parent)
    frames.mkdir(exist_ok=True)
    for name in ("._000001-patch.jpg", "notes.jpg", "-patch.jpg"):
        (frames / name).write_bytes(b"of a file manager")
    assert key_frames(frames.parent) == before
    assert not any(entry.trouble for entry in list_entries())


def test_tags_stay(home: Path) -> None:
    folder = home / "runs/a"
    assert write_tags(folder, ["paper", "blue"]) == ("blue", "paper")
    assert write_tags(folder, ["third"], ["blue"]) == read_tags(folder) == ("paper", "third")
    assert next(entry for entry in list_entries() if entry.kind == "run").tags == ("paper", "third")
    for bad in ("", "two\nlines", "x" * 41):
        with pytest.raises(InputError, match="is no tag"):
            write_tags(folder, [bad])
    with pytest.raises(InputError, match="neither a run nor a session"):
        write_tags(home, ["x"])


def test_a_session_takes_its_run_and_sheet_to_another_machine(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = tmp_path_factory.mktemp("there")
    unpacked = unpack(export([home / "sessions/s"], home / "s.zip"), there)
    assert [path.relative_to(there).as_posix() for path in unpacked] == ["runs/a", "sessions/s"]
    session = RecordedSession.open(there / "sessions/s")
    assert session.run is not None and session.run.resolve() == there / "runs/a"
    assert session.sheet is not None and session.sheet.read_bytes() == b"%PDF-1.4 sheet"
    assert len(session.rows) == 40
    with pytest.raises(InputError, match="exists already"):
        unpack(home / "s.zip", there)


def test_a_run_and_a_sheet_from_elsewhere_come_along(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("there")
    elsewhere = make_run(tmp_path_factory.mktemp("other") / "deep/b")
    loose = elsewhere.parent / "loose.pdf"
    loose.write_bytes(b"%PDF-1.4 loose")
    session = make_session(home / "film", run=str(elsewhere / "patch.json"))
    record = json.loads((session / "session.json").read_text()) | {"sheet": str(loose)}
    (session / "session.json").write_text(json.dumps(record))
    unpack(export([session, home / "runs/a"], home / "all.zip"), there)
    moved = json.loads((there / "sessions/film/session.json").read_text())
    assert moved["run"] == "../../runs/b/patch.json" and moved["sheet"] == "loose.pdf"
    assert (there / "sessions/film/loose.pdf").read_bytes() == b"%PDF-1.4 loose" and (there / "runs/a").is_dir()
    assert json.loads((session / "session.json").read_text()) == record  # the original is as it was


@pytest.mark.parametrize("name", ["../evil/run.json", "/tmp/evil/run.json", "runs/../../evil", "notes.txt", "runs/a"])
def test_a_zip_that_leads_elsewhere_writes_nothing(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("runs/good/run.json", "{}")
        archive.writestr(name, "{}")
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(InputError, match="was not written by"):
        unpack(tmp_path / "x.zip", into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("_LARGEST_FILE_BYTES", 999_999, r"runs/a/big in .* would take 1.0 MB; at most 1000 kB"),
        ("_LARGEST_BYTES", 1_000_000, r"all of .* would take 1.0 MB; at most 1.0 MB"),
        ("_RATIO_FROM_BYTES", 100_000, "would grow from [0-9]+ B to 1.0 MB"),
        ("_MOST_FILES", 1, "holds 2 files; at most 1"),
    ],
)
def test_a_zip_that_would_fill_the_disk_writes_nothing(
    limit: str, value: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/a/run.json", "{}")
        archive.writestr("runs/a/big", bytes(1_000_000))
    into = tmp_path / "into"
    into.mkdir()
    monkeypatch.setattr(transfer, limit, value)
    with pytest.raises(InputError, match=words):
        unpack(tmp_path / "x.zip", into)
    assert list(into.iterdir()) == []


def test_half_a_gigabyte_of_zeros_is_refused_without_a_lowered_limit(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("runs/a/run.json", "w") as member,
    ):
        for _ in range(8):
            member.write(bytes(2**26))
    with pytest.raises(InputError, match="made to fill disks"):
        unpack(tmp_path / "x.zip", tmp_path)


def test_members_that_share_their_bytes_are_counted_together(tmp_path: Path) -> None:
    """The zip's directory names one member many times, each within the ratio of a member."""
    noise = np.random.default_rng(0).integers(0, 2, 2**20, np.uint8).tobytes()  # packs about six times
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/a/run.json", noise)
        for number in range(1000):
            twin = copy(archive.infolist()[0])
            twin.filename = f"runs/a/{number}"
            archive.filelist.append(twin)
    with pytest.raises(InputError, match=r"all of .* would grow"):
        unpack(tmp_path / "x.zip", tmp_path)


def test_a_zip_for_which_there_is_no_room_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("runs/a/run.json", "{}")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(InputError, match="has 1 B free; free some space"):
        unpack(tmp_path / "x.zip", tmp_path)


def test_a_zip_with_a_damaged_stream_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/a/run.json", "".join(map(str, range(1000))))
    content = bytearray(path.read_bytes())
    stream = 30 + len("runs/a/run.json")  # after the member's header
    content[stream : stream + 40] = bytes([0xFF]) * 40
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a zip that can be read"):
        unpack(path, tmp_path)


def test_a_damaged_zip_of_another_packing_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("runs/a/run.json", "".join(map(str, range(1000))))
    content = bytearray(path.read_bytes())
    content[60:200] = bytes([0xFF]) * 140
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a zip that can be read"):
        unpack(path, tmp_path)


def test_a_zip_is_not_packed_into_itself(home: Path) -> None:
    for place in (home / "sessions/s/s.zip", home / "runs/a/s.zip"):  # the session takes its run along
        with pytest.raises(InputError, match=r"--out lies in .*, which is packed"):
            export([home / "sessions/s"], place)
        assert not place.exists()


def test_links_that_lead_out_of_what_is_packed_are_left_out_and_named(home: Path) -> None:
    (home / "elsewhere").mkdir()
    (home / "elsewhere/secret").write_text("key")
    (home / "sessions/s/frames.txt").write_text("frames")
    for name, to in (("inside", "frames.txt"), ("raw", "../../elsewhere"), ("secret", "../../elsewhere/secret")):
        (home / "sessions/s" / name).symlink_to(to)
    said: list[str] = []
    with zipfile.ZipFile(export([home / "sessions/s"], home / "s.zip", said.append)) as archive:
        names = {name.removeprefix("sessions/s/") for name in archive.namelist() if name.startswith("sessions/s/")}
        assert archive.read("sessions/s/inside") == b"frames"
    assert {"frames.txt", "inside"} <= names and not {"raw", "secret", "raw/secret"} & names
    assert [line.split(",")[0] for line in said] == [
        f"left out: {home / 'sessions/s' / name}" for name in ("raw", "secret")
    ]


def test_what_is_being_written_is_neither_removed_nor_packed(home: Path) -> None:
    """A training or a session lost its folder while it wrote there, and half a database was packed."""
    with claimed(home / "runs/a"):
        for touch in (lambda: remove(Path("runs/latest")), lambda: export([home / "sessions/s"], home / "s.zip")):
            with pytest.raises(InputError, match=r"another physpatch is writing in .*; end it, or wait"):
                touch()
    assert (home / "runs/a/run.json").is_file() and not (home / "s.zip").exists()
    remove(Path("runs/latest"))
    assert not (home / "runs/a").exists()


def test_what_is_given_twice_is_packed_once(home: Path) -> None:
    (home / "sessions/s/session.json").unlink()  # by which what was packed already was known
    with zipfile.ZipFile(export([home / "sessions/s", home / "sessions/../sessions/s"], home / "s.zip")) as archive:
        assert archive.namelist() == ["sessions/s/session.db"]


def test_files_of_any_date_are_packed(home: Path) -> None:
    """Those of container images are often of 1970, and a zip begins in 1980."""
    os.utime(home / "runs/a/run.json", (0, 0))
    with zipfile.ZipFile(export([home / "runs/a"], home / "a.zip")) as archive:
        assert archive.getinfo("runs/a/run.json").date_time[0] == 1980


def test_an_empty_zip_is_no_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w"):
        pass
    with pytest.raises(InputError, match="is empty"):
        unpack(tmp_path / "x.zip", tmp_path)


def test_what_is_no_zip_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 rubbish")
    for name, words in (("x.zip", "not a zip that can be read"), ("y.zip", "no file")):
        with pytest.raises(InputError, match=words):
            unpack(tmp_path / name, tmp_path)


def test_removing_the_latest_run_leaves_the_newest(home: Path) -> None:
    make_run(home / "runs/b")
    remove(Path("runs/latest"))
    assert not (home / "runs/a").exists() and (home / "runs/latest").resolve() == home / "runs/b"
    with pytest.raises(InputError, match="left as it is"):
        remove(home)
    remove(home / "runs/b")
    assert not (home / "runs/latest").is_symlink()


def test_tagging_and_removing_name_a_next_command(home: Path, command: Callable[..., CommandResult]) -> None:
    assert command("runs", "tag", "runs/a", "paper").err == "Next: physpatch gallery\n"
    done = command("runs", "remove", "runs/a", "--yes")
    assert done.code == 0 and done.err.endswith("Next: physpatch runs\n")


def test_the_commands_of_runs_list_tag_pack_and_unpack(home: Path, command: Callable[..., CommandResult]) -> None:
    listed = command("runs")
    assert listed.code == 0 and "runs/a" in listed.out and "sessions/s" in listed.out
    entries = {entry["folder"]: entry for entry in json.loads(command("runs", "--json", "-").out)}
    assert {name: entry["kind"] for name, entry in entries.items()} == {"runs/a": "run", "sessions/s": "session"}
    assert [entry["folder"] for entry in json.loads(command("runs", "--in", "runs", "--json", "-").out)] == ["runs/a"]
    command("runs", "--in", "runs", "tag", "runs/a").assert_refused(
        "--in is for the list, not for `physpatch runs tag`"
    )
    command("runs", "tag", "runs/a", "paper", "old")
    assert command("runs", "tag", "runs/a", "--remove", "old").out == "paper\n"
    assert command("runs", "export", "sessions/s", "--out", "one.zip").code == 0
    unpacked = command("runs", "unpack", "one.zip", "--into", "elsewhere")
    assert unpacked.code == 0 and Path("elsewhere/sessions/s/session.json").is_file()
    assert {Path(line) for line in unpacked.out.splitlines()} == {
        Path("elsewhere/runs/a"),
        Path("elsewhere/sessions/s"),
    }
    assert command("gallery", "--out", "all.html").out == "all.html: 2 runs and sessions\n"
    assert command("gallery", "runs").out == "gallery.html: 1 run or session\n"
    assert "Yes, at times" in Path("all.html").read_text()  # the session's verdict


@pytest.mark.parametrize(("answer", "there"), [("n\n", True), ("y\n", False), ("", True)])
def test_nothing_is_deleted_without_a_yes(
    answer: str, there: bool, home: Path, command: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    done = command("runs", "remove", "sessions/s")
    assert Path("sessions/s").exists() == there
    if not answer:
        done.assert_refused("nobody answered, so nothing was deleted; add --yes")


def test_sizes_and_numbers_are_for_people() -> None:
    assert [number_of(n, "clip") for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [size_words(size) for size in (0, 999, 1500, 123_456_789, 2**40)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "123 MB",
        "1.1 TB",
    ]


def test_the_gallery_sorts_filters_and_can_be_read_aloud(home: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium here: install Debian's chromium to test the gallery in a browser")
    make_session(home / "sessions/<b>t", hits=19)
    write_tags(home / "sessions/s", ['odd  "tag"'])
    (home / "sessions/s/report.html").write_text("report")
    path = write_gallery(list_entries(), home / "gallery.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
            page.on("pageerror", lambda error: pytest.fail(str(error)))
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert Axe().run(page).response["violations"] == []
        shown = page.locator(".card:visible h2")
        page.select_option("#order", "camera")
        assert shown.all_inner_texts() == ["<b>t", "s", "a"]
        page.select_option("#tag", 'odd  "tag"')
        assert shown.all_inner_texts() == ["s"] and page.inner_text("#count") == "1 shown"
        assert page.locator(".card:visible a").get_attribute("href") == "sessions/s/report.html"
        page.select_option("#tag", "")
        page.fill("#words", "TINY")
        assert shown.all_inner_texts() == ["a"]
        browser.close()
