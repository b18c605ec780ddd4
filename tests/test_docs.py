"""What the pages show works: their Python, the options they name, their links, and the site that is made of them."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from model_files import PLAIN, save_program
from support import CATEGORIES, ColourNet, save_squares

import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WIDEST = 100
SHORTENED = {"steps=100": "steps=2, batch=4"}  # a test shows that an example runs, not what comes out


def name(path: Path) -> str:
    """A page's path in the project."""
    return str(path.relative_to(ROOT))


def python_blocks(page: Path) -> list[str]:
    """The fenced Python of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in python_blocks(page):
        for long, short in SHORTENED.items():
            block = block.replace(long, short)
        exec(compile(block, name(page), "exec"), names)
    if page.name == "python.md":
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].startswith("1 ") and printed[-1] == "example/session/report.html"
        assert (tmp_path / "example/session/frames.csv").is_file()


@pytest.mark.slow
def test_the_workflow_of_the_gate_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command) -> None:
    """On a small model that a few cells fool, so that the build fails at the gate, and the steps that run always go on."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/howto/gate.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "photos").mkdir()
    save_squares(tmp_path / "photos")
    save_program(ColourNet(), tmp_path / "model.onnx", 32)
    (tmp_path / "model.toml").write_text(f'model = "model.onnx"\nlabels = "labels.txt"\n{PLAIN}')
    (tmp_path / "labels.txt").write_text("\n".join(CATEGORIES))
    monkeypatch.chdir(tmp_path)
    codes = {}
    for step in yaml.safe_load(text)["jobs"]["gate"]["steps"]:
        program, *words = shlex.split(step.get("run", "uses").replace("--steps 200", "--steps 40"))  # fool it too
        if program == "physpatch" and (step.get("if") == "always()" or not any(codes.values())):
            codes[words[0]] = command(*words).code
    assert codes == {"models": 0, "train": 0, "gate": 1, "report": 0}
    assert "target" in (tmp_path / "gate.xml").read_text() and (tmp_path / "run/card.md").is_file()


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The words of every command, groups opened up."""
    context = click.Context(group)
    for word in group.list_commands(context):
        entry = group.get_command(context, word)
        if isinstance(entry, click.Group):
            yield from commands(entry, (*above, word))
        elif entry is not None:
            yield (*above, word), entry


OPTIONS = {
    words: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    | {"--help"}
    for words, command in commands(cli.cli)
}


def command_lines(text: str) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """The commands that a page shows, in code of any kind, each with the options given to it."""
    for line in re.findall(r"physpatch\)? ([^`#\n]+)", text.replace("\\\n", " ")):
        words = line.split()
        given = {word.split("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]+(=.*)?", word)}
        for length in (2, 1):
            if tuple(words[:length]) in OPTIONS:
                yield tuple(words[:length]), given
                break


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_option_that_a_page_gives_to_a_command_is_one_of_that_command(page: Path) -> None:
    for words, given in command_lines(page.read_text()):
        assert given <= OPTIONS[words], f"physpatch {' '.join(words)} has no {given - OPTIONS[words]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_option_that_a_page_mentions_exists(page: Path) -> None:
    known = {option for options in OPTIONS.values() for option in options}
    for code in re.findall(r"`([^`\n]+)`", page.read_text()):
        if code.startswith(("--", "physpatch ")):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code):
                assert option in known, code


def test_options_that_do_not_exist_are_seen() -> None:
    lines = dict(command_lines("    physpatch train --eot --object stop \\\n        --nonsense 3  # --no"))
    assert lines == {("train",): {"--eot", "--object", "--nonsense"}}


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Lines that are neither code nor tables nor a lone link or picture, with their numbers."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not re.match(r"( {4}|\|)|\s*(\|.*\||!?\[[^\]]*\]\([^)]*\).*|<img .*)$", line):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_line_of_prose_is_wider_than_100_characters(page: Path) -> None:
    wide = [f"{name(page)}:{number}: {len(line)}" for number, line in prose(page) if len(line) > WIDEST]
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name)
def test_the_files_that_a_page_outside_of_the_site_links_to_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def documented() -> set[str]:
    """The names that the reference shows."""
    pages = (ROOT / "docs/reference").glob("*.md")
    return {found for page in pages for found in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("package", ["physpatch", "captures", "printouts"])
def test_the_reference_shows_every_public_name(package: str) -> None:
    shown = {path.rpartition(".")[2] for path in documented() if path.startswith(package)}
    assert {name for name in import_module(package).__all__ if not name.startswith("__")} <= shown


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built so that a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        fetched = re.findall(r'<(?:img|script|source|iframe|video)[^>]+src="?([^" >]+)', text)
        fetched += re.findall(r'<link[^>]+rel="?(?:stylesheet|icon|preconnect|preload)"?[^>]*href="?([^" >]+)', text)
        fetched += re.findall(r'<link[^>]+href="?([^" >]+)"?[^>]*rel="?(?:stylesheet|icon|preconnect|preload)', text)
        assert not [address for address in fetched if re.match(r"(https?:)?//", address)], page


def test_the_site_shows_commands_notebooks_and_docstrings(site: Path) -> None:
    assert "physpatch calibrate colour" in (site / "reference/commands.html").read_text()
    assert "data:image" not in (site / "notebooks/train-and-measure.html").read_text()
    assert list((site / "notebooks/train-and-measure").glob("*.png"))
    reference = (site / "reference/physpatch.html").read_text()
    assert "load_victim" in reference and ":class:" not in reference and ":meth:" not in reference


def test_the_citation_is_of_this_version() -> None:
    import physpatch

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == physpatch.__version__


def test_the_container_copies_what_is_there_and_allowed() -> None:
    """Each source of a COPY exists, and is not kept out by the ignore file, which lists what may come in."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists() and source.split("/")[0] in allowed, source
