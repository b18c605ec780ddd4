"""Pages that are made when the site is built: the commands' help texts, and the notebooks as Markdown."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file of their own."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        text, pictures = notebook_page(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def commands_page() -> str:
    """Return the help text of every command."""
    sys.path.insert(0, str(ROOT))
    from cli import cli

    parts = [
        "# Commands\n",
        "What each command prints for `--help`. Bad input is one line on standard error and exit",
        "code 2; an interruption is exit code 130, and nothing written before it is lost.\n",
    ]
    for path, command in _commands(cli, ("physpatch",)):
        with click.Context(command, info_name=" ".join(path), max_content_width=78, terminal_width=78) as context:
            parts += [f"## {' '.join(path)}\n", "```text", command.get_help(context), "```\n"]
    return "\n".join(parts)


def _commands(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                yield (*above, name), command
                yield from _commands(command, (*above, name))
            elif command is not None:
                yield (*above, name), command


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Convert a notebook, as it was last executed, to Markdown and the pictures in it by file name."""
    notebook = nbformat.read(path, as_version=4)
    text, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={"unique_key": path.stem, "output_files_dir": path.stem}
    )
    pictures = {Path(name).as_posix(): content for name, content in resources.get("outputs", {}).items()}
    note = f"\n*The notebook is `docs/notebooks/{path.name}`; a test executes it.*\n"
    return text.replace(".ipynb)", ".md)") + note, pictures
