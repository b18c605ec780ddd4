"""Move runs and sessions between machines: packed with what they need, unpacked with care, and removed."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from calibration.common.errors import InputError
from calibration.common.files import DAMAGED_ZIP, atomic_path, require_unclaimed
from calibration.common.text import size_words
from captures.results.recorded_session import kind_of
from captures.results.session_record import SESSION_FILE, SessionRecord
from captures.session.live_session import SESSIONS_FOLDER
from physpatch.records.run_paths import LATEST, RUNS_FOLDER, mark_as_latest
from physpatch.records.run_record import RUN_FILE

_LARGEST_FILE_BYTES, _LARGEST_BYTES = 8 * 2**30, 16 * 2**30  # unpacked: of one file, and of all
_MOST_FILES = 500_000
_MOST_RATIO = 100  # of unpacked to packed: databases pack at most tenfold
_RATIO_FROM_BYTES = 256 * 2**20  # what is smaller does no harm
_STORED = frozenset({".jpg", ".jpeg", ".png", ".mp4", ".pdf", ".safetensors", ".parquet"})  # hardly become smaller


def export(folders: list[Path], out: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Pack runs and sessions into a zip, each session with its run and its sheet, as ``runs/…`` and ``sessions/…``.

    A session's paths in the zip lead to what lies beside it there. Links are not followed but to files of the same folder.

    Args:
        folders: of runs and sessions.
        out: the zip.
        say: receives what is left out.

    Returns:
        ``out``.

    Raises:
        InputError: a folder that is neither a run nor a session, or that is being written, two of the same name, or ``out`` in
            one of them.
    """
    with (
        atomic_path(out) as temporary,  # files older than 1980, as in container images, are packed as of then
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive,
    ):
        packed: dict[str, Path] = {}
        for folder in folders:
            _pack(folder.resolve(), archive, packed, say)
    return out


def unpack(file: Path, into: Path) -> list[Path]:
    """Unpack what :func:`export` packed into a folder, beside what is there; return the new runs and sessions.

    Raises:
        InputError: not such a zip, too large, a path that leads elsewhere, or a run or session that is there already. Nothing
            is written then.
    """
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        with zipfile.ZipFile(file) as archive, TemporaryDirectory(dir=into, prefix=".unpacking-") as temporary:
            names = [_checked(info, file) for info in archive.infolist()]
            _check_sizes(archive.infolist(), file, into)
            tops = sorted({PurePosixPath(*name.parts[:2]) for name in names})
            for top in tops:
                if (into / top).exists():
                    raise InputError(f"{into / top} exists already; move it away, or unpack into another folder")
            archive.extractall(temporary)
            for top in tops:
                if kind_of(Path(temporary) / top) is None:
                    raise InputError(f"{file} was not written by `physpatch runs export`: {top} is no run or session")
            for top in tops:
                (into / top).parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / top).rename(into / top)
            return [into / top for top in tops]
    except (*DAMAGED_ZIP, RuntimeError) as error:  # the latter for one with a password
        raise InputError(f"{file} is not a zip that can be read ({error}); export it again") from error


def _check_sizes(members: list[zipfile.ZipInfo], file: Path, into: Path) -> None:
    """Refuse what would fill the disk. No member can be larger than it says, because reading it ends there.

    Members may share their bytes, so all together are compared with the size of the zip itself.
    """
    largest = max(members, key=lambda info: info.file_size, default=None)
    if largest is None:
        raise InputError(f"{file} is empty; export it again")
    total = sum(info.file_size for info in members)
    member = f"{largest.filename} in {file}"
    for words, size, packed, most in (
        (member, largest.file_size, largest.compress_size, _LARGEST_FILE_BYTES),
        (f"all of {file}", total, file.stat().st_size, _LARGEST_BYTES),
    ):
        if size > most:
            raise InputError(
                f"{words} would take {size_words(size)}; at most {size_words(most)} are unpacked. If you trust it, use `unzip`"
            )
        if size > max(_RATIO_FROM_BYTES, _MOST_RATIO * packed):
            raise InputError(
                f"{words} would grow from {size_words(packed)} to {size_words(size)}, as no run or session does; "
                "it is damaged, or made to fill disks"
            )
    if len(members) > _MOST_FILES:
        raise InputError(f"{file} holds {len(members)} files; at most {_MOST_FILES} are unpacked")
    if total > (free := shutil.disk_usage(into).free):
        raise InputError(
            f"all of {file} would take {size_words(total)}, but {into} has {size_words(free)} free; free some space"
        )


