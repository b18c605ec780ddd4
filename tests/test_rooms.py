"""The arrows between the rooms run down only, and what must start fast loads no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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


def test_printing_knows_only_the_patch_artefact_of_the_learning_room() -> None:
    for file in (ROOT / "printouts").rglob("*.py"):
        learned = {name for name in imported_modules(file) if name.startswith("physpatch")}
        assert learned <= {"physpatch.artifact"}


def test_calibration_stays_free_of_torch() -> None:
    for file in (ROOT / "calibration").rglob("*.py"):
        assert not {"torch", "kornia", "torchvision"} & {name.split(".")[0] for name in imported_modules(file)}


def test_the_virtual_rig_shares_nothing_with_the_training_physics() -> None:
    names = imported_modules(ROOT / "captures/virtual.py")
    assert not {name for name in names if name.startswith(("physpatch", "torch", "kornia"))}


@pytest.mark.parametrize(
    "code",
    [
        "import physpatch",
        "import physpatch.artifact, printouts, calibration.pose, calibration.pdf",
        "import cli; cli.cli.main(['--help'], standalone_mode=False)",
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
