"""What reads each artefact: the commands that people type, and the parts of those whose models take too long to run."""

import contextlib
import functools
import io
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from torture_artefacts import BENCH

import cli
from calibration.common.errors import PhyspatchError
from calibration.common.pictures import read_picture

_ORDERLY = (None, 0, 1, 2)  # 1: the gate's answer


@dataclass(frozen=True)
class Outcome:
    """What became of a reader: ``survived``, or how it was lost, and where."""

    kind: str
    words: str = ""

    @property
    def survived(self) -> bool:
        """Return whether it did."""
        return self.kind == "survived"


def read(reader: str) -> Outcome:
    """Run a reader in the current folder, which has the artefacts."""
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stderr), warnings.catch_warnings():
            READERS[reader]()
    except (PhyspatchError, OSError) as error:
        return Outcome("survived", f"{type(error).__name__}: {error}"[:300])
    except SystemExit as error:
        words = stderr.getvalue().strip()
        if error.code not in _ORDERLY:
            return Outcome("exit code", f"{error.code}: {words[-300:]}")
        refused = error.code == 2 and not any(line.startswith("Error: ") for line in words.splitlines()[-1:])
        return Outcome("refused without a line" if refused else "survived", words[-300:])
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "site-packages" not in f.filename and "/lib/python" not in f.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
        return Outcome(
            "traceback", f"{type(error).__name__}: {error}"[:200] + f" at {place} {own[-1].name if own else ''}"
        )
    return Outcome("survived")


def _command(*words: str) -> Callable[[], None]:
    def run() -> None:
        with mock.patch.object(sys, "argv", ["physpatch", *words]):
            cli.main()

    return run


def _resume_run() -> None:
    """Resume a run, without what measures and draws its patch: that reads nothing of it."""
    from physpatch.training import run

    with (
        mock.patch.object(run, "_prepare", _materials),
        mock.patch.object(run, "_measure", lambda *_: None),
        mock.patch.object(run, "save_eot_samples", lambda *_: None),
    ):
        run.resume_run(Path("run"), steps=3, say=lambda _: None)


def _materials(config: Any, processes: Any, say: Any, choosing: Any = None) -> tuple[Any, Any]:
    from physpatch.training import run

    key = repr(config)
    if key not in _PREPARED:
        if len(_PREPARED) > 3:
            _PREPARED.clear()
        with mock.patch.object(run, "_prepare", _PREPARE):
            _PREPARED[key] = _PREPARE(config, processes, say, choosing)
    return _PREPARED[key]


def _prepare() -> Callable[..., Any]:
    from physpatch.training import run

    return run._prepare


_PREPARE = _prepare()
_PREPARED: dict[str, Any] = {}


def _learn() -> None:
    from captures.workflows import session_training

    with mock.patch.object(session_training, "load_victim", _victim):
        session_training.config_from_session(Path("session"), {}, None, lambda _: None)


@functools.cache
def _loaded() -> Any:
    from physpatch.victims.registry import load_victim

    return load_victim("efficientnet_lite0", device="cpu")


def _victim(*_: Any, **__: Any) -> Any:
    return _loaded()


def _resume_session() -> None:
    """Read what ``live --resume`` reads, as if a camera had filmed it."""
    from captures.results.session_record import SessionRecord
    from captures.session import resumption

    record = SessionRecord.of(Path("session")).changed(virtual=False)
    with mock.patch.object(resumption.SessionRecord, "of", lambda _: record):
        earlier = resumption.Earlier.read(Path("session"))
    _ = earlier.begins_s, earlier.last_frame, earlier.next_clip, earlier.done
    earlier.continued()
    earlier.added_to(dict.fromkeys(_COUNTS, 1) | {"delay_s": {"mean": 0.1, "longest": 0.2}})


_COUNTS = (
    "captured", "frames", "frames_while_paused", "dropped", "passed_over", "seconds", "unreadable", "gaps", "gap_seconds",
)  # fmt: skip


def _replay() -> None:
    from captures.results.recorded_session import RecordedSession
    from captures.session.recorded_frames import RecordedFrames

    frames = RecordedFrames(RecordedSession.open(Path("session")))
    frames.reanalysis("session")
    for _ in frames:
        pass


