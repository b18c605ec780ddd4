"""What the guide shows works."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cli

ROOT = Path(__file__).parents[1]


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
    assert "steps=100" in example
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("steps=100", "steps=2, batch=4"), "docs/guide.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("1 ") and printed[-1] == "example/session/report.html"
    assert (tmp_path / "example/session/frames.csv").is_file()


def command_paths(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """List the words of every command, groups opened up."""
    context = click.Context(group)
    for name in group.list_commands(context):
        entry = group.get_command(context, name)
        if isinstance(entry, click.Group):
            yield from command_paths(entry, (*above, name))
        else:
            yield (*above, name)


def test_every_option_the_guide_and_readme_name_exists(command) -> None:
    text = (ROOT / "docs/guide.md").read_text() + (ROOT / "README.md").read_text()
    known = "".join(command(*path, "--help").out for path in command_paths(cli.cli))
    for option in set(re.findall(r"`(?!pip|torchrun)[^`\n]*?(--[a-z][a-z-]+)", text)):
        assert option in known or option == "--help", option
