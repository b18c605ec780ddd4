"""Small real things that many tests share."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import torch
from support import FEW_VIEWS, CommandResult, colour_photographs, make_tiny_victim, vivid_patch

import cli
from physpatch.data.photographs import Photographs
from physpatch.records.patch_file import Patch
from physpatch.victims.protocol import Victim

LONGEST = (
    "test_cli.py",
    "test_train.py",
    "test_every_family.py",
    "test_gap.py",
    "test_rendered.py",
    "test_web.py",
    "test_report.py",
    "test_signs.py",
    "test_detection.py",
    "test_runs.py",
    "test_bench.py",
    "test_docs.py",
    "test_processes.py",
    "test_leaderboard.py",
    "test_extensions.py",
    "test_notebooks.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Processes that share the cores take one thread each; what they start takes no more."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers() -> int:
    """Start a process more than there are cores: a fifth of the time, tests wait for browsers, programs and clocks."""
    return 1 + (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while modules are imported, nor look for any in them later: they stay, with millions of objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter free at its end what was passed over: libraries take for a leak what is left."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def kept_modules() -> set[str]:
    """Names of imported modules that no test wrote: there are thousands, to be looked at once and not after each test."""
    return set()


@pytest.fixture(autouse=True)
def forget_modules_of_tests(tmp_path_factory: pytest.TempPathFactory, kept_modules: set[str]) -> Iterator[None]:
    """Forget modules that a test wrote and imported: another's of the same name would be taken for its own."""
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - kept_modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(folder):
            del sys.modules[name]
        else:
            kept_modules.add(name)


@pytest.fixture
def tiny_victim() -> Victim:
    """A classifier of four colours on 32 px squares."""
    return make_tiny_victim()


@pytest.fixture
def photographs() -> Photographs:
    """Sixteen squares large enough for random crops of the tiny victim's input."""
    return colour_photographs(16, 36)


@pytest.fixture
def held_out() -> Photographs:
    """Forty squares at the tiny victim's input size."""
    return colour_photographs(40, 32, seed=1)


@pytest.fixture
def patch() -> Patch:
    """A 10x10 patch of saturated random colours, aimed at class 2 of the tiny victim."""
    return vivid_patch()


@pytest.fixture(scope="session")
def shared_sheet_pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patch on A4 at 10 cm with a grey and a random control, for all who only read it."""
    from printouts import print_sheets

    out = tmp_path_factory.mktemp("sheet") / "sheet.pdf"
    print_sheets(vivid_patch(), 100, out, controls=("grey", "random"))
    return out


@pytest.fixture
def sheet_pdf(tmp_path: Path, shared_sheet_pdf: Path) -> Path:
    """A copy of it in the test's own folder."""
    return Path(shutil.copy(shared_sheet_pdf, tmp_path))


@pytest.fixture(scope="module")
def few_views() -> Iterator[int]:
    """Held-out photographs are measured in 6 views instead of 60: where it matters that they are, not what comes out."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in FEW_VIEWS.items():
            patched.setattr(name, value)
        yield FEW_VIEWS["physpatch.training.run._VIEWS_WANTED"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Run the command line in this process."""

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["physpatch", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        streams = capsys.readouterr()
        return CommandResult(int(exit_.value.code or 0), streams.out, streams.err)

    return run


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Torch's thread count is global; keep it the same for every test, whatever ran before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