def _settings(file: str) -> Callable[[], None]:
    def run() -> None:
        from physpatch.attack.placement import Placement
        from physpatch.records.config import TrainConfig

        config = TrainConfig.load(Path(file))
        Placement.of(config)
        TrainConfig.from_dict(config.to_dict())

    return run


def _plan() -> None:
    from captures.protocol.plan import Director, Protocol

    plan = Protocol.load(Path("plan.toml"))
    Director(plan).hint("patch", None)
    Protocol.from_dict(plan.to_dict())


def _scene() -> None:
    from captures.sources.rendered.scene_file import Scene

    Scene.read("scene.toml")


def _film() -> None:
    from captures.sources.opening import open_source

    with open_source("film.mp4") as source:
        for number, _ in enumerate(source):
            if number > 4:
                break


def _sheet() -> None:
    """Find the printed sheets in a frame, as a session does."""
    from captures.results.recorded_session import RecordedSession

    session = RecordedSession.open(Path("session"))
    session.pose(read_picture(Path("session/raw/000001.jpg")), session.rows[0])


def _film_poster() -> None:
    """Print the poster as the virtual rig does."""
    from calibration.colour.printing_condition import held_back_conditions
    from captures.sources.held_sheet import printed_sheets

    printed_sheets(Path("poster.pdf"), held_back_conditions()[0])


def _rig_ranges() -> None:
    from calibration.colour.rig_profile import RigProfile
    from physpatch.records.eot_config import EotConfig
    from physpatch.rendering.rig_ranges import eot_for_rig

    eot = eot_for_rig(EotConfig.preset("desk"), RigProfile.load(Path("rig.json")))
    EotConfig.from_dict(eot.to_dict())


def _rig_lens() -> None:
    from captures.workflows.session_start import measured_lens, session_layouts

    session_layouts(Path("run/sheet.pdf"), Path("rig.json"))
    lens = measured_lens(Path("rig.json"))
    if lens is not None:
        lens.resized(320, 240).undistorted(read_picture(Path("patch.png")))


def _compare(kind: str) -> Callable[[], None]:
    compared = _command("report", kind, f"{kind}-other", "--out", "comparison.html")

    def run() -> None:
        shutil.copytree(f"{kind}-whole", f"{kind}-other", dirs_exist_ok=True)
        compared()

    return run


def _unpack() -> None:
    Path("unpacked").mkdir(exist_ok=True)
    _command("runs", "unpack", "packed.zip", "--into", "unpacked")()


def _gate(folder: str) -> Callable[[], None]:
    return _command(
        "gate", folder, "--max-target-first", "0.5", "--max-made-wrong", "0.5", "--max-accuracy-drop", "0.5"
    )


READERS: dict[str, Callable[[], None]] = {
    "report run": _command("report", "run", "--card"),
    "report": _command("report", "session", "--no-replay", "--card"),
    "compare runs": _compare("run"),
    "compare": _compare("session"),
    "runs": _command("runs", "--in", ".", "--json", "-"),
    "gallery": _command("gallery", ".", "--out", "all.html"),
    "gate run": _gate("run"),
    "gate": _gate("session"),
    "print": _command("print", "run", "--size", "8cm", "--out", "printed.pdf"),
    "export": _command("export", "run", "--dpi", "72", "--out", "exported.png"),
    "verify": _command("print", "--verify", "run/sheet.pdf"),
    "verify poster": _command("print", "--verify", "poster.pdf"),
    "film poster": _film_poster,
    "measured": _command("print", "run", "--measured", "99x99mm"),
    "settings": _settings("run/run.json"),
    "settings toml": _settings("settings.toml"),
    "plan": _plan,
    "scene": _scene,
    "resume run": _resume_run,
    "resume session": _resume_session,
    "replay": _replay,
    "learn": _learn,
    "colours": _command("calibrate", "colour", "--from-session", "session", "--profile", "new.json"),
    "live sheet": _sheet,
    "show rig": _command("calibrate", "show", "rig.json"),
    "rig ranges": _rig_ranges,
    "rig lens": _rig_lens,
    "bench": _command("bench", *BENCH, "--out", "bench"),
    "unpack": _unpack,
    "import png": _command("import", "patch.png", "--out", "imported"),
    "import safetensors": _command("import", "patch.safetensors", "--out", "imported"),
    "import npy": _command("import", "patch.npy", "--out", "imported"),
    "film": _film,
}