def remove(folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
    """Delete a run or session with all its files; ``runs/latest`` then leads to the newest run that is left, if any.

    Args:
        folder: of the run or session.
        say: receives why ``runs/latest`` could not be changed.

    Raises:
        InputError: the folder is neither, or another process is writing in it.
    """
    if kind_of(folder) is None:
        raise InputError(f"{folder} is neither a run nor a session, so it is left as it is")
    require_unclaimed(folder)
    whole = folder.resolve()
    was_latest = LATEST.is_symlink() and LATEST.resolve() == whole
    shutil.rmtree(whole)
    if folder.is_symlink():
        folder.unlink()
    if was_latest:
        LATEST.unlink(missing_ok=True)
        runs = [run for run in RUNS_FOLDER.iterdir() if kind_of(run) == "run"]
        if runs:
            mark_as_latest(max(runs, key=lambda run: (run / RUN_FILE).stat().st_mtime), say)


def _pack(folder: Path, archive: zipfile.ZipFile, packed: dict[str, Path], say: Callable[[str], None]) -> str:
    """Add a run or session; return its name in the zip."""
    kind = kind_of(folder)
    if kind is None:
        raise InputError(f"{folder} is neither a run nor a session; give the folder of one")
    if Path(str(archive.filename)).resolve().is_relative_to(folder):
        raise InputError(f"--out lies in {folder}, which is packed; choose a place outside of it")
    name = f"{RUNS_FOLDER if kind == 'run' else SESSIONS_FOLDER}/{folder.name}"
    if name in packed:
        if packed[name] != folder:
            raise InputError(f"{folder} and {packed[name]} have the same name; export them one by one")
        return name
    require_unclaimed(folder)
    packed[name] = folder
    record = _record_in_zip(folder, name, archive, packed, say) if kind == "session" else None
    for file in _files(folder, say):
        if record is not None and file == folder / SESSION_FILE:
            archive.writestr(f"{name}/{SESSION_FILE}", record)
        else:
            how = zipfile.ZIP_STORED if file.suffix.lower() in _STORED else zipfile.ZIP_DEFLATED
            archive.write(file, f"{name}/{file.relative_to(folder).as_posix()}", how)
    return name


def _record_in_zip(
    folder: Path, name: str, archive: zipfile.ZipFile, packed: dict[str, Path], say: Callable[[str], None]
) -> str | None:
    """Pack what a session names, and return its record with the paths to it there; None without a record."""
    if not (folder / SESSION_FILE).is_file():
        return None
    record = SessionRecord.of(folder)
    changes: dict[str, str] = {}
    if record.run is not None:
        run = (folder / record.run).resolve()
        owner = run if run.is_dir() else run.parent
        if kind_of(owner) == "run":
            run_name = _pack(owner, archive, packed, say)
            changes["run"] = os.path.relpath(f"{run_name}/{run.relative_to(owner).as_posix()}", name)
    if record.sheet is not None:
        sheet = (folder / record.sheet).resolve()
        if sheet.is_file():
            home = next((place for place, packed_folder in packed.items() if sheet.is_relative_to(packed_folder)), None)
            if home is None:
                archive.write(sheet, f"{name}/{sheet.name}")
                changes["sheet"] = sheet.name
            else:
                changes["sheet"] = os.path.relpath(f"{home}/{sheet.relative_to(packed[home]).as_posix()}", name)
    return json.dumps(record.changed(**changes).to_dict(), indent=2, ensure_ascii=False) + "\n"


def _files(folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield the files of a folder.

    What a link leads to elsewhere is not the folder's, and links to folders in it repeat what is there.
    """
    for parent, folders, names in os.walk(folder):
        inside = []
        for path in (Path(parent) / name for name in sorted((*folders, *names))):
            if path.is_symlink() and not path.resolve().is_relative_to(folder):
                say(f"left out: {path}, a link that leads out of {folder}")
            elif path.is_file():
                inside.append(path)
        yield from inside


def _checked(info: zipfile.ZipInfo, file: Path) -> PurePosixPath:
    """Return the path of a member, which must be that of a file in ``runs/NAME`` or ``sessions/NAME``."""
    path = PurePosixPath(info.filename)
    tops = (RUNS_FOLDER.name, SESSIONS_FOLDER.name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 3 or path.parts[0] not in tops:
        raise InputError(f"{file} was not written by `physpatch runs export`: it holds {info.filename!r}")
    return path
