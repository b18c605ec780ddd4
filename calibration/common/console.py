"""What a person sees in the terminal: progress and remarks on standard error, tables and JSON on standard output."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # rich takes a tenth of a second, which help and completion need not spend
    from rich.progress import Progress

_PIPED_WIDTH = 140


class ProgressBar:
    """A bar with words and time left; nothing but said lines where standard error is no terminal."""

    def __init__(self, progress: "Progress", what: str) -> None:
        self._progress = progress
        self._task = progress.add_task(what, total=None, words="", start=False)

    def show(self, done: int, total: int | None, words: str = "") -> None:
        """Move the bar; ``total`` None is an open end."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, completed=done, total=total, words=words)

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[ProgressBar]:
    """Show a progress bar on standard error that goes away when the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield ProgressBar(progress, what)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on standard output; none where there are no rows."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def say(line: str) -> None:
    """Write a remark on standard error, so that standard output stays what was asked for."""
    click.echo(line, err=True)


def output_json(target: str | None, value: Any) -> None:
    """Write what ``--json`` asks for: to a file, with ``-`` to standard output, and nothing with None."""
    from calibration.common.files import write_json

    if target == "-":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif target:
        write_json(Path(target), value)
