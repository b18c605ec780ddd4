"""Files and folders: written whole or not at all, by one process at a time, and errors that name them."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from calibration.common.errors import InputError
from calibration.common.files import (
    atomic_path,
    claimed,
    read_json,
    require_unclaimed,
    require_writable,
    require_writable_file,
    write_json,
    write_text,
)
from calibration.common.text import cleaned

CLAIM = """
import sys, time
from pathlib import Path
from calibration.common.files import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_a_folder_belongs_to_one_process_until_that_ends(tmp_path: Path) -> None:
    """However it ends: here it is killed."""
    folder = tmp_path / "run"
    started = [sys.executable, "-c", CLAIM, str(folder)]
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "claimed\n"
        with pytest.raises(InputError, match=r"another physpatch is writing in .*run; .* or use another --out"):
            claimed(folder).__enter__()
        with pytest.raises(InputError, match=r"another physpatch is writing in .*run; end it, or wait"):
            require_unclaimed(folder)
        other.kill()
    require_unclaimed(folder)
    with claimed(folder):
        (folder / "file").touch()
    assert list(folder.iterdir()) == [folder / "file"]  # a claim leaves nothing


def test_a_folder_that_was_not_needed_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unusable"), claimed(tmp_path / "new/run"):
        raise ValueError("unusable")
    assert not (tmp_path / "new/run").exists()
    (tmp_path / "old").mkdir()
    with claimed(tmp_path / "old"):
        pass
    assert (tmp_path / "old").is_dir()


def test_places_that_cannot_be_written_are_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/run"):
        with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); use another --out"):
            require_writable(folder)
    with pytest.raises(
        InputError, match=r"^.*file/a\.json cannot be written \(Not a directory\); give --json another file$"
    ):
        require_writable_file(tmp_path / "file/a.json", cure="give --json another file")
    require_writable(tmp_path / "new/run")
    require_writable(Path("relative/new"))
    require_writable_file(tmp_path / "file")
    require_writable_file(Path("/dev/null"))
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        require_writable_file(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
def test_a_full_disk_is_named_by_the_file_that_was_to_be_written() -> None:
    with pytest.raises(OSError, match="No space left on device") as error:
        write_text(Path("/dev/full"), "hello")
    assert error.value.filename == "/dev/full" and error.value.errno == errno.ENOSPC


def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "hello")
    assert os.read(reader, 100) == b"hello" and pipe.is_fifo()
    os.close(reader)


def test_an_error_names_the_file_and_not_its_stand_in(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as refused:
        write_text(tmp_path / "file/report.html", "")
    assert Path(refused.value.filename) == tmp_path / "file"
    with pytest.raises(OSError, match="broken") as error, atomic_path(tmp_path / "b.txt") as temporary:
        raise OSError(errno.EIO, "broken", str(temporary))
    assert error.value.filename == str(tmp_path / "b.txt")


def test_names_that_are_not_utf_8_survive_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json(tmp_path / "a.json", {"source": name})
    assert read_json(tmp_path / "a.json") == {"source": name}
    assert cleaned(name) == "caf\N{REPLACEMENT CHARACTER}.mp4" and cleaned("é\t\x1b🙂") == "é  🙂"


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"9" * 5000, b"{"])
def test_json_that_is_none_is_one_line_with_a_cure(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is not valid JSON.*; restore it from a backup, or create it again"):
        read_json(tmp_path / "a.json")


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    begun = "import sys, os; from pathlib import Path; from calibration.common.files import atomic_path\n"
    killed = begun + "with atomic_path(Path(sys.argv[1])) as file: file.write_text('half'); os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "a.json")], env=environment, check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.") and left.suffix == ".json"
    fresh = tmp_path / left.name.replace(".a.", ".b.")
    running = tmp_path / f".c.physpatch-{os.getppid()}.json"
    own = [
        tmp_path / name for name in (".notes-2024.txt", ".physpatch-12", ".d.physpatch-x.json", "e.physpatch-9.json")
    ]
    for file in (fresh, running, *own):
        file.write_text("")
    for file in (left, running, *own):
        os.utime(file, (0, 0))
    with atomic_path(tmp_path / "f.json") as temporary:
        temporary.write_text("{}")
    assert {*tmp_path.iterdir()} == {fresh, running, *own, tmp_path / "f.json"}
