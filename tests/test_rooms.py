"""The arrows between the rooms run down only, and what must start fast loads no torch."""

import ast
import graphlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_ENTRIES = 13
ROOMS = ("physpatch", "calibration", "printouts", "captures")
ALLOWED = {
    "calibration": {"calibration"},
    "physpatch": {"physpatch", "calibration"},
    "printouts": {"printouts", "calibration", "physpatch"},
    "captures": {"captures", "physpatch", "calibration"},
}


def imported_modules(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_down_only(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        rooms = {name.split(".")[0] for name in imported_modules(file)} & {*ROOMS, "cli"}
        assert rooms <= ALLOWED[room], f"{file} imports {rooms - ALLOWED[room]}"


def modules() -> dict[str, Path]:
    """Every module of the four rooms by its dotted name; a package stands for its ``__init__``."""
    named = {}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


MODULES = modules()
PACKAGES = sorted(name for name, file in MODULES.items() if file.name == "__init__.py")


def children(package: str) -> set[str]:
    return {name.removeprefix(f"{package}.").split(".")[0] for name in MODULES if name.startswith(f"{package}.")}


def arrows(package: str) -> dict[str, set[str]]:
    """Which entries of a package each of its entries imports, at whatever depth."""
    drawn: dict[str, set[str]] = {child: set() for child in children(package)}
    for name, file in MODULES.items():
        if name.startswith(f"{package}."):
            origin = name.removeprefix(f"{package}.").split(".")[0]
            inside = {other.removeprefix(f"{package}.") for other in imported(file) if other.startswith(f"{package}.")}
            drawn[origin] |= {other.split(".")[0] for other in inside} - {origin}
    return drawn


def imported(file: Path) -> set[str]:
    """Names of the rooms' own modules that a file imports, also where ``from package import module`` does so."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            asked = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in asked}
    return names & set(MODULES)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_level_holds_few_entries_and_no_circle(package: str) -> None:
    """At most 13 entries at one level, and an order of them in which every import runs down."""
    assert len(children(package)) <= MOST_ENTRIES, sorted(children(package))
    graphlib.TopologicalSorter(arrows(package)).prepare()  # raises CycleError, which names the circle


def test_printing_knows_only_the_files_of_the_learning_room() -> None:
    """The patch, and of its run what a sheet needs: the sign that it lies on, and where the run is. All torch-free."""
    known = {f"physpatch.records.{name}" for name in ("patch_file", "config", "run_config", "run_paths")}
    for file in (ROOT / "printouts").rglob("*.py"):
        learned = {name for name in imported_modules(file) if name.startswith("physpatch")}
        assert learned <= known, file


def test_calibration_stays_free_of_torch() -> None:
    for file in (ROOT / "calibration").rglob("*.py"):
        assert not {"torch", "kornia", "torchvision"} & {name.split(".")[0] for name in imported_modules(file)}


def test_the_virtual_rig_shares_nothing_with_the_training_physics() -> None:
    code = "import sys, captures.sources.virtual_rig; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert not {"physpatch", "torch", "kornia"} & {name.split(".")[0] for name in loaded.split()}


@pytest.mark.parametrize("room", ["physpatch", "captures", "printouts"])
def test_every_public_name_is_there(room: str) -> None:
    package = importlib.import_module(room)
    for name in package.__all__:
        assert getattr(package, name) is not None, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


COMMANDS = (
    "train",
    "bench",
    "evaluate",
    "models",
    "import",
    "export",
    "print",
    "live",
    "report",
    "gate",
    "demo",
    "calibrate sheet",
    "calibrate show",
)


@pytest.mark.parametrize(
    "code",
    [
        "import physpatch",
        "import physpatch.records.patch_file, printouts, calibration.camera.sheet_pose, calibration.sheet.pdf_reader",
        "import cli; cli.cli.main(['--help'], standalone_mode=False); import sys; assert 'numpy' not in sys.modules",
        *(f"import cli; cli.cli.main({[*words.split(), '--help']}, standalone_mode=False)" for words in COMMANDS),
        "import cli; cli.cli.main(['print', 'RUN', '--size', '10cm'], standalone_mode=False)",
    ],
)
def test_no_torch_is_loaded(code: str, tmp_path: Path, patch) -> None:
    patch.save(tmp_path)
    check = (
        code.replace("RUN", str(tmp_path))
        + "\nimport sys\nassert not {'torch', 'kornia', 'ultralytics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, capture_output=True)
